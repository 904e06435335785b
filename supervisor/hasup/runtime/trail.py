"""The last minutes of each replica in samples, for the evidence: sparse, small, and gone with the core."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from typing import NamedTuple

from hasup.loop import Loop, Timer
from hasup.model.events import Sampled

SPACING_S = 10.0
_IDLE = 2  # rounds without a look at a replica that did nothing since the last: hundreds cost a third of the time
KEPT = 30  # five minutes
_MINUTE = 6  # rounds
_CHUNK = 200  # replicas in one turn of the loop
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_COLUMNS = ("memory_bytes", "cpu_percent", "threads", "processes", "open_files")
WIDTH = 1 + len(_COLUMNS)
UNKNOWN = -1.0
_NOTHING = array("d")


class _Watched(NamedTuple):
    pid: int
    sampled: bool  # somebody else samples its whole tree


class Trail:
    """Replicas with limits bring their samples (:meth:`note`); of the others the main process is read now and then."""

    def __init__(self, loop: Loop, read: Callable[[int], tuple[int, int, int] | None] | None = None) -> None:
        self._loop = loop
        self._read = read or main_process
        self._watched: dict[str, _Watched] = {}
        self._samples: dict[str, array[float]] = {}
        self._ticks: dict[str, tuple[float, int]] = {}
        self._skips: dict[str, int] = {}  # replicas that did nothing since the last look: rounds to leave them out
        self._timer: Timer | None = None
        self._rounds = 0
        self._minute_began = 0.0
        self.on_minute: Callable[[list[str], float], None] = lambda _slots, _since: None

    def watch(self, slot: str, pid: int, *, sampled: bool) -> None:
        """From now on; a new ``pid`` begins afresh."""
        known = self._watched.get(slot)
        if known is None or known.pid != pid:
            self._samples[slot] = array("d")
            self._ticks.pop(slot, None)
            self._skips.pop(slot, None)
        self._watched[slot] = _Watched(pid, sampled)
        if self._timer is None:
            self._timer = self._loop.call_later(SPACING_S, self._round)
            self._rounds, self._minute_began = 0, self._loop.now()

    def unwatch(self, slot: str) -> None:
        """No more; unknown slots are ignored."""
        self._watched.pop(slot, None)
        self._samples.pop(slot, None)
        self._ticks.pop(slot, None)
        self._skips.pop(slot, None)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note(self, sample: Sampled) -> None:
        """A sample of a whole tree; one in :data:`SPACING_S` is kept, and the newest."""
        values = (sample.memory_bytes, sample.cpu_percent, sample.threads, sample.processes, sample.open_files)
        self._add(sample.slot, [UNKNOWN if value is None else float(value) for value in values])

    def now(self, slot: str) -> None:
        """Take a sample at this moment, unless somebody else samples it."""
        watched = self._watched.get(slot)
        if watched is not None and not watched.sampled:
            self._some([slot])

    def samples(self, slot: str) -> array[float]:
        """Its samples as they are kept, oldest first, :data:`WIDTH` numbers each: when, and what was measured."""
        return self._samples.get(slot, _NOTHING)

    def of(self, slot: str) -> list[dict[str, float]]:
        """Its samples, oldest first: ``ago_s`` and what was measured."""
        kept, now = self._samples.get(slot, array("d")), self._loop.now()
        rows = [kept[at : at + WIDTH] for at in range(0, len(kept), WIDTH)]
        return [
            {"ago_s": round(now - row[0], 1)}
            | {name: value for name, value in zip(_COLUMNS, row[1:], strict=True) if value != UNKNOWN}
            for row in rows
        ]

    def _add(self, slot: str, values: list[float]) -> None:
        kept = self._samples.get(slot)
        if kept is None:
            return
        now = self._loop.now()
        if len(kept) >= 2 * WIDTH and now - kept[-2 * WIDTH] < SPACING_S:
            del kept[-WIDTH:]  # the newest takes the place of the one that came too soon after the one before
        kept.extend([now, *values])
        del kept[: max(0, len(kept) - KEPT * WIDTH)]

    def _round(self) -> None:
        self._timer = self._loop.call_later(SPACING_S, self._round)
        self._rounds += 1
        if self._rounds % _MINUTE == 0:
            since, self._minute_began = self._minute_began, self._loop.now()
            self.on_minute(list(self._watched), since)
        self._some([slot for slot, watched in self._watched.items() if not watched.sampled and not self._skip(slot)])

    def _skip(self, slot: str) -> bool:
        left = self._skips.get(slot, 0)
        if left:
            self._skips[slot] = left - 1
        return left > 0

    def _some(self, slots: list[str]) -> None:
        for slot in slots[:_CHUNK]:
            watched = self._watched.get(slot)
            used = self._read(watched.pid) if watched is not None else None
            if used is not None:
                self._skips[slot] = _IDLE if self._is_as_before(slot, used) else 0
                self._add(slot, [used[0], self._share(slot, used[1]), used[2], UNKNOWN, UNKNOWN])
        if slots[_CHUNK:]:
            self._loop.call_later(0.01, lambda: self._some(slots[_CHUNK:]))

    def _is_as_before(self, slot: str, used: tuple[int, int, int]) -> bool:
        kept, ticks = self._samples.get(slot, _NOTHING), self._ticks.get(slot)
        return bool(kept) and ticks is not None and (used[0], used[1]) == (kept[1 - WIDTH], ticks[1])

    def _share(self, slot: str, ticks: int) -> float:
        now = self._loop.now()
        before = self._ticks.get(slot)
        self._ticks[slot] = (now, ticks)
        if before is None or now <= before[0]:
            return UNKNOWN
        return round(100 * max(0, ticks - before[1]) / _TICK / (now - before[0]), 1)


def main_process(pid: int) -> tuple[int, int, int] | None:
    """Resident bytes, processor ticks and threads of one process; None when it can't be told."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, 4096)
        fields = text[text.rindex(b")") + 1 :].split(None, 22)
        return int(fields[21]) * _PAGE, int(fields[11]) + int(fields[12]), int(fields[17])
    except (OSError, IndexError, ValueError):
        return None
    finally:
        os.close(file)
