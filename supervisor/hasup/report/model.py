"""The words of a report: what was read, and what it was made into. Times are seconds since 1970."""

from enum import StrEnum
from typing import Final, NamedTuple

LOST: Final = "events-lost"  # the event that stands for others which were not written


class Happening(NamedTuple):
    """What matters of one event of the journal. Those of hasup itself have no ``replica``, notes no ``new``."""

    at: float
    event: str
    replica: str | None = None
    old: str | None = None
    new: str | None = None
    reason: str = ""
    ready: bool = False
    wanted: bool = False
    result: str | None = None


class Mode(StrEnum):
    """What a replica, a program or the system is at a moment."""

    UP = "up"
    DEGRADED = "degraded"  # up, but slow, or with fewer replicas than there should be
    STARTING = "starting"  # not ready, as planned
    DOWN = "down"  # not ready, by a failure
    STOPPED = "stopped"  # not wanted
    UNOBSERVED = "unobserved"  # hasup did not run, or what happened is not in the journal


IS_UP: Final = frozenset({Mode.UP, Mode.DEGRADED})


class Segment(NamedTuple):
    """A stretch of time; segments follow one another without a gap, and neighbours differ."""

    start: float
    end: float
    mode: Mode


class Outage(NamedTuple):
    """A stretch in which something was wanted and not ready.

    ``end`` is None while it lasts. ``repaired``: it ended by being ready again, not by being stopped or by the end of
    what was seen. ``seen``: its start was seen. ``phases``: seconds spent on detecting, ending, waiting for the next
    start ("delay"), and starting. ``starts``: how many starts failed in it.
    """

    start: float
    end: float | None
    reason: str
    result: str | None = None
    planned: bool = False
    repaired: bool = False
    seen: bool = True
    phases: tuple[tuple[str, float], ...] = ()
    starts: int = 0


PHASES: Final = ("detect", "end", "delay", "start")


class Timeline(NamedTuple):
    """What one thing was from ``since`` to ``until``."""

    segments: tuple[Segment, ...] = ()
    outages: tuple[Outage, ...] = ()

    def totals(self) -> dict[Mode, float]:
        """How long it was in each mode, in seconds."""
        found = dict.fromkeys(Mode, 0.0)
        for start, end, mode in self.segments:
            found[mode] += end - start
        return found

    def seconds(self, *modes: Mode) -> float:
        """How long it was in these modes."""
        totals = self.totals()
        return sum(totals[mode] for mode in modes)
