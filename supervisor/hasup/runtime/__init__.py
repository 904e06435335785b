"""The core process: the main loop, and what it reads and does."""
