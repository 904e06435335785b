"""Decisions, pure: no clock, no I/O, no randomness."""

from hasup.core.names import UnknownName
from hasup.core.supervisor import Supervisor

__all__ = ["Supervisor", "UnknownName"]
