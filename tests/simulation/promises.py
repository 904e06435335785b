"""What must hold after each decision, in terms of the world and of the state alone: the code is not asked."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from hasup.core.transitions import MOVES
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Program, Restart
from hasup.model.state import Replica, Result, State
from tests.simulation.guardian import check, hook_lives
from tests.simulation.rolls import Rolls

if TYPE_CHECKING:
    from tests.simulation.world import World

AT_REST = {State.STOPPED, State.COMPLETED, State.FAILED}
BEFORE_REST = {State.STARTING, State.RUNNING}
_NO_FAILURE = {Result.SUCCESS, Result.OPERATOR, Result.RELOAD}
_UNTOLD: dict[str, None] = {"heartbeat_due": None, "extend_until": None}  # signs of life are awaited afresh
LATE_S = 60.0
_DECODER = msgspec.json.Decoder(Replica)


def _idles(r: Replica) -> bool:
    """Whether it waits for its schedule."""
    return r.state is State.WAITING and r.run_due is not None and r.deadline == r.run_due and not r.admitted


class Promises:
    """Looks at a world after each event, each frame and each restart of the core."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._shadow: dict[str, Replica] = {}  # what the guardian's blobs say
        self._unsent: dict[str, Replica | None] = {}
        self._spawned: deque[float] = deque()
        self._begun: dict[str, int] = {}  # the last start of each slot
        self._blind_until = 0.0
        self._restarts: dict[str, list[tuple[float, Restart]]] = {}
        self._counted: dict[str, list[tuple[float, Restart]]] = {}  # the same, in a frame that is not sent yet
        self._must_spawn: dict[str, int] = {}  # asked to start: a later generation than this one must come
        self._asked: dict[str, int | None] = {}  # the same, in a frame that is not sent yet; None: not any more
        self._ending = False
        self._scaled: dict[str, int] = {}
        self._rolls = Rolls(world)

    # --- after each decision ----------------------------------------------------------------------------------------
    def after(
        self,
        event: ev.Event,
        before: dict[str, Replica],
        actions: list[act.Action],
        blobs: dict[str, str | None],
    ) -> None:
        """The core has decided; nothing has been sent yet."""
        core = self.world.core
        self._counted, self._asked = {}, {}
        changed = [r for name, r in core.replicas.items() if before.get(name) is not r]
        self._changes(before, actions)
        self._blobs(changed, blobs)
        for known in core.replicas.values():
            self._scheduled(known, event)
        for known in changed:
            self._state(known)
            old = before.get(known.name)
            if old is not None:
                self._restart(old, known, event)
                self._recovers(old, known, actions)
                self._on_time(old, known, event)
        self._obeyed(event, before, actions)
        self._within_bounds()
        self._rolls.after(before, actions)
        self._groups(before, changed, actions)
        self._order_of_stops(event, actions)
        due = core.next_deadline()
        every = [
            at for r in core.replicas.values() for at in (r.deadline, r.heartbeat_due, r.run_due) if at is not None
        ]
        check(due == min(every, default=None), "P3: the next deadline is the earliest of all")

    def _changes(self, before: dict[str, Replica], actions: Iterable[act.Action]) -> None:
        """P12: a reason for each change; changes that follow one another lead to the state that there is."""
        state = {name: r.state for name, r in before.items()}
        for action in actions:
            if isinstance(action, act.Note):
                check(action.reason.strip(), "P12: every note has a reason")
            if not isinstance(action, act.Changed):
                continue
            check(action.reason.strip(), "P12: every change has a reason")
            old = state.get(action.slot, State.STOPPED)
            if action.event == "state":
                check(action.old is old, f"P12: {action.slot} was {old}, not {action.old}")
                check(action.new in MOVES[old], f"P12: {old} does not lead to {action.new}")
                state[action.slot] = action.new
            else:
                check(action.new is old, f"P12: {action.slot} is {old}, not {action.new}")
        for name, known in self.world.core.replicas.items():
            check(known.state is state.get(name, State.STOPPED), f"P12: {name} changed, and nobody was told")

    def _blobs(self, changed: Iterable[Replica], blobs: dict[str, str | None]) -> None:
        """P5: what the guardian is given is the whole state, but for signs of life."""
        core = self.world.core
        self._unsent = {slot: None if blob is None else _DECODER.decode(blob) for slot, blob in blobs.items() if slot}
        saved = {slot for slot in {**self._shadow, **self._unsent} if self._unsent.get(slot, 0) is not None}
        check(saved == core.replicas.keys(), "P5: there is a blob for each replica")
        for known in changed:
            kept = self._unsent.get(known.name) or self._shadow[known.name]
            check(
                replace(kept, **_UNTOLD) == replace(known, **_UNTOLD),
                f"P5: the blob of {known.name} is not what it is",
            )

    def _state(self, r: Replica) -> None:
        """P3: a wanted replica lives, is being spawned, has a deadline or waits for something that holds."""
        name = r.name
        check(r.reason.strip(), "P12: every state has a reason")
        check(r.pid is None or not r.tree_empty, f"P1: {name} lives, yet its tree is called empty")
        if r.state in AT_REST:
            check(
                r.pid is None and not r.spawning and r.tree_empty, f"P2: {name} is {r.state}, but not all of it ended"
            )
            check(r.deadline is None and not r.then_start, f"P3: {name} is {r.state}, with something to come")
        elif r.state is State.STARTING:
            comes = r.spawning or r.pid is not None or r.hook is not None
            check(r.deadline is not None and comes, f"P3: {name} starts, with no timer")
        elif r.state is State.RUNNING:
            check(r.pid is not None, f"P3: {name} runs, without a process")
            if self.world.core.spec(name).heartbeat is not None and not self.world.core.stopping:
                check(r.heartbeat_due is not None, f"P6: {name} has a heartbeat that nobody awaits")
        elif r.state is State.WAITING:
            check(r.pid is None and r.tree_empty, f"P3: {name} waits, but lives")
            if r.deadline is not None:
                check(r.admitted or r.deadline == r.run_due, f"P3: {name} waits for no time that is known")
            elif not self.world.core.stopping:
                check(self._unmet(self._target(r)) or self._ending_with(r), f"P3: {name} waits for nothing")
        else:
            check(r.deadline is not None or r.clearing or r.hook, f"P3: {name} is {r.state}, with no timer")
        if r.hook is not None:
            check(r.state in (State.STARTING, State.STOPPING), f"hooks: {name} is {r.state} while {r.hook} runs")
            check(r.pid is None and not r.spawning and r.tree_empty, f"hooks: {name} lives while {r.hook} runs")
            check(not r.clearing, f"hooks: {name} is cleared while {r.hook} runs")
        check(r.ready <= (r.state is State.RUNNING), f"{name} is {r.state} and ready")
        check(not r.admitted or r.deadline is not None, f"{name} has had its turn, and does not take it")

    def _target(self, r: Replica) -> Program:
        """As what it would be started, and is on its way out when it is not configured."""
        configured = r.program in self.world.config.programs
        return self.world.core.configured(r.program) if configured else self.world.core.spec(r.name)

    def _unmet(self, program: Program) -> list[str]:
        return [name for name, needed in program.depends_on.items() if not self._met(name, needed)]

    def _ending_with(self, r: Replica) -> list[str]:
        """Those of its group that are restarted together, and have not ended."""
        group = self.world.config.groups.get("g")
        if group is None or group.strategy == "one-for-one" or r.program not in group.programs:
            return []
        known = self.world.core.replicas.values()
        return [o.name for o in known if o.along == "g" and o.state is State.STOPPING and o.name != r.name]

    def _met(self, name: str, needed: Dependency) -> bool:
        core = self.world.core
        known = [r for r in core.replicas.values() if r.program == name and r.index <= core.spec(r.name).replicas]
        done = sum(r.state is State.COMPLETED for r in known)
        if needed.condition == "completed":
            return bool(known) and done == len(known)
        if needed.condition == "started":
            return done > 0 or any(r.pid is not None for r in known)
        ready = done + sum(r.ready for r in known)
        return ready >= max(1, min(self.world.config.programs[name].need, len(known)))

    # --- P4 ---------------------------------------------------------------------------------------------------------
    def _restart(self, old: Replica, new: Replica, event: ev.Event) -> None:
        """A failure was answered by a restart: within the limit, after a delay within bounds."""
        if old.state in AT_REST and new.state not in AT_REST:
            self._counted[new.name] = []  # an operator's start is a new beginning
        failed = new.state is State.BACKOFF and old.state is not State.BACKOFF and new.failures > 0
        if not failed or new.restarts == old.restarts or old.then_start:
            return
        now, rule = self.world.now, self.world.core.spec(new.name).restart
        known = self._restarts.get(new.name, ())
        recent = [(at, under) for at, under in known if at > now - rule.window and under == rule]
        self._counted[new.name] = [*recent, (now, rule)]
        if rule.limit and rule.on_limit != "retry":
            check(len(recent) < rule.limit, f"P4: {new.name} is restarted too often")
        lived = now - old.started
        check(
            new.failures == old.failures + 1 or (new.failures == 1 and lived >= rule.reset_after),
            "P4: a short life resets",
        )
        if new.deadline is None or new.admitted:  # held back by restart_rate: later than its delay says
            return
        least = min(rule.max_delay, rule.delay * rule.factor ** (new.failures - 1)) if new.failures < 300 else 0.0
        delay = new.deadline - now
        check(delay >= least - 1e-9, f"P4: {new.name} is restarted after {delay} s, {least} s is the least")
        check(delay <= rule.max_delay * (1 + rule.jitter) + 1e-9, f"P4: {new.name} waits for {delay} s")

    def sent(self, actions: Iterable[act.Action]) -> None:
        """A frame was carried out."""
        for action in actions:
            if isinstance(action, act.Spawn | act.RunHook) and self._begun.get(action.slot, 0) < action.generation:
                self._begun[action.slot] = action.generation  # a start begins with its first hook
                self._spawned.append(self.world.now)
            if isinstance(action, act.Spawn):
                self._gated(action)
                if self._must_spawn.get(action.slot, action.generation) < action.generation:
                    del self._must_spawn[action.slot]
        rate, now = self.world.config.supervisor.restart_rate, self.world.now
        while self._spawned and self._spawned[0] <= now - 1.0:
            self._spawned.popleft()
        if now > self._blind_until:
            check(  # the rate, and as large a burst
                len(self._spawned) <= 2 * rate,
                f"P4: {len(self._spawned)} starts in a second, the rate is {rate}",
            )

    def _gated(self, spawn: act.Spawn) -> None:
        """A process comes only after the hooks that come before it."""
        if self.world.program(spawn.slot).hooks.before_start:
            passed = self.world.guardian.slots[spawn.slot].passed
            check(passed == ("before_start", spawn.generation), f"hooks: {spawn.slot} starts without its hook")

    def _recovers(self, old: Replica, new: Replica, actions: Iterable[act.Action]) -> None:
        """After a failure comes ``before_restart``, and then ``before_start``."""
        program = self.world.core.spec(new.name)
        hooks = [a.hook for a in actions if isinstance(a, act.RunHook) and a.slot == new.name and "before" in a.hook]
        told = old.state in (State.STOPPED, State.BACKOFF, State.FAILED) and not old.admitted  # else it may be either
        if new.generation <= old.generation or not told:  # an older one: another replica under the same name
            return
        failed = old.state is not State.STOPPED and old.last is not None and old.last.result not in _NO_FAILURE
        first = "before_restart" if failed and program.hooks.before_restart else "before_start"
        if getattr(program.hooks, first):
            check(hooks == [first] and new.hook == first, f"hooks: {new.name} starts with {hooks}, not {first}")

    def _on_time(self, old: Replica, new: Replica, event: ev.Event) -> None:
        """What waits for its schedule runs at its time, or when somebody wants it to."""
        if _idles(old) and new.generation > old.generation:
            on_time = old.run_due is not None and 0 <= self.world.now - old.run_due <= LATE_S
            wanted = isinstance(event, ev.Restart) or (isinstance(event, ev.Start) and event.at_once)
            check(on_time or wanted or type(event).__name__ == "Reload", f"schedules: {new.name} is started by {event}")

    def _scheduled(self, r: Replica, event: ev.Event) -> None:
        """The next run is one that the schedule knows of, and is to come."""
        schedule, world = self.world.core.spec(r.name).schedule, self.world
        if r.index > world.core.spec(r.name).replicas:
            return
        check((r.run_at is not None) <= (schedule is not None), f"schedules: {r.name} has none, and a run to come")
        check((r.run_at is None) == (r.run_due is None), f"schedules: {r.name} has half a time")
        check(r.run_at is None or r.state not in AT_REST, f"schedules: {r.name} is {r.state}, with a run to come")
        if r.run_at is None or r.run_due is None or schedule is None:
            return
        check(r.run_at % float(schedule) == 0, f"schedules: {r.name} runs at {r.run_at}, not every {schedule} s")
        check(abs(r.run_due + world.offset - r.run_at) < 1e-3, f"schedules: {r.name} goes by a clock that was set")
        if isinstance(event, ev.Due):
            check(r.run_due > world.now, f"schedules: the time of {r.name} is over, and nothing came of it")
        most = float(schedule) + 3 * 3600 + LATE_S
        check(r.run_due <= world.now + most, f"schedules: {r.name} runs only in {r.run_due - world.now} s")

    def reconfigured(self) -> None:
        """Restarts under other rules do not count."""
        self._restarts.clear()

    def blind(self) -> None:
        """Time went by in which nobody could act: what was held back may come at once."""
        self._spawned.clear()
        self._blind_until = self.world.now + 1.0

    # --- operators --------------------------------------------------------------------------------------------------
    def _obeyed(self, event: ev.Event, before: dict[str, Replica], actions: list[act.Action]) -> None:
        core = self.world.core
        match event:
            case ev.Stop(slots):
                for slot in slots:
                    known = core.replicas.get(slot)
                    check(known is None or not known.wanted, f"a stop of {slot} is obeyed")
                    if known is not None and known.state is State.STOPPING and before[slot].wanted:
                        check(known.reason.startswith("stop"), f"P12: {slot} is stopped: {known.reason}")
                    self._asked[slot] = None
            case ev.Start(slots) if not core.stopping:
                for slot in self._with_a_place(slots):
                    check(core.replicas[slot].wanted, f"a start of {slot} is obeyed")
                    waits = core.spec(slot).schedule is not None and not event.at_once
                    if slot in before and not before[slot].wanted and not waits:
                        self._asked[slot] = before[slot].generation
            case ev.Restart(slots) if not core.stopping:
                for slot in self._with_a_place(slots):
                    check(core.replicas[slot].wanted, f"a restart of {slot} is obeyed")
                    if slot in before:
                        self._asked[slot] = before[slot].generation
            case ev.Sampled(slot) if slot in before:
                self._limited(event, before[slot])
            case ev.LoadMeasured(program):
                self._by_load(program, before, actions)
            case ev.Scale(program, int(count)) if not core.stopping:
                for index in range(1, 4):
                    known = core.replicas.get(f"{program}.{index}")
                    if index > count:
                        stands_in = known is not None and core.stands_in(known.name)
                        check(known is None or not known.wanted or stands_in, f"{program} is scaled down")
                        self._asked[f"{program}.{index}"] = None
                    else:
                        check(known is not None, f"{program} is scaled up")

    def _by_load(self, name: str, before: dict[str, Replica], actions: list[act.Action]) -> None:
        """A load changes the number within its bounds, with a reason, and only of what is steady."""
        core = self.world.core
        notes = [action for action in actions if isinstance(action, act.Note) and action.event == "scale"]
        if not notes:
            check(not actions or actions[0].event == "scale-limited", f"{name} is changed by its load")
            return
        scaled = core.autoscale(name)
        check(scaled is not None and not scaled.held, f"{name} is held, and scaled")
        rolls = any(core.stands_in(r.name) for r in core.replicas.values() if r.program == name)
        check(not core.stopping and not rolls, f"{name} is scaled while it is changed otherwise")
        check(any(r.wanted and r.ready for r in before.values() if r.program == name), f"{name} is not there to judge")
        for slot in before:
            if slot not in self._with_a_place([slot]):
                self._asked[slot] = None

    def _within_bounds(self) -> None:
        """Nobody but an operator goes beyond the bounds of what is scaled by load."""
        core = self.world.core
        for name, program in self.world.config.programs.items():
            scaled, bounds = core.autoscale(name), program.autoscale
            if bounds is not None and scaled is not None and not scaled.held and not core.is_rolling([name]):
                check(bounds.min <= scaled.replicas <= bounds.max, f"{name} has {scaled.replicas} replicas")

    def _numbers(self) -> dict[str, int]:
        """So many replicas those have that are scaled by load."""
        found = {name: self.world.core.autoscale(name) for name in self.world.config.programs}
        return {name: scaled.replicas for name, scaled in found.items() if scaled is not None}

    def _with_a_place(self, slots: Iterable[str]) -> list[str]:
        """Those that are not scaled away."""
        core = self.world.core
        return [
            slot for slot in slots if slot in core.replicas and core.replicas[slot].index <= core.spec(slot).replicas
        ]

    def _limited(self, event: ev.Sampled, before: Replica) -> None:
        """A replica over a limit that lasts for no time is ended, unless another one is just being replaced."""
        core = self.world.core
        table = core.spec(event.slot).limits
        limit, value = (table.memory, event.memory_bytes) if table.memory else (table.threads, event.threads)
        if limit is None or limit.for_ or value <= limit.above or before.state not in BEFORE_REST:
            return
        known = core.replicas.get(event.slot)
        others = [r for r in core.replicas.values() if r.program == before.program and r.name != event.slot]
        spared = limit.action == "restart" and any(r.wanted and not r.ready and r.state not in AT_REST for r in others)
        if limit.action in ("restart", "stop") and not spared:
            check(known is None or known.state not in BEFORE_REST, f"{event.slot} is over its limit, and goes on")

    def _groups(self, before: dict[str, Replica], changed: Iterable[Replica], actions: list[act.Action]) -> None:
        """A failure takes along those of its group that run, and none starts before all of these have ended."""
        core = self.world.core
        group = self.world.config.groups.get("g")
        if group is None or core.stopping or group.strategy == "one-for-one":
            return
        for known in changed:
            old = before.get(known.name)
            if old is not None and known.generation > old.generation:
                still = [name for name in self._ending_with(known) if before.get(name) == core.replicas[name]]
                check(not still, f"{known.name} starts, and {still} of its group have not ended")
            if old is None or known.state is not State.BACKOFF or known.restarts == old.restarts or old.then_start:
                continue
            if known.program not in group.programs or core.stands_in(known.name):
                continue
            later = group.programs[group.programs.index(known.program) + 1 :]
            for other in before.values():
                if other.program not in group.programs:
                    continue
                along = other.program in later or (group.strategy == "one-for-all" and other.program != known.program)
                if along and other.state in BEFORE_REST and other.index <= core.spec(other.name).replicas:
                    now = core.replicas.get(other.name)
                    check(now is None or now.state not in BEFORE_REST, f"{other.name} is restarted with {known.name}")

    def _order_of_stops(self, event: ev.Event, actions: Iterable[act.Action]) -> None:
        """While hasup ends, those that others need are stopped after these."""
        core = self.world.core
        if isinstance(event, ev.Shutdown) and (event.now or self._ending):
            return  # everything is killed at once
        for action in actions:
            if isinstance(action, act.Changed) and action.old in BEFORE_REST and "stopped with hasup" in action.reason:
                name = action.slot.partition(".")[0]
                for other in core.replicas.values():
                    needs = name in self._target(other).depends_on
                    check(not needs or other.state in AT_REST, f"{name} is stopped before {other.name}")

    # --- frames and cores -------------------------------------------------------------------------------------------
    def arrived(self, blobs: Iterable[str]) -> None:
        """The guardian has these blobs now."""
        self._ending = self.world.core.stopping
        if "" in blobs:
            self._scaled = self._numbers()
        for slot in blobs:
            if slot in self._counted:
                self._restarts[slot] = self._counted[slot]
            if slot in self._asked:
                self._must_spawn.pop(slot, None)
                if (generation := self._asked[slot]) is not None:
                    self._must_spawn[slot] = generation
            kept = self._unsent.get(slot)
            if kept is not None:
                self._shadow[slot] = kept
            else:
                self._shadow.pop(slot, None)
                self._restarts.pop(slot, None)
                self._must_spawn.pop(slot, None)

    def restored(self) -> None:
        """P5: a new core knows what the one before had sent."""
        self.blind()
        self._rolls.restored()
        for name, count in self._numbers().items():
            check(
                self._scaled.get(name, count) == count, f"P5: {name} had {self._scaled.get(name)} replicas, not {count}"
            )
        core = self.world.core
        check(core.stopping == (self.world.expected is not None), "P5: whether hasup is ending")
        for name, kept in self._shadow.items():
            known = core.replicas.get(name)
            configured = kept.program in self.world.config.programs
            check(known is not None or not configured, f"P5: {name} is forgotten")
            if known is not None:
                same = replace(known, **_UNTOLD, deadline=kept.deadline, probe_failures=kept.probe_failures)
                check(same == replace(kept, **_UNTOLD), f"P5: {name} is not what it was")
                check((known.deadline is None) == (kept.deadline is None), f"P5: {name} lost its timer")
        self._shadow = dict(core.replicas)

    # --- the whole --------------------------------------------------------------------------------------------------
    def look(self) -> None:
        """What the core believes is so, or news of it are under way."""
        world = self.world
        if world.down or world.ended is not None:
            return
        coming = {getattr(event, "slot", "") for event in world.outbox}
        for name, r in world.core.replicas.items():
            self._state(r)
            child = world.guardian.slots.get(name)
            if name in coming:
                continue
            alive = child is not None and child.alive and child.generation == r.generation
            check((r.pid is not None or r.spawning) == alive, f"P3: what {name} is, and what is known of it")
            runs = (child.hook.hook, child.hook.generation) if child is not None and hook_lives(child) else None
            check(
                runs == (None if r.hook is None else (r.hook, r.generation)),
                f"hooks: {name} waits for {r.hook}, but {runs} runs",
            )
            left = child is not None and (child.alive or child.left)
            check(not r.tree_empty or not left, f"P1: {name} is not empty, but called so")
            if r.clearing:
                check(child is not None and child.clear_until is not None, f"P3: nobody clears {name}")
            if r.state in AT_REST:
                check(not left, f"P2: {name} is {r.state}, but something of it lives")

    def unwell(self) -> str | None:
        """A replica that is not what it should be once all is well, in words; None when there is none."""
        core = self.world.core
        for name, r in core.replicas.items():
            beyond = r.index > core.spec(name).replicas and not core.stands_in(name)
            if beyond:
                return f"{name} is beyond the number of replicas"
            if not r.wanted and r.state not in AT_REST:
                return f"{name} is not wanted, but {r.state}: {r.reason}"
            if r.wanted and not (r.ready or r.state in AT_REST or self._excused(r)):
                return f"{name} is {r.state}: {r.reason}"
            gave_up = r.last is not None and r.last.result is Result.LIMIT
            if self._must_spawn.get(name) == r.generation and not (self._excused(r) or gave_up):
                return f"{name} was asked to start, and did not: {r.state}, {r.reason}"
        held = {r.program for r in core.replicas.values() if self._excused(r)}
        rolling = [name for name in self.world.config.programs if core.is_rolling([name]) and name not in held]
        standing = [r.name for r in core.replicas.values() if core.stands_in(r.name) and r.program not in held]
        if rolling or standing:
            return f"the reload of {rolling} does not end, {standing} stand in"
        return None

    def _excused(self, r: Replica) -> bool:
        """Whether it waits for something that is not to come: a program that was stopped, scaled away or failed."""
        core = self.world.core
        if r.state is not State.WAITING:
            return False
        if _idles(r):
            return True
        for name in self._unmet(self._target(r)):
            others = [o for o in core.replicas.values() if o.program == name]
            if all(o.state in AT_REST or o.ready or self._excused(o) for o in others):
                return True
        return False
