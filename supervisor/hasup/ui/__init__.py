"""Terminal and web."""
