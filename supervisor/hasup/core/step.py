"""One decision on one replica: the state before, what is done to it, and the actions that follow."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from msgspec.structs import replace

from hasup.core import hooks
from hasup.core.transitions import MOVES
from hasup.model.actions import Action, Changed, ClearTree, EndHook, RunHook, Spawn
from hasup.model.spec import Program
from hasup.model.state import AT_REST, Replica, Result, State


class Calendar(Protocol):
    """What a schedule means in local time. Times are seconds since the epoch."""

    def following(self, schedule: str, after: float, /) -> float:
        """The first time of ``schedule`` that is later than ``after``."""

    def shown(self, at: float, /) -> str:
        """A time in words."""


class NoCalendar:
    """For those who have no schedules."""

    def following(self, _schedule: str, _after: float) -> float:
        """It never comes."""
        return math.inf

    def shown(self, _at: float) -> str:
        """The only time there is."""
        return "never"


class Step:
    """Collects the new state and the actions of one event on one replica.

    ``chance`` draws the jitter; ``blocked`` tells what it would have to wait for (in words) if it were to start now.
    Both are asked only where they matter. ``offset`` is what the wall clock is ahead of the monotonic one; it matters
    to what runs on a schedule, and to nothing else. ``ending`` is set while hasup stops everything: then nothing is
    started.
    """

    def __init__(
        self,
        replica: Replica,
        program: Program,
        successor: Program,
        now: float,
        *,
        chance: Callable[[], float],
        blocked: Callable[[], str | None],
        ending: bool,
        calendar: Calendar,
        offset: float,
    ) -> None:
        self.replica = replica
        self.program = program  # what it runs
        self.successor = successor  # what its next generation is to run
        self.now = now
        self.chance = chance
        self.blocked = blocked
        self.ending = ending
        self.calendar = calendar
        self.offset = offset
        self.actions: list[Action] = []
        self.wants_turn = False  # it would spawn now: the supervisor says when it may
        self.shutdown: str | None = None  # hasup must stop everything, for this reason
        self.failed = False  # it failed, and will be restarted: its groups count that
        self.restarted = False  # it is being restarted: others may want to be restarted with it

    @property
    def wall(self) -> float:
        """What the wall clock says, in seconds since the epoch."""
        return self.now + self.offset

    def set(self, **changes: Any) -> None:
        """Change facts without leaving the state."""
        self.replica = replace(self.replica, **changes)

    def enter(
        self, state: State, reason: str, *, deadline: float | None = None, event: str = "state", **changes: Any
    ) -> None:
        """Go to a state. Its deadline replaces that of the state before, so none is lost or left over."""
        old = self.replica.state
        assert state in MOVES[old], f"{self.replica.name}: {old} does not lead to {state}"
        assert reason
        changes.setdefault("admitted", False)
        changes.setdefault("draining", False)
        changes["spent"] = spent(self.replica, self.now)
        if state is not State.RUNNING:
            changes.setdefault("ready", False)
            changes.setdefault("heartbeat_due", None)
            changes.setdefault("extend_until", None)
            changes.setdefault("degraded", False)
        if state in AT_REST:
            changes.setdefault("along", None)
        if state in (State.STOPPED, State.COMPLETED):
            changes.setdefault("recover", False)
        if state is State.STOPPED:
            changes.setdefault("run_at", None)
            changes.setdefault("run_due", None)
        self.set(state=state, reason=reason, since=self.now, deadline=deadline, **changes)
        self.tell(event, reason, old)

    def tell(self, event: str, reason: str, old: State | None = None, **detail: object) -> None:
        """Something happened; it becomes part of the journal."""
        replica = self.replica
        facts: dict[str, object] = {"ready": replica.ready, "wanted": replica.wanted, "generation": replica.generation}
        if replica.pid is not None:
            facts["pid"] = replica.pid
        if event == "state" and replica.last is not None and replica.last.at == self.now:
            facts["result"] = replica.last.result.value
            if replica.last.exit_code is not None:
                facts["exit_code"] = replica.last.exit_code
            if replica.last.signal is not None:
                facts["signal"] = replica.last.signal
        self.actions.append(
            Changed(
                slot=replica.name,
                event=event,
                old=old if old is not None else replica.state,
                new=replica.state,
                reason=reason,
                ready=replica.ready,
                detail=facts | detail,
            )
        )

    def explain(self, event: str, reason: str) -> None:
        """The state stays, with another reason; told once."""
        if reason != self.replica.reason:
            self.set(reason=reason)
            self.tell(event, reason)

    def act(self, action: Action) -> None:
        """Ask for something."""
        self.actions.append(action)

    def clear(self, grace_s: float = 0.0) -> None:
        """See to it that nothing of the last run is left, or of the hook that runs before the next."""
        replica = self.replica
        if replica.hook is not None:
            self.act(EndHook(replica.name, replica.generation, replica.hook, grace_s))
        else:
            self.set(clearing=True)
            self.act(ClearTree(replica.name, replica.generation, grace_s))

    def spawn(self, why: str) -> None:
        """Start the next generation now: first the hooks that come before, then the process."""
        replica = self.replica
        assert replica.tree_empty, f"{replica.name}: something is left of generation {replica.generation}"
        assert replica.pid is None
        assert replica.wanted
        assert not self.ending
        assert not replica.spawning
        assert replica.hook is None
        self.program = self.successor
        hook = hooks.first_gate(self.program, replica)
        self.enter(
            State.STARTING,
            why if hook is None else f"{why}; its {hook} hook runs",
            generation=replica.generation + 1,
            recover=False,
            started=self.now,
            ready_since=None,
            failing=None,
            failing_detail="",
            then_start=False,
            along=None,
            admitted=False,
            probe_failures=0,
            probe_successes=0,
            status_text="",
            watchdog_s=None,
            leaving=False,
            over_since={},
        )
        self._go_on(hook)

    def hook_done(self) -> None:
        """The hook before the start succeeded: now the next one, or the process."""
        done = self.replica.hook
        assert done is not None
        following = hooks.next_gate(self.program, done)
        self.set(hook=None)
        self.explain("hook", f"its {done} hook succeeded" + (f"; its {following} hook runs" if following else ""))
        self._go_on(following)

    def _go_on(self, hook: str | None) -> None:
        if hook is not None:
            self.set(hook=hook, deadline=self.now + self.program.hooks.timeout)
            self.run_hook(hook)
        else:
            deadline = self.now + self.program.ready.timeout
            self.set(spawning=True, tree_empty=False, clearing=False, started=self.now, deadline=deadline)
            self.act(Spawn(self.replica.name, self.replica.generation))

    def run_hook(self, hook: str) -> None:
        """Run this hook if there is one."""
        replica = self.replica
        if getattr(self.program.hooks, hook):
            self.act(RunHook(replica.name, replica.generation, hook, hooks.facts(replica, hook)))


def spent(known: Replica, now: float) -> dict[str, float]:
    """Seconds in each state up to ``now``; what was before the first move is not counted."""
    if not known.since:
        return known.spent
    state = known.state.value
    return known.spent | {state: round(known.spent.get(state, 0.0) + now - known.since, 3)}


def restarted(known: Replica, result: Result) -> dict[str, Any]:
    """The changes that count one more restart, after a run that ended so."""
    count = known.restarted_for.get(result.value, 0) + 1
    return {"restarts": known.restarts + 1, "restarted_for": known.restarted_for | {result.value: count}}
