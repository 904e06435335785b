"""Looks at the load of programs that are scaled by it, each second. With no such program it does not wake up at all."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from hasup.core import Supervisor
from hasup.loop import Loop, Timer
from hasup.model.events import LoadMeasured
from hasup.model.spec import Config, Program
from hasup.model.state import Replica

LOOK_S = 1.0


class Reading(Protocol):
    """What a measurement says of one slot."""

    @property
    def cpu_percent(self) -> float | None:
        """Since the measurement before; 100 is one core."""


class Sampler(Protocol):
    """Measures process trees. It has to be one of its own: others would shorten the time between two measurements."""

    def measure(self, alive: Mapping[str, tuple[int, str | None]]) -> Mapping[str, Reading]:
        """What each of these (slot to main pid and cgroup) uses."""


class Autoscaling:
    """Tells the decisions what the ready replicas of each such program carry."""

    def __init__(
        self,
        loop: Loop,
        supervisor: Supervisor,
        emit: Callable[[LoadMeasured], None],
        sampler: Sampler,
        stats: Mapping[str, Mapping[str, Any]],
        cgroups: Mapping[str, str | None],
    ) -> None:
        self._loop = loop
        self._supervisor = supervisor
        self._emit = emit
        self._sampler = sampler
        self._stats = stats  # what each dispatcher said last
        self._cgroups = cgroups
        self._programs: list[Program] = []
        self._before: set[tuple[str, int]] = set()  # measured at the last look: slot and generation
        self._timer: Timer | None = None

    def follow(self, config: Config) -> None:
        """Look at the programs of this configuration from now on."""
        self._programs = [program for program in config.programs.values() if program.autoscale is not None]
        if self._programs and self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)
        elif not self._programs and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        names = {program.name for program in self._programs}
        ready: dict[str, list[Replica]] = {name: [] for name in names}
        for replica in self._supervisor.replicas.values():
            if replica.program in names and replica.ready and replica.pid is not None:
                ready[replica.program].append(replica)
        cpu = self._cpu([known for program in self._programs if _by_cpu(program) for known in ready[program.name]])
        for program in self._programs:
            slots = [known.name for known in ready[program.name]]
            used = {slot: cpu[slot] for slot in slots if slot in cpu}
            self._emit(LoadMeasured(program.name, cpu=used, connections=self._connections(program, slots)))

    def _cpu(self, ready: list[Replica]) -> dict[str, float]:
        """What each used since the last look. One that was not ready then says nothing yet: its start is no load."""
        alive = {known.name: (known.pid or 0, self._cgroups.get(known.name)) for known in ready}
        readings = self._sampler.measure(alive) if alive else {}
        measured = {(known.name, known.generation) for known in ready if known.name in readings}
        before, self._before = self._before, measured
        percents = {slot: readings[slot].cpu_percent for slot, _ in measured & before}
        return {slot: used for slot, used in percents.items() if used is not None}

    def _connections(self, program: Program, slots: Iterable[str]) -> dict[str, int]:
        """Those open to each; none known unless whatever forwards them is well."""
        if not _by_connections(program):
            return {}
        found: dict[str, int] = {}
        for stats in self._told(f"{program.name}:dispatcher"):
            backends = stats.get("backends", {})
            for slot in slots:
                if slot in backends:
                    found[slot] = found.get(slot, 0) + int(backends[slot]["open"])
        return found

    def _told(self, dispatcher: str) -> list[Mapping[str, Any]]:
        """What each process of a dispatcher said last; nothing, if one of them may be wrong by now."""
        known = [replica for replica in self._supervisor.replicas.values() if replica.program == dispatcher]
        well = all(replica.ready and replica.name in self._stats for replica in known)
        return [self._stats[replica.name] for replica in known] if well else []


def _by_cpu(program: Program) -> bool:
    return program.autoscale is not None and program.autoscale.target_cpu is not None


def _by_connections(program: Program) -> bool:
    return program.autoscale is not None and program.autoscale.target_connections is not None
