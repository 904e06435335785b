"""The end of everything: those first that nobody needs."""

from msgspec.structs import replace

from hasup.core import wishes
from hasup.core.roster import Roster
from hasup.core.step import Step
from hasup.core.turn import Turn
from hasup.model.actions import Exit, Note
from hasup.model.state import State

IN_TURN = frozenset({State.STARTING, State.RUNNING})  # others may need these to the last
AT_ONCE = frozenset({State.WAITING, State.BACKOFF})


class Ending:
    """The order in which programs are stopped, and when hasup itself may end."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._left: dict[str, None] | None = None  # programs that have not been asked to end yet
        self.finished: int | None = None

    def begin(self, turn: Turn, reason: str, code: int, *, at_once: bool = False) -> None:
        """Stop everything; a second time, or ``at_once``: kill everything."""
        own = self._roster.own
        at_once = at_once and not own.killing
        if own.ending is None:
            own.ending, own.exit_code = reason, code
            self._left = dict.fromkeys(self._roster.programs)
        elif not at_once:
            return  # under way already
        own.killing = own.killing or at_once
        self._roster.remember()
        turn.actions.append(Note("shutdown", f"{reason}: everything is killed" if at_once else reason))
        self._spread(turn, kill=at_once)

    def _spread(self, turn: Turn, *, kill: bool) -> None:
        """Nobody is wanted any more, and whatever does not run goes at once."""
        why = self._roster.own.ending or ""
        for slot, known in list(self._roster.replicas.items()):
            if known.wanted or known.then_start:
                self._roster.put(replace(known, wanted=False, then_start=False))
            if kill:
                turn.step(slot, lambda step: wishes.kill(step, why))
            elif known.state in AT_ONCE:
                turn.step(slot, self._stop)

    def go_on(self, turn: Turn) -> bool:
        """Ask those to end whose turn has come; true when somebody was asked."""
        if self._roster.own.ending is None or self.finished is not None:
            return False
        if self._left is None:  # an earlier core began it, and may not have come to all of them
            self._left = dict.fromkeys(self._roster.programs)
            self._spread(turn, kill=self._roster.own.killing)
        free = [name for name in self._left if self._may_stop(name)]
        for name in free:
            del self._left[name]
            for slot in [r.name for r in self._roster.beyond(name, 0) if r.state in IN_TURN]:
                turn.step(slot, self._stop)
        if not free and self._roster.all_at_rest():
            self.finished = self._roster.own.exit_code
            turn.actions.append(Exit(self.finished))
        return bool(free)

    def _may_stop(self, name: str) -> bool:
        program = self._roster.programs.get(name)
        return program is None or self._roster.plan.may_stop(program, self._roster.at_rest)

    def _stop(self, step: Step) -> None:
        wishes.stop(step, f"stopped with hasup: {self._roster.own.ending}")
