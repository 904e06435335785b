"""Resources of whole process trees: regularly for replicas with limits, and on demand for ``hasup status``."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hasup.loop import Loop, Timer
from hasup.model.events import Sampled
from hasup.model.spec import Limit, Limits
from hasup.runtime.look import zombies_of
from hasup.runtime.proc import Table, Usage, age_of, cpu_percent, lifetime_percent, proportional, usage

LONGEST_S = 5.0
SHORTEST_S = 0.5
_PSS_SHARE = 20  # counting shared pages takes long for large trees: no more than one part in so many of our time


class Reading(NamedTuple):
    """What ``hasup status`` shows of a replica."""

    cpu_percent: float | None
    memory_bytes: int


class _Watched(NamedTuple):
    generation: int
    pid: int
    cgroup: str | None
    interval: float
    limits: Limits


class Sampler:
    """With nothing watched it does not wake up at all. Each slot is sampled at an interval that suits its limits."""

    def __init__(self, loop: Loop, emit: Callable[[Sampled], None]) -> None:
        self._loop = loop
        self._emit = emit
        self._watched: dict[str, _Watched] = {}
        self._due: dict[str, float] = {}
        self._before: dict[str, tuple[int, float, Usage]] = {}  # slot -> pid, when, what: of the samples
        self._shown: dict[str, tuple[int, float, Usage]] = {}  # the same, of what status showed
        self._shared: dict[str, tuple[float, float]] = {}  # slot -> not counted again before, share of pages not shared
        self._timer: Timer | None = None

    def watch(self, slot: str, generation: int, pid: int, cgroup: str | None, limits: Limits) -> None:
        """Sample the tree of ``pid`` from now on."""
        interval = interval_for(limits)
        self._watched[slot] = _Watched(generation, pid, cgroup, interval, limits)
        self._due[slot] = _next_due(self._loop.now(), interval)
        self._arm()

    def unwatch(self, slot: str) -> None:
        """No more; unknown slots are ignored."""
        if self._watched.pop(slot, None) is not None:
            del self._due[slot]
            self._before.pop(slot, None)
            self._shared.pop(slot, None)
            self._arm()

    def measure(self, alive: Mapping[str, tuple[int, str | None]]) -> dict[str, Reading]:
        """What each of these (slot to main pid and cgroup) uses now; processor time since it was last asked for, at
        first over its whole life. Those that can't be looked up now (no descriptors left, say) are left out.
        """
        table, now = Table(), self._loop.now()
        readings = {}
        for slot, (pid, cgroup) in alive.items():
            try:
                used = usage(table.tree(pid, cgroup), cgroup=cgroup)
                share = _share(self._shown, slot, pid, now, used)
                age = age_of(pid) if share is None else None
            except OSError:
                continue
            if age is not None:
                share = lifetime_percent(used, age)
            readings[slot] = Reading(share, used.memory_bytes)
        self._shown = {slot: known for slot, known in self._shown.items() if slot in alive}
        return readings

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(self._due.values()), self._round) if self._due else None

    def _round(self) -> None:
        """Sample all that is due, with one look at the process table."""
        now, table = self._loop.now(), Table()
        for slot in [slot for slot, due in self._due.items() if due <= now]:
            watched = self._watched[slot]
            self._due[slot] = _next_due(now, watched.interval)
            try:
                sample = self._sample(slot, watched, table, now)
            except OSError:  # no descriptors left, say: the next round may do better
                continue
            if sample is not None:
                self._emit(sample)
        self._arm()

    def _sample(self, slot: str, watched: _Watched, table: Table, now: float) -> Sampled | None:
        """What the tree uses now; None when it is gone, and its exit on its way."""
        limits = watched.limits
        pids = table.tree(watched.pid, watched.cgroup)
        used = usage(pids, files=limits.open_files is not None, cgroup=watched.cgroup)
        if used.processes == 0:
            return None
        return Sampled(
            slot,
            watched.generation,
            memory_bytes=self._memory(slot, pids, used, limits.memory),
            cpu_percent=_share(self._before, slot, watched.pid, now, used),
            processes=used.processes + (zombies_of(pids) if limits.processes is not None else 0),
            threads=used.threads,
            open_files=used.open_files,
        )

    def _memory(self, slot: str, pids: list[int], used: Usage, limit: Limit | None) -> int:
        """Resident memory. Where several processes are over the limit together, pages that they share count once."""
        if limit is None or used.memory_bytes <= limit.above or used.processes < 2:
            return used.memory_bytes
        not_before, share = self._shared.get(slot, (0.0, 1.0))
        began = self._loop.now()
        if began >= not_before:
            counted = proportional(pids)
            share = 1.0 if counted is None else min(1.0, counted / used.memory_bytes)
            self._shared[slot] = (began + _PSS_SHARE * (self._loop.now() - began), share)
        return int(used.memory_bytes * share)


def _share(memory: dict[str, tuple[int, float, Usage]], slot: str, pid: int, now: float, used: Usage) -> float | None:
    """Processor time since the look before, which this one replaces; None when there was none at this process."""
    before = memory.get(slot)
    memory[slot] = (pid, now, used)
    return cpu_percent(before[2], used, now - before[1]) if before is not None and before[0] == pid else None


def interval_for(limits: Limits) -> float:
    """Often enough to see each limit crossed in time: a third of the shortest ``for``; a second where that is 0. An age
    grows evenly and takes no one by surprise: a tenth of it.
    """
    known: list[Limit] = [
        limit
        for limit in (limits.memory, limits.cpu, limits.open_files, limits.threads, limits.processes)
        if limit is not None
    ]
    wanted = [limit.for_ / 3 if limit.for_ else 1.0 for limit in known]
    if limits.age is not None:
        wanted.append(limits.age.above / 10)
    return min(LONGEST_S, max(SHORTEST_S, min(wanted, default=LONGEST_S)))


def _next_due(now: float, interval: float) -> float:
    """At most ``interval`` from now, on one grid for all slots: those that started one after another are looked at
    together, with one look at the process table instead of one each.
    """
    grid = 1.0 if interval >= 2.0 else SHORTEST_S
    return math.floor((now + interval) / grid) * grid
