"""The whole: routes events to replicas, and carries what one replica's change means to others.

Deterministic and without effects: events and times in, actions out. The runtime feeds it, keeps its state as text
(:meth:`Supervisor.take_blobs`) and asks when to come back (:meth:`Supervisor.next_deadline`).
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from hasup.core import groups, names, replica, rolling
from hasup.core.diff import Difference, difference
from hasup.core.plan import Plan
from hasup.core.rate import Rate
from hasup.core.restart import jitter
from hasup.core.rolling import Rolling
from hasup.core.step import Step
from hasup.model import events as ev
from hasup.model.actions import Action, Exit, Forget, Note
from hasup.model.spec import Config, Program
from hasup.model.state import Replica, Result, State

Apply = Callable[[Step], None]
_TO_BE_STOPPED = {State.STARTING, State.RUNNING, State.WAITING, State.BACKOFF}
_LIMITS_UNDER_WAY = {State.STOPPING, State.BACKOFF, State.STARTING}


class Own(msgspec.Struct, omit_defaults=True):
    """What the supervisor remembers besides its replicas."""

    scale: dict[str, int] = {}
    ending: str | None = None  # why everything is being stopped
    exit_code: int = 0
    killing: bool = False
    group_history: dict[str, list[float]] = {}
    rolling: dict[str, Rolling] = {}  # program -> its rolling restart under way


class Supervisor:
    """All replicas of a configuration and the decisions on them."""

    def __init__(self, config: Config, *, seed: int) -> None:
        self._seed = seed
        self._own = Own()
        self.replicas: dict[str, Replica] = {}
        self.finished: int | None = None
        self._dirty: set[str] = {""}
        self._forgotten: set[str] = set()
        self._heap: list[tuple[float, str]] = []
        self._scheduled: dict[str, float] = {}
        self._wake: dict[str, None] = {}  # programs whose dependants must be looked at
        self._configure(config)
        for program in self._programs.values():
            for index in range(1, program.replicas + 1):
                self._add(program, index)

    def _configure(self, config: Config) -> None:
        self._config = config
        self._programs = dict(config.programs)
        self._rate = Rate(config.supervisor.restart_rate)
        self._plan = Plan(self._programs, self._of)
        self._groups_of: dict[str, list[str]] = {}
        for group in config.groups.values():
            for name in group.programs:
                self._groups_of.setdefault(name, []).append(group.name)

    def _add(self, program: Program, index: int) -> str:
        name = f"{program.name}.{index}"
        self.replicas[name] = Replica(name=name, program=program.name, index=index)
        self._dirty.add(name)
        return name

    # --- what is known ----------------------------------------------------------------------------------------------
    @property
    def stopping(self) -> bool:
        """Whether hasup is on its way to its end."""
        return self._own.ending is not None

    def spec(self, slot: str) -> Program:
        """The program of a slot; its ``replicas`` are as scaled."""
        return self._programs[self.replicas[slot].program]

    def resolve(self, asked: Sequence[str]) -> tuple[str, ...]:
        """The slots that these names stand for; raises :class:`hasup.core.UnknownName`."""
        return names.resolve(asked, self.replicas, self._programs, self._config.groups)

    def settled(self) -> bool:
        """Whether every wanted replica is ready, completed, or failed its first start."""
        return all(r.settled or not r.wanted for r in self.replicas.values())

    def next_deadline(self) -> float | None:
        """When :class:`~hasup.model.events.Due` is wanted next."""
        while self._heap:
            at, slot = self._heap[0]
            if self._scheduled.get(slot) != at:
                heapq.heappop(self._heap)
                continue
            actual = _earliest(self.replicas.get(slot))
            if actual == at:
                return at
            heapq.heappop(self._heap)  # moved to later by a sign of life, or gone
            del self._scheduled[slot]
            self._schedule(slot, actual)
        return None

    def _of(self, program: str) -> list[Replica]:
        count = self._programs[program].replicas
        return [r for i in range(1, count + 1) if (r := self.replicas.get(f"{program}.{i}")) is not None]

    def _at_rest(self, program: str) -> bool:
        return all(r.state in replica.AT_REST and r.tree_empty for r in self.replicas.values() if r.program == program)

    # --- state as text ----------------------------------------------------------------------------------------------
    def take_blobs(self) -> dict[str, str | None]:
        """What changed since the last call: slot to text, or None for one that is gone; ``""`` is the supervisor."""
        blobs: dict[str, str | None] = dict.fromkeys(self._forgotten)
        for slot in self._dirty:
            state: object = self.replicas.get(slot) if slot else self._own
            if state is not None:
                blobs[slot] = msgspec.json.encode(state).decode()
        self._dirty, self._forgotten = set(), set()
        return blobs

    def restore(self, blobs: Mapping[str, str], now: float) -> None:
        """Take over what an earlier core knew. Signs of life are awaited afresh, so nothing healthy is called hung."""
        self._own = msgspec.json.decode(blobs[""], type=Own)
        for name, count in self._own.scale.items():
            if name in self._programs:
                self._resize(name, count)
        for name in [r.name for r in self.replicas.values() if r.index > self._programs[r.program].replicas]:
            del self.replicas[name]  # scaled away before; one that is still being stopped comes back with its blob
        for slot, blob in blobs.items():
            if slot:
                self._restore_replica(msgspec.json.decode(blob, type=Replica))
        for slot in self.replicas:
            self._step(slot, lambda step: _afresh(step), now)
        self._dirty = {"", *self.replicas}

    def _restore_replica(self, known: Replica) -> None:
        if known.program in self._programs:
            self.replicas[known.name] = known
            self._schedule(known.name, _earliest(known))

    # --- events -----------------------------------------------------------------------------------------------------
    def handle(self, event: ev.Event, now: float) -> list[Action]:
        """Decide on one event at ``now`` (monotonic seconds)."""
        actions: list[Action] = []
        for slot, apply in self._routes(event, now):
            actions += self._step(slot, apply, now)
        actions += self._own_events(event, now)
        while self._wake:
            actions += self._look_at_dependants(now)
        actions += self._go_on_rolling(now)
        actions += self._go_on_ending(now)
        return actions

    def _routes(self, event: ev.Event, now: float) -> Iterable[tuple[str, Apply]]:
        """Which replicas an event concerns, and what it does to each."""
        match event:
            case ev.Beat(slot):
                return self._known(slot, replica.beat)
            case ev.Exited(slot):
                return self._known(slot, lambda step: replica.exited(step, event))
            case ev.Spawned(slot):
                return self._known(slot, lambda step: replica.spawned(step, event))
            case ev.Notified(slot):
                return self._known(slot, lambda step: replica.notified(step, event))
            case ev.ProbeResult(slot):
                return self._known(slot, lambda step: replica.probed(step, event))
            case ev.Sampled(slot):
                return self._known(slot, lambda step: replica.sampled(step, event, self._may_restart(slot)))
            case ev.SpawnFailed(slot):
                return self._known(slot, lambda step: replica.spawn_failed(step, event))
            case ev.Emptied(slot):
                return self._known(slot, lambda step: replica.emptied(step, event))
            case ev.LogMatched(slot):
                return self._known(slot, lambda step: replica.log_matched(step, event))
            case ev.Stuck(slot):
                return self._known(slot, lambda step: replica.stuck(step, event))
            case ev.Due():
                return [(slot, replica.due) for slot in self._overdue(now)]
            case ev.Stalled(seconds):
                return [(slot, lambda step: replica.grace(step, seconds)) for slot in list(self.replicas)]
            case ev.Start(slots, by):
                return [(slot, lambda step: replica.start(step, by)) for slot in self._with_needed(slots)]
            case ev.Stop(slots, by):
                return self._all_known(slots, lambda step: replica.stop(step, f"stopped by {by}"))
            case ev.Restart(slots, by):
                return self._all_known(slots, lambda step: replica.restart_now(step, f"restarted by {by}"))
            case _:
                return ()

    def _known(self, slot: str, apply: Apply) -> list[tuple[str, Apply]]:
        return [(slot, apply)] if slot in self.replicas else []

    def _all_known(self, slots: Iterable[str], apply: Apply) -> list[tuple[str, Apply]]:
        return [(slot, apply) for slot in slots if slot in self.replicas]

    def _with_needed(self, slots: Iterable[str]) -> list[str]:
        """The slots, and those of programs that they depend on and nobody has started: dependencies come first."""
        wanted: dict[str, None] = {}

        def add(slot: str) -> None:
            if slot in wanted or slot not in self.replicas:
                return
            for other in self.spec(slot).depends_on:
                for needed in self._of(other):
                    if needed.state is State.STOPPED and not needed.wanted:
                        add(needed.name)
            wanted[slot] = None

        for slot in slots:
            add(slot)
        return list(wanted)

    def _overdue(self, now: float) -> list[str]:
        slots = []
        while (at := self.next_deadline()) is not None and at <= now:
            slot = heapq.heappop(self._heap)[1]
            del self._scheduled[slot]
            slots.append(slot)
        return slots

    def _may_restart(self, slot: str) -> bool:
        """Replicas that are over a limit are replaced one by one."""
        others = (r for r in self._of(self.replicas[slot].program) if r.name != slot)
        return not any(
            r.wanted
            and r.state in _LIMITS_UNDER_WAY
            and (r.failing or (r.last.result if r.last else None)) in (Result.MEMORY, Result.AGE)
            for r in others
        )

    # --- one step ---------------------------------------------------------------------------------------------------
    def _step(self, slot: str, apply: Apply, now: float) -> list[Action]:
        before = self.replicas[slot]
        program = self._programs[before.program]
        step = Step(
            before,
            program,
            now,
            jitter(self._seed, slot, before.generation),
            self._plan.blocked(program) if program.depends_on else None,
            self.stopping,
        )
        apply(step)
        if step.wants_turn:
            turn = self._rate.turn(now)
            if turn <= now:
                step.spawn(step.replica.reason)
            else:
                replica.hold(step, turn)
        self._keep(before, step.replica)
        actions = step.actions
        if step.shutdown is not None:
            actions += self._end(step.shutdown, 1, now)
        if before.state is not State.BACKOFF and step.replica.state is State.BACKOFF and not self.stopping:
            actions += self._take_along(step.replica, now)
        return actions

    def _keep(self, before: Replica, after: Replica) -> None:
        if after is before:
            return
        slot = after.name
        self.replicas[slot] = after
        if before.heartbeat_due == after.heartbeat_due or before.state is not after.state:
            self._dirty.add(slot)  # a mere sign of life is not worth a word to the guardian
        due = _earliest(after)
        if due is not None and due < self._scheduled.get(slot, math.inf):
            self._schedule(slot, due)
        if before.state is not after.state or before.ready != after.ready or before.pid != after.pid:
            self._wake[after.program] = None

    def _schedule(self, slot: str, due: float | None) -> None:
        if due is not None:
            self._scheduled[slot] = due
            heapq.heappush(self._heap, (due, slot))

    # --- what one replica's change means to others ------------------------------------------------------------------
    def _look_at_dependants(self, now: float) -> list[Action]:
        name = next(iter(self._wake))
        del self._wake[name]
        actions: list[Action] = []
        for other in self._plan.dependants(name):
            for waiting in self._of(other):
                if waiting.state is State.WAITING and waiting.deadline is None:
                    actions += self._step(
                        waiting.name, lambda step: replica.launch(step, "what it waited for is there"), now
                    )
        actions += self._remove_surplus(name)
        return actions

    def _take_along(self, failed: Replica, now: float) -> list[Action]:
        """A replica failed: programs of its groups, and those that asked for it, are restarted with it."""
        actions: list[Action] = []
        for group_name in self._groups_of.get(failed.program, ()):
            actions += self._group_failed(group_name, failed, now)
        for other in self._plan.dependants(failed.program):
            if self._programs[other].depends_on[failed.program].restart:
                actions += self._restart_with(other, f"restarted, since {failed.name} was", now)
        return actions

    def _group_failed(self, group_name: str, failed: Replica, now: float) -> list[Action]:
        group = self._config.groups[group_name]
        recent, too_many = groups.over_limit(group, self._own.group_history.get(group_name, ()), now)
        self._own.group_history[group_name] = recent
        self._dirty.add("")
        if too_many and group.on_limit != "retry":
            why = f"group {group_name} gave up: more than {group.limit} restarts within {group.window:g} s"
            if group.on_limit == "shutdown":
                return self._end(why, 1, now)
            slots = [r.name for name in group.programs for r in self._of(name)]
            return [action for slot in slots for action in self._step(slot, lambda step: _give_up(step, why), now)]
        actions: list[Action] = []
        if too_many:
            actions += self._step(failed.name, _slow_down, now)
        for name in groups.taken_along(group, failed.program):
            actions += self._restart_with(name, f"restarted with {failed.name} ({group.strategy} of {group_name})", now)
        return actions

    def _restart_with(self, name: str, why: str, now: float) -> list[Action]:
        alive = [r.name for r in self._of(name) if r.state in (State.STARTING, State.RUNNING)]
        return [
            action for slot in alive for action in self._step(slot, lambda step: replica.restart_now(step, why), now)
        ]

    # --- the whole --------------------------------------------------------------------------------------------------
    def _own_events(self, event: ev.Event, now: float) -> list[Action]:
        match event:
            case ev.Scale(program, count, by):
                return self._scale(program, count, by, now)
            case ev.Roll(slots, by):
                return self._roll(slots, by)
            case ev.Shutdown(reason, code, at_once):
                return self._end(reason, code, now, at_once or self.stopping)
            case _:
                return []

    def _scale(self, name: str, count: int, by: str, now: float) -> list[Action]:
        before = self._programs[name].replicas
        self._own.scale[name] = count
        self._dirty.add("")
        added = self._resize(name, count)
        actions: list[Action] = [Note("scale", f"scaled from {before} to {count} by {by}", name)]
        for slot in added:
            actions += self._step(slot, lambda step: replica.start(step, by), now)
        for index in range(before, count, -1):
            slot = f"{name}.{index}"
            if slot in self.replicas:
                actions += self._step(
                    slot, lambda step: replica.stop(step, f"stopped by {by}, who scaled {name} to {count}"), now
                )
        self._wake[name] = None
        return actions

    def _resize(self, name: str, count: int) -> list[str]:
        program = self._programs[name] = replace(self._programs[name], replicas=count)
        return [self._add(program, i) for i in range(1, count + 1) if f"{name}.{i}" not in self.replicas]

    def _remove_surplus(self, name: str) -> list[Action]:
        """Slots beyond the number wanted go when they are at rest."""
        if name not in self._programs:
            return []
        count = self._programs[name].replicas
        gone = [
            r.name
            for r in self.replicas.values()
            if r.program == name and r.index > count and r.state in replica.AT_REST and r.tree_empty
        ]
        for slot in gone:
            del self.replicas[slot]
            self._scheduled.pop(slot, None)
            self._dirty.discard(slot)
            self._forgotten.add(slot)
        if name not in self._config.programs and not any(r.program == name for r in self.replicas.values()):
            del self._programs[name]
        return [Forget(slot) for slot in gone]

    # --- changing things while they run -----------------------------------------------------------------------------
    def _roll(self, slots: Iterable[str], by: str) -> list[Action]:
        """Replace these one by one; what does not run is left to start by itself."""
        asked = [slot for slot in slots if slot in self.replicas]
        for slot in asked:
            known = self.replicas[slot]
            serves = self.spec(slot).internal and len(asked) > 1  # what serves a program goes on meanwhile
            if known.state in (State.STARTING, State.RUNNING) and not serves:
                plan = self._own.rolling.setdefault(known.program, Rolling([], by))
                if slot not in plan.left:
                    plan.left.append(slot)
        self._dirty.add("")
        return []

    def _go_on_rolling(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for name, plan in list(self._own.rolling.items()):
            state = rolling.verdict(plan, self.replicas.get(plan.current or ""))
            if self.stopping or state == "failed":
                del self._own.rolling[name]
                self._dirty.add("")
                if state == "failed":
                    reason = f"{plan.current} did not become ready; {len(plan.left)} replicas were left as they were"
                    actions.append(Note("reload-failed", reason, name))
            elif state == "next":
                actions += self._roll_next(name, plan, now)
        return actions

    def _roll_next(self, name: str, plan: Rolling, now: float) -> list[Action]:
        self._dirty.add("")
        if not plan.left:
            del self._own.rolling[name]
            return [Note("reloaded", f"all replicas were replaced one by one, as {plan.by} asked", name)]
        plan.current = plan.left.pop(0)
        known = self.replicas.get(plan.current)
        plan.generation = known.generation if known is not None else 0
        if known is None or known.state not in (State.STARTING, State.RUNNING):
            return []
        return self._step(
            plan.current, lambda step: replica.restart_now(step, f"reloaded by {plan.by}", Result.RELOAD), now
        )

    def is_rolling(self, programs: Iterable[str]) -> bool:
        """Whether a rolling restart of one of these programs is under way."""
        return any(name in self._own.rolling for name in programs)

    def apply(self, config: Config, now: float) -> tuple[Difference, list[Action]]:
        """Go over to another configuration: only what differs is touched."""
        found = difference(self._config, config)
        running = self._programs
        self._configure(config)
        for name, program in running.items():  # what is removed stays known until its replicas are gone
            self._programs.setdefault(name, replace(program, replicas=0, depends_on={}))
        for name in (*found.added, *found.changed):
            scaled = self._own.scale.get(name)
            if any(change.option == "replicas" for change in found.changed.get(name, ())):
                self._own.scale.pop(name, None)
            elif scaled is not None:
                self._programs[name] = replace(self._programs[name], replicas=scaled)
        self._plan = Plan(self._programs, self._of)
        self._dirty.add("")
        return found, self._carry_over(found, now)

    def _carry_over(self, found: Difference, now: float) -> list[Action]:
        actions: list[Action] = []
        restarted, why = found.restarted(), "restarted: its configuration changed"
        for name in found.removed:
            actions += self._stop_beyond(name, 0, "stopped: it is not in the configuration any more", now)
        for name in (*found.added, *found.changed):
            program = self._programs[name]
            fresh = self._resize(name, program.replicas)
            actions += self._stop_beyond(name, program.replicas, "stopped: the configuration wants fewer", now)
            wanted = program.autostart if name in found.added else any(r.wanted for r in self._of(name))
            if wanted:
                for slot in fresh:
                    actions += self._step(slot, lambda step: replica.start(step, "hasup reload"), now)
            for known in self._of(name) if name in restarted else ():
                if known.wanted and known.name not in fresh:
                    actions += self._step(known.name, lambda step: replica.restart_now(step, why, Result.RELOAD), now)
            self._wake[name] = None
        self._wake.update(dict.fromkeys(found.removed))
        return actions

    def _stop_beyond(self, name: str, count: int, why: str, now: float) -> list[Action]:
        beyond = [r.name for r in self.replicas.values() if r.program == name and r.index > count]
        return [action for slot in beyond for action in self._step(slot, lambda step: replica.stop(step, why), now)]

    def _end(self, reason: str, code: int, now: float, at_once: bool = False) -> list[Action]:
        """Stop everything, those first that others do not need."""
        first = not self.stopping
        if first:
            self._own.ending, self._own.exit_code = reason, code
        actions: list[Action] = [Note("shutdown", reason if first else f"{reason}: everything is killed")]
        self._dirty.add("")
        if at_once and not self._own.killing:
            self._own.killing = True
            for slot in list(self.replicas):
                actions += self._step(slot, lambda step: replica.kill(step, reason), now)
        for slot, known in self.replicas.items():
            if known.wanted:
                self.replicas[slot] = replace(known, wanted=False, then_start=False)
                self._dirty.add(slot)
        return actions

    def _go_on_ending(self, now: float) -> list[Action]:
        if not self.stopping or self.finished is not None:
            return []
        actions: list[Action] = []
        before: list[str] = []
        while (turn := self._whose_turn_to_stop()) != before:
            for slot in turn:
                actions += self._step(slot, self._stop_with_all, now)
            before = turn
        self._wake.clear()
        if all(self._at_rest(name) for name in self._programs):
            self.finished = self._own.exit_code
            actions.append(Exit(self._own.exit_code))
        return actions

    def _stop_with_all(self, step: Step) -> None:
        replica.stop(step, f"stopped with hasup: {self._own.ending}")

    def _whose_turn_to_stop(self) -> list[str]:
        """Replicas that nobody needs any more and that have not been asked to end yet."""
        free = {name for name, program in self._programs.items() if self._plan.may_stop(program, self._at_rest)}
        return [r.name for r in self.replicas.values() if r.program in free and r.state in _TO_BE_STOPPED]


def _earliest(known: Replica | None) -> float | None:
    if known is None:
        return None
    if known.heartbeat_due is None or (known.deadline is not None and known.deadline < known.heartbeat_due):
        return known.deadline
    return known.heartbeat_due


def _afresh(step: Step) -> None:
    """After a restart of the core: what could not be heard meanwhile is not held against the replica."""
    known = step.replica
    timeout = replica.heartbeat_timeout(step)
    if known.heartbeat_due is not None and timeout is not None:
        step.set(heartbeat_due=step.now + timeout)
    if known.state is State.STARTING and known.deadline is not None and replica.waits_for_sign(step.program):
        step.set(deadline=max(known.deadline, step.now + min(5.0, step.program.ready.timeout)))
    if known.probe_failures:
        step.set(probe_failures=0)


def _give_up(step: Step, why: str) -> None:
    """Its group gave up."""
    step.set(wanted=False, then_start=False)
    if step.replica.state in (State.STARTING, State.RUNNING):
        replica.ask_to_end(step, why)
    elif step.replica.state in (State.BACKOFF, State.WAITING):
        replica.kill(step, why)


def _slow_down(step: Step) -> None:
    """Its group is over its limit: on at max_delay."""
    if step.replica.state is State.BACKOFF:
        step.set(deadline=max(step.replica.deadline or 0.0, step.now + step.program.restart.max_delay))
