"""The most starts a second over all programs: a bucket that hands out times, and whose turn each time is.

Generic cell rate algorithm (ITU-T I.371): one number of state, and each caller learns at once when its turn is. Every
slot has at most one turn at a time, and programs take turns: nobody waits for a second replica of another program
before its own first one, for a third before its second, and so on. So a program that crashes without pause, however
many replicas it has, pushes another one back by a single turn.
"""

from bisect import bisect_left, insort

from hasup.model.state import Replica


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


class Queue:
    """The replicas that were given a turn which is still to come, by program."""

    def __init__(self) -> None:
        self._held: dict[str, list[tuple[float, str]]] = {}  # program -> (turn, slot), the next one first
        self._crowded: dict[str, None] = {}  # programs with more than one: an ordered set

    def changed(self, before: Replica | None, after: Replica | None) -> None:
        """A replica is another than before."""
        for known, change in ((before, self._leave), (after, self._join)):
            if known is not None and known.admitted and known.deadline is not None:
                change(known.program, (known.deadline, known.name))

    def overtaken(self, program: str) -> str | None:
        """Whose turn the next replica of a program may have instead of one at the end; None when nobody's.

        The first of those that come further back among their own than it does.
        """
        rank = len(self._held.get(program, ())) + 1
        others = (self._held[name] for name in self._crowded if name != program)
        first = min((held[rank] for held in others if len(held) > rank), default=None)
        return None if first is None else first[1]

    def _join(self, program: str, turn: tuple[float, str]) -> None:
        held = self._held.setdefault(program, [])
        insort(held, turn)
        if len(held) > 1:
            self._crowded[program] = None

    def _leave(self, program: str, turn: tuple[float, str]) -> None:
        held = self._held[program]
        del held[bisect_left(held, turn)]
        if len(held) < 2:
            self._crowded.pop(program, None)
        if not held:
            del self._held[program]
