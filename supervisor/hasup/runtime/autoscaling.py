"""The load of programs that are scaled by it, looked at each second. With no such program it does not wake up at all."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hasup.loop import Loop, Timer
from hasup.model.events import LoadMeasured
from hasup.model.spec import Program
from hasup.model.state import Replica

LOOK_S = 1.0


class Reading(Protocol):
    """What a measurement says of one slot."""

    @property
    def cpu_percent(self) -> float | None:
        """Since the measurement before; 100 is one core."""


Measure = Callable[[Mapping[str, tuple[int, str | None]]], Mapping[str, Reading]]
Stats = Callable[[str], Mapping[str, Any] | None]


class Autoscaling:
    """Tells the decisions what the ready replicas of each such program carry."""

    def __init__(
        self,
        loop: Loop,
        emit: Callable[[LoadMeasured], None],
        measure: Measure,
        stats: Stats,
        cgroup_of: Callable[[str], str | None],
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._measure = measure  # a sampler of its own: what others ask one does not shorten what is measured here
        self._stats = stats  # what the dispatcher of a program said last; None: there is none, or it is not well
        self._cgroup_of = cgroup_of
        self._look: Callable[[], Iterable[tuple[Program, list[Replica]]]] = tuple
        self._before: set[tuple[str, int]] = set()  # ready at the last look: slot and generation
        self._timer: Timer | None = None

    def follow(self, wanted: bool, look: Callable[[], Iterable[tuple[Program, list[Replica]]]]) -> None:
        """Look from now on, or no more; ``look`` tells the programs that are scaled by load and their replicas."""
        self._look = look
        if wanted and self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._round)
        elif not wanted and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._round)
        programs = [(program, [known for known in replicas if known.ready]) for program, replicas in self._look()]
        cpu = self._cpu(known for program, ready in programs for known in ready if _wants_cpu(program))
        for program, ready in programs:
            slots = [known.name for known in ready]
            used = {slot: cpu[slot] for slot in slots if slot in cpu}
            self._emit(LoadMeasured(program.name, cpu=used, connections=self._connections(program, slots)))

    def _cpu(self, ready: Iterable[Replica]) -> dict[str, float]:
        """What each used since the last look. One that was not ready then says nothing yet: its start is no load."""
        known = {replica.name: replica for replica in ready if replica.pid is not None}
        readings = self._measure({slot: (one.pid or 0, self._cgroup_of(slot)) for slot, one in known.items()})
        now = {(one.name, one.generation) for one in known.values()}
        before, self._before = self._before, now & {(slot, known[slot].generation) for slot in readings}
        percents = {slot: reading.cpu_percent for slot, reading in readings.items()}
        return {
            slot: used
            for slot, used in percents.items()
            if used is not None and (slot, known[slot].generation) in before
        }

    def _connections(self, program: Program, slots: Iterable[str]) -> dict[str, int]:
        """Those open to each, and their share of those that wait for a replica."""
        stats = self._stats(program.name) if program.autoscale and program.autoscale.target_connections else None
        backends = stats.get("backends") if stats is not None else None
        if stats is None or not isinstance(backends, dict):
            return {}
        return {slot: int(backends[slot]["open"]) for slot in slots if slot in backends}


def _wants_cpu(program: Program) -> bool:
    return program.autoscale is not None and program.autoscale.target_cpu is not None
