"""The deadlines of all slots: which comes first, in O(log n), while signs of life move them about all the time."""

import heapq
from collections.abc import Callable


class Deadlines:
    """A heap with lazy deletion. ``actual`` tells the deadline that a slot really has now (None: none).

    A deadline that moves to later costs nothing: the entry in the heap is looked at again when it comes up.
    """

    def __init__(self, actual: Callable[[str], float | None]) -> None:
        self._actual = actual
        self._heap: list[tuple[float, str]] = []
        self._known: dict[str, float] = {}  # slot -> its one valid entry in the heap

    def moved(self, slot: str, due: float | None) -> None:
        """The deadline of ``slot`` may be earlier than before."""
        if due is not None and (slot not in self._known or due < self._known[slot]):
            self._known[slot] = due
            heapq.heappush(self._heap, (due, slot))

    def forget(self, slot: str) -> None:
        """The slot is gone."""
        self._known.pop(slot, None)

    def first(self) -> float | None:
        """The earliest deadline; None when there is none."""
        while self._heap:
            at, slot = self._heap[0]
            if self._known.get(slot) == at:
                actual = self._actual(slot)
                if actual == at:
                    return at
                del self._known[slot]
                self.moved(slot, actual)
            if self._heap[0] == (at, slot):
                heapq.heappop(self._heap)
        return None

    def take_over(self, now: float) -> list[str]:
        """The slots whose deadline is over, earliest first; each is looked at again once it has a new one."""
        slots = []
        while (at := self.first()) is not None and at <= now:
            slot = heapq.heappop(self._heap)[1]
            del self._known[slot]
            slots.append(slot)
        return slots
