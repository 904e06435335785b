"""The whole: routes events to replicas, and carries what one replica's change means to others.

Deterministic and without effects: events and times in, actions out. The runtime feeds it, keeps its state as text
(:meth:`Supervisor.take_blobs`) and asks when to come back (:meth:`Supervisor.next_deadline`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hasup.core import changing, fates, limits, names, replica, rolls, scaling, schedule, signs, wishes
from hasup.core.diff import Difference
from hasup.core.ending import Ending
from hasup.core.roster import Roster
from hasup.core.step import Calendar, NoCalendar, Step
from hasup.core.turn import Apply, Turn
from hasup.model import events as ev
from hasup.model.actions import Action
from hasup.model.spec import Config, Program
from hasup.model.state import Replica, State
from hasup.model.status import AutoscaleStatus

# Looked up when called, so that a test may plant a fault in any of them.
_OF_ONE: Mapping[type[ev.Event], Callable[[Step, Any], None]] = {
    ev.Exited: lambda step, event: replica.exited(step, event),
    ev.Spawned: lambda step, event: replica.spawned(step, event),
    ev.SpawnFailed: lambda step, event: replica.spawn_failed(step, event),
    ev.Emptied: lambda step, event: replica.emptied(step, event),
    ev.Stuck: lambda step, event: replica.stuck(step, event),
    ev.Drained: lambda step, _: replica.drained(step),
    ev.HookEnded: lambda step, event: replica.hook_ended(step, event),
    ev.Notified: lambda step, event: signs.notified(step, event),
    ev.ProbeResult: lambda step, event: signs.probed(step, event),
    ev.LogMatched: lambda step, event: signs.log_matched(step, event),
}
_REPLACED = frozenset({State.STOPPING, State.BACKOFF, State.STARTING})
_STAGGERED = frozenset(limits.RESULTS.values())


class Supervisor:
    """All replicas of a configuration and the decisions on them."""

    def __init__(self, config: Config, *, seed: int, calendar: Calendar | None = None) -> None:
        self._roster = Roster(config, seed, calendar or NoCalendar())
        self._ending = Ending(self._roster)
        self._restored: float | None = None  # took over at this time, and had no event yet

    # --- what is known ----------------------------------------------------------------------------------------------
    @property
    def replicas(self) -> Mapping[str, Replica]:
        """Every replica by its slot."""
        return self._roster.replicas

    @property
    def finished(self) -> int | None:
        """The exit code, once everything is stopped and hasup may end."""
        return self._ending.finished

    @property
    def stopping(self) -> bool:
        """Whether hasup is on its way to its end."""
        return self._roster.own.ending is not None

    def spec(self, slot: str) -> Program:
        """The program of a slot; its ``replicas`` are as scaled. While it is reloaded, some slots run the old one."""
        return self._roster.spec(self.replicas[slot])

    def configured(self, name: str) -> Program:
        """A program as the configuration in force has it."""
        return self._roster.config.programs[name]

    def autoscale(self, name: str) -> AutoscaleStatus | None:
        """How a program stands that is scaled by its load; None for any other."""
        return scaling.status(self._roster, name)

    def stands_in(self, slot: str) -> bool:
        """Whether a replica is there only while its program is reloaded."""
        return self._roster.stands_in(self.replicas[slot])

    def resolve(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The slots that these names stand for; raises :class:`hasup.core.UnknownName`."""
        return names.resolve(asked, self.replicas, self._roster.programs, self._roster.config.groups)

    def settled(self) -> bool:
        """Whether every wanted replica is ready, completed, failed its first start, or waits for one that did."""
        return self._roster.unsettled == 0 or all(map(self.is_settled, self.replicas.values()))

    def is_settled(self, replica: Replica) -> bool:
        """Whether a replica is not wanted, or ready, completed, failed its first start, or waits for one that did."""
        return self._roster.plan.is_settled(replica)

    def is_rolling(self, programs: Iterable[str]) -> bool:
        """Whether a rolling restart of one of these programs is under way.

        Not so when it has failed and only waits for what it replaced to be ready, nor when it goes on trying in vain.
        """
        return any(self._is_rolling(name) for name in programs)

    def _is_rolling(self, name: str) -> bool:
        plan = self._roster.own.rolling.get(name)
        if plan is not None:
            return not plan.over and plan.trouble is None
        program = self._roster.programs.get(name)
        return program is not None and bool(self._roster.beyond(name, program.replicas))  # who stood in, say, ends

    def not_reloaded(self, programs: Iterable[str]) -> dict[str, str]:
        """Those whose last rolling restart failed, or does not get on, and why."""
        reloaded = self._roster.own.reloaded
        return {name: reloaded[name] for name in programs if name in reloaded}

    def reloading(self) -> list[str]:
        """The programs of which a rolling restart is under way, or failed."""
        return list(dict.fromkeys([*self._roster.own.rolling, *self._roster.own.reloaded]))

    def was_asked(self, token: str) -> bool:
        """Whether the reload of this token was begun already, by an earlier core as well."""
        return token in self._roster.own.asked

    def next_deadline(self) -> float | None:
        """When :class:`~hasup.model.events.Due` is wanted next."""
        return self._restored if self._restored is not None else self._roster.deadlines.first()

    # --- state as text ----------------------------------------------------------------------------------------------
    def take_blobs(self) -> dict[str, str | None]:
        """What changed since the last call: slot to text, or None for one that is gone; ``""`` is the supervisor."""
        return self._roster.take_blobs()

    def restore(self, blobs: Mapping[str, str], now: float) -> None:
        """Take over what an earlier core knew. Signs of life are awaited afresh, so nothing healthy is called hung.

        Whatever the earlier core had decided on and not come to follows with the next event, which is due at once.
        """
        self._roster.load(blobs)
        turn = Turn(self._roster, now)
        for slot in self.replicas:
            turn.step(slot, replica.afresh)
        self._roster.wake.update(dict.fromkeys(self._roster.programs))
        self._restored = now

    # --- events -----------------------------------------------------------------------------------------------------
    def handle(self, event: ev.Event, now: float) -> list[Action]:
        """Decide on one event at ``now`` (monotonic seconds)."""
        if type(event) is ev.Beat:  # by far the most frequent, and it matters to nobody else
            self._beat(event.slot, now)
            return []
        self._restored = None
        if isinstance(event, ev.WallClock):
            self._roster.offset = event.offset
        turn = Turn(self._roster, now)
        decide = _OF_ONE.get(type(event))
        if decide is None:
            for slot, apply in self._routes(event, now):
                turn.step(slot, apply)
            self._on_the_whole(turn, event)
        elif (slot := event.slot) in self._roster.replicas:  # type: ignore[attr-defined]
            turn.step(slot, lambda step: decide(step, event))
        self._follow_up(turn)
        return turn.actions

    def apply(
        self, config: Config, now: float, *, by: str = "operator", token: str = ""
    ) -> tuple[Difference, list[Action]]:
        """Go over to another configuration: only what differs is touched."""
        turn = Turn(self._roster, now)
        self._roster.remember_asked(token)
        found = changing.apply(turn, config, by)
        self._follow_up(turn)
        return found, turn.actions

    def _beat(self, slot: str, now: float) -> None:
        known = self.replicas.get(slot)
        if known is not None and known.state is State.RUNNING and known.heartbeat_due is not None:
            timeout = replica.heartbeat_timeout(known, self._roster.spec(known))
            if timeout is not None:
                self._roster.beat(known, now + timeout)

    def _routes(self, event: ev.Event, now: float) -> Iterable[tuple[str, Apply]]:
        """Which replicas an event that is not about one alone concerns, and what it does to each."""
        match event:
            case ev.Sampled(slot):
                return self._known((slot,), lambda step: signs.sampled(step, event, lambda: self._may_restart(slot)))
            case ev.Due():
                return self._known(self._roster.deadlines.take_over(now), schedule.look)
            case ev.WallClock():
                return self._known(self.replicas, schedule.clock_set)
            case ev.Stalled(seconds):
                return self._known(self.replicas, lambda step: replica.grace(step, seconds))
            case ev.Start(slots, by, at_once):
                return self._known(
                    self._with_needed(self._staying(slots)), lambda step: wishes.start(step, by, at_once=at_once)
                )
            case ev.Restart(slots, by):
                return self._known(self._staying(slots), lambda step: wishes.restart_now(step, f"restarted by {by}"))
            case _:
                return ()

    def _known(self, slots: Iterable[str], apply: Apply) -> list[tuple[str, Apply]]:
        return [(slot, apply) for slot in slots if slot in self.replicas]

    def _staying(self, slots: Iterable[str]) -> list[str]:
        """Those that are not being scaled away."""
        return [
            slot for slot in slots if slot in self.replicas and self.replicas[slot].index <= self.spec(slot).replicas
        ]

    def _with_needed(self, slots: Iterable[str]) -> list[str]:
        """The slots, and those of programs that they depend on and nobody has started: dependencies come first."""
        wanted: dict[str, None] = {}

        def add(slot: str) -> None:
            if slot in wanted or slot not in self.replicas:
                return
            for other in self.spec(slot).depends_on:
                for needed in self._roster.of(other):
                    if needed.state is State.STOPPED and not needed.wanted:
                        add(needed.name)
            wanted[slot] = None

        for slot in slots:
            add(slot)
        return list(wanted)

    def _may_restart(self, slot: str) -> bool:
        """Replicas that are over a limit are replaced one by one."""
        others = (r for r in self._roster.of(self.replicas[slot].program) if r.name != slot)
        return not any(
            r.wanted
            and r.state in _REPLACED
            and (r.failing or (r.last.result if r.last is not None else None)) in _STAGGERED
            for r in others
        )

    def _on_the_whole(self, turn: Turn, event: ev.Event) -> None:
        """Events that are about more than single replicas."""
        match event:
            case ev.Stop(slots, by):
                self._stop(turn, slots, f"stopped by {by}")
            case ev.Scale(program, count, by) if not self.stopping:
                scaling.scale(turn, program, count, by)
            case ev.LoadMeasured() if not self.stopping:
                scaling.measured(turn, event)
            case ev.Roll(slots, by, token) if not self.stopping:
                self._roster.remember_asked(token)
                rolls.begin(turn, self._staying(slots), by)
            case ev.Shutdown(reason, code, at_once):
                self._ending.begin(turn, reason, code, at_once=at_once or self.stopping)
            case _:
                pass

    def _stop(self, turn: Turn, slots: Iterable[str], why: str) -> None:
        """What serves a program goes first, and takes its open connections to their end."""
        known = [slot for slot in slots if slot in self.replicas]
        for slot in sorted(known, key=lambda slot: self.spec(slot).owner is None):
            wishes.stop_in_turn(turn, slot, why)

    # --- what follows -----------------------------------------------------------------------------------------------
    def _follow_up(self, turn: Turn) -> None:
        """See to all that follows from what happened in this turn."""
        while self._next_consequence(turn):
            pass

    def _next_consequence(self, turn: Turn) -> bool:
        roster = self._roster
        if turn.shutdowns:
            self._ending.begin(turn, turn.shutdowns.popleft(), 1)
        elif turn.failed:
            slot = turn.failed.popleft()
            if not self.stopping:
                fates.failed(turn, slot)
        elif turn.restarted:
            slot = turn.restarted.popleft()
            if not self.stopping:
                fates.restarted(turn, slot)
        elif roster.wake:
            name = next(iter(roster.wake))
            del roster.wake[name]
            fates.changed(turn, name)
        else:
            return rolls.go_on(turn) or self._ending.go_on(turn)
        return True
