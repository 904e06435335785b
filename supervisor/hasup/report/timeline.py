"""From events to timelines: what each replica was at each moment, and its outages.

A replica counts as up while it is ready. While it is wanted and not ready, that is either a failure, which counts as
down, or planned (a first start; a restart or reload that somebody asked for), which counts neither as up nor as down.
What nobody wanted, and what nobody saw, counts as nothing at all.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from hasup.report.life import Life
from hasup.report.model import LOST, Happening, Mode, Timeline


class History(NamedTuple):
    """Everything that was read, as timelines by replica; and when hasup's core was replaced."""

    replicas: Mapping[str, Timeline]
    core_restarts: tuple[float, ...]


class _Reading:
    """The events so far."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}
        self.core_restarts: list[float] = []
        self.last = float("-inf")
        self._running = False

    def take(self, happening: Happening) -> None:
        """The next event; the clock may have been set back meanwhile, but time is not."""
        at = max(happening.at, self.last)
        if happening.replica is not None:
            self._running = True
            self._life(happening.replica).take(happening if at == happening.at else happening._replace(at=at))
        elif happening.event == "core-restarted":
            self.core_restarts.append(at)
        elif happening.event in ("hasup-started", "hasup-stopped", LOST):
            self._begin_or_end(happening.event, at)
        self.last = at

    def _life(self, replica: str) -> Life:
        if replica not in self.lives:
            self.lives[replica] = Life(lambda other: other in self.lives and self.lives[other].is_failing)
        return self.lives[replica]

    def _begin_or_end(self, event: str, at: float) -> None:
        if event != "hasup-stopped" and (self._running or event == LOST):  # its end was not written, or much more
            self._all(self.last, Mode.UNOBSERVED)
        if event != LOST:
            self._running = event == "hasup-started"
            self._all(at, Mode.STOPPED if self._running else Mode.UNOBSERVED)

    def _all(self, at: float, mode: Mode) -> None:
        for life in self.lives.values():
            life.leave(at, mode)


def read(
    happenings: Iterable[Happening],
    since: float,
    until: float,
    *,
    seen_until: float = math.inf,
    silence_s: Callable[[str], float] = lambda _replica: 0.0,
) -> History:
    """The timelines of all replicas that events speak of, from ``since`` to ``until``.

    Events may begin earlier than ``since``: they tell what was then. ``seen_until``: after this nothing is known any
    more (the last event of a journal whose hasup does not run). ``silence_s``: the timeout of a replica's heartbeat.
    """
    reading = _Reading()
    for happening in happenings:
        reading.take(happening)
    seen_until = max(seen_until, reading.last)
    replicas = {}
    for name, life in reading.lives.items():
        if seen_until < until:
            life.leave(seen_until, Mode.UNOBSERVED)
        replicas[name] = life.timeline(since, until, silence_s(name))
    restarts = tuple(at for at in reading.core_restarts if since <= at < until)
    return History(replicas, restarts)
