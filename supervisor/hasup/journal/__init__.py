"""What happened: events into SQLite, history and availability out."""

from hasup.journal.reader import Unreadable, read_events
from hasup.journal.writer import Journal

__all__ = ["Journal", "Unreadable", "read_events"]
