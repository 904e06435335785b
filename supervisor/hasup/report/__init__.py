"""What happened, out of the journal's events: when what was up, and what that amounts to. Pure."""
