"""One turn: everything that follows from one event at one moment."""

from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from hasup.core import replica
from hasup.core.restart import jitter
from hasup.core.roster import Roster
from hasup.core.step import Step
from hasup.model.actions import Action

Apply = Callable[[Step], None]


class Turn:
    """Collects the actions, and what they mean to others, until nothing is left to be dealt with."""

    def __init__(self, roster: Roster, now: float) -> None:
        self.roster = roster
        self.now = now
        self.actions: list[Action] = []
        self.failed: deque[str] = deque()  # slots that failed and will be restarted
        self.restarted: deque[str] = deque()  # slots that are being restarted, for whatever reason
        self.shutdowns: deque[str] = deque()  # reasons to stop everything

    def step(self, slot: str, apply: Apply) -> None:
        """Let ``apply`` decide on one replica."""
        roster = self.roster
        before = roster.replicas[slot]
        step = Step(
            before,
            roster.spec(before),
            roster.spec(before, of_next=True),
            self.now,
            chance=lambda: jitter(roster.seed, slot, before.generation),
            blocked=lambda: roster.plan.blocked(roster.programs[before.program]) or roster.together(before),
            ending=roster.own.ending is not None,
            calendar=roster.calendar,
            offset=roster.offset,
        )
        apply(step)
        if step.wants_turn:
            self._give_turn(step)
        if step.replica is not before:
            roster.put(step.replica)
        self.actions += step.actions
        if step.failed:
            self.failed.append(slot)
        if step.restarted:
            self.restarted.append(slot)
        if step.shutdown is not None:
            self.shutdowns.append(step.shutdown)

    def _give_turn(self, step: Step) -> None:
        due = self.roster.rate.turn(self.now)
        if due <= self.now:
            step.spawn(step.replica.reason)
        else:
            replica.hold(step, self._overtake(step.replica.program, due))

    def _overtake(self, program: str, due: float) -> float:
        """The turn of a replica that was given one at ``due``: programs take turns, so it may be due earlier."""
        slot = self.roster.queue.overtaken(program)
        known = None if slot is None else self.roster.replicas[slot]
        if known is None or known.deadline is None or known.deadline >= due:
            return due
        self.roster.put(replace(known, deadline=due))
        return known.deadline
