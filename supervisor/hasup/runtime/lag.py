"""How late the main loop is at what it meant to do: counted by length, for metrics."""

from bisect import bisect_left
from itertools import accumulate
from typing import Final

from hasup.model.status import LoopLag

BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Lag:
    """A histogram of the turns of the loop."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._longest_s = 0.0

    def note(self, lag_s: float) -> None:
        """One more turn, which began so late."""
        self._counts[bisect_left(BOUNDS_S, lag_s)] += 1
        if lag_s > 0.0:
            self._sum_s += lag_s
            if lag_s > self._longest_s:
                self._longest_s = lag_s

    def figures(self) -> LoopLag:
        """Since this core began."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        buckets = dict(zip(bounds, accumulate(self._counts), strict=True))
        return LoopLag(round(self._longest_s, 6), round(self._sum_s, 6), buckets)
