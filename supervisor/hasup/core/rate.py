"""The most starts a second over all programs: a bucket that hands out times, first come first served.

Generic cell rate algorithm (ITU-T I.371): one number of state, and each caller learns at once when its turn is. Every
slot has at most one turn at a time, so a program that crashes without pause cannot push others back by more than one.
"""


class Rate:
    """``per_second`` turns a second, with a burst of as many."""

    def __init__(self, per_second: int) -> None:
        self.change(per_second)
        self._burst = 1.0  # one second's worth
        self._next = float("-inf")  # when the turn after the last one given would be due without a burst

    def change(self, per_second: int) -> None:
        """So many from now on; what was given away stays given."""
        self._gap = 1 / per_second

    def turn(self, now: float) -> float:
        """When the caller may go: ``now`` or later. Taken once asked for."""
        due = max(self._next, now)
        self._next = due + self._gap
        return max(now, due + self._gap - self._burst)

    def taken(self, turn: float) -> None:
        """An earlier core gave this turn away: the next one comes after it."""
        self._next = max(self._next, turn + self._burst)
