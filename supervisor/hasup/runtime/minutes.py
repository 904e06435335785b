"""What replicas used in the last minute, for the journal: out of the trail's samples, so that nobody looks twice."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from hasup.journal.samples import Minute, Row
from hasup.loop import Loop
from hasup.runtime.trail import UNKNOWN, WIDTH

_CHUNK = 200  # replicas in one turn of the loop


class Minutes:
    """Called each minute with the slots there are; hands on one batch of rows."""

    def __init__(
        self,
        loop: Loop,
        samples: Callable[[str], array[float]],
        write: Callable[[Minute], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._loop = loop
        self._samples = samples
        self._write = write
        self._wall = wall

    def over(self, slots: list[str], since: float) -> None:
        """A minute is over that began at ``since`` on the loop's clock."""
        at = self._wall() - (self._loop.now() - since)
        self._some(slots, since, Minute(at, []))

    def _some(self, slots: list[str], since: float, minute: Minute) -> None:
        rows = [*minute.rows]
        for slot in slots[:_CHUNK]:
            row = summary(slot, self._samples(slot), since)
            if row is not None:
                rows.append(row)
        minute = minute._replace(rows=rows)
        if slots[_CHUNK:]:
            self._loop.call_later(0.01, lambda: self._some(slots[_CHUNK:], since, minute))
        elif rows:
            self._write(minute)


def summary(slot: str, samples: array[float], since: float) -> Row | None:
    """What came after ``since`` as one row; None when nothing did."""
    first = len(samples)
    while first and samples[first - WIDTH] > since:
        first -= WIDTH
    if first == len(samples):
        return None
    memory, cpu, *counts = (samples[first + column :: WIDTH] for column in range(1, WIDTH))
    known = [share for share in cpu if share != UNKNOWN]
    mean, most = (round(sum(known) / len(known), 2), max(known)) if known else (None, None)
    threads, processes, open_files = (None if max(count) == UNKNOWN else int(max(count)) for count in counts)
    return Row(slot, mean, most, int(sum(memory) / len(memory)), int(max(memory)), threads, processes, open_files)
