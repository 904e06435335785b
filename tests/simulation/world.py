"""A simulated world for the decision core: a guardian, children and operators that are data, under a clock that jumps.

Everything is drawn from one seed, so that a failure is replayed by its number.
"""

import heapq
import random
from collections.abc import Callable

from hasup.core import Supervisor
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Config, Dependency, Group, Heartbeat, Program, Ready, Restart, Stop, SupervisorOptions
from hasup.model.state import State

AT_REST = {State.STOPPED, State.COMPLETED, State.FAILED}


class Broken(AssertionError):
    """A promise was broken."""


def check(holds: object, promise: str) -> None:
    if not holds:
        raise Broken(promise)


class Child:
    """What the guardian knows of a slot."""

    def __init__(self) -> None:
        self.generation = 0
        self.alive = False
        self.left = False  # descendants that outlived it
        self.exit: ev.Exited | None = None
        self.failed: ev.SpawnFailed | None = None
        self.obeys = True


def random_config(chance: random.Random) -> Config:
    """A few programs with every policy."""
    programs = {}
    names = ["a", "b", "c"][: chance.randint(1, 3)]
    for name in names:
        earlier = [other for other in names if other < name]
        limit = chance.choice([0, 0, 2, 4])
        programs[name] = Program(
            name=name,
            command=("x",),
            replicas=chance.randint(1, 2),
            kind="task" if chance.random() < 0.15 else "service",
            essential=chance.random() < 0.05,
            depends_on={
                other: Dependency(condition=chance.choice(["started", "ready"]), restart=chance.random() < 0.2)
                for other in earlier
                if chance.random() < 0.3
            },
            restart=Restart(
                policy=chance.choice([None, None, "on-failure", "never"]),
                delay=chance.choice([0.0, 0.1, 1.0]),
                max_delay=8.0,
                reset_after=20.0,
                limit=limit,
                window=60.0,
                on_limit=chance.choice(["retry", "fail", "fail", "shutdown"]) if limit else "retry",
            ),
            ready=Ready(notify=chance.random() < 0.5, after=chance.choice([0.0, 0.5]), timeout=5.0),
            heartbeat=Heartbeat(timeout=2.0) if chance.random() < 0.4 else None,
            stop=Stop(timeout=chance.choice([0.0, 1.0])),
        )
    groups = {}
    if len(names) > 1 and chance.random() < 0.3:
        strategy = chance.choice(["one-for-all", "rest-for-one"])
        groups["g"] = Group(name="g", programs=tuple(names), strategy=strategy)
    own = SupervisorOptions(name="s", state_dir="/s", restart_rate=chance.choice([2, 1000]))
    return Config(file="/hasup.toml", supervisor=own, programs=programs, groups=groups)


class World:
    """One history."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.config = random_config(self.chance)
        self.now = 0.0
        self.core = Supervisor(self.config, seed=seed)
        self.children: dict[str, Child] = {}
        self.blobs: dict[str, str] = {}
        self.ended: int | None = None
        self.ending = False
        self.healthy = False
        self.events = 0
        self.restarts: dict[str, list[float]] = {}
        self._seed = seed
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # --- running ----------------------------------------------------------------------------------------------------
    def run(self, steps: int) -> None:
        """Operators and fate do what they like; then all is well; then everything is stopped."""
        self.tell(ev.Start(tuple(self.core.replicas)))
        for _ in range(steps):
            if self.ended is not None:
                break
            self.happen()
        if self.ended is None and not self.ending:
            self.healthy = True
            for child in self.children.values():
                child.obeys = True
            self.advance(300.0)
            self.all_is_well()
        if self.ended is None:
            self.ending = True
            self.tell(ev.Shutdown("the end", exit_code=7))
            self.advance(120.0)
        check(self.ended is not None, "P2: hasup ends when it is asked to")
        check(not any(child.alive or child.left for child in self.children.values()), "P2: nothing survives a stop")

    def happen(self) -> None:
        """One thing: time passes, or somebody does something."""
        slots = list(self.core.replicas)
        dice = self.chance.random() if slots else 0.84  # all scaled away: scale again
        slot = self.chance.choice(slots or ["a.1"])
        if dice < 0.6:
            self.advance(self.chance.choice([0.01, 0.3, 1.0, 5.0]))
        elif dice < 0.68:
            self.tell(ev.Stop((slot,)))
            known = self.core.replicas.get(slot)
            check(known is None or not known.wanted, "a stop is obeyed")
        elif dice < 0.78:
            self.tell(ev.Start((slot,)))
        elif dice < 0.83:
            self.tell(ev.Restart((slot,)))
        elif dice < 0.86:
            self.tell(ev.Scale(slot.partition(".")[0], self.chance.randint(0, 3)))
        elif dice < 0.90:
            self.die(slot, signal=9)
        elif dice < 0.92:
            self.stale(slot)
        elif dice < 0.94:
            self.tell(ev.Stalled(3.0))
        elif dice < 0.985:
            self.new_core()
        else:
            self.ending = True
            self.tell(ev.Shutdown("asked", now=self.chance.random() < 0.3))

    def advance(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds."""
        until, rounds = self.now + seconds, 0
        while self.ended is None:
            due = self.core.next_deadline()
            soonest = self._agenda[0][0] if self._agenda else None
            times = [at for at in (due, soonest) if at is not None]
            if not times or min(times) > until:
                break
            rounds = rounds + 1 if min(times) <= self.now else 0
            check(rounds < 500, "P3: a deadline that is over is dealt with")
            self.now = max(self.now, min(times))
            if soonest is not None and soonest <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                self.tell(ev.Due())
        self.now = until

    def later(self, seconds: float, deed: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._count, deed))

    def tell(self, event: ev.Event) -> None:
        """One event to the core: its frame arrives, and the promises are looked at."""
        self.events += 1
        actions = self.core.handle(event, self.now)
        for slot, blob in self.core.take_blobs().items():
            if blob is None:
                self.blobs.pop(slot, None)
            else:
                self.blobs[slot] = blob
        for action in actions:
            self.carry_out(action)
        self.look()

    def new_core(self) -> None:
        """SIGKILL: another core takes over from blobs and the guardian's facts."""
        if self.ended is not None:
            return
        before = {name: (r.state, r.wanted, r.restarts, r.history) for name, r in self.core.replicas.items()}
        self.core = Supervisor(self.config, seed=self._seed)
        self.core.restore(self.blobs, self.now)
        after = {name: (r.state, r.wanted, r.restarts, r.history) for name, r in self.core.replicas.items()}
        check(before == after, "P5: a new core knows what the one before knew")
        for slot, child in list(self.children.items()):
            for event in self.facts(slot, child):
                self.tell(event)

    def facts(self, slot: str, child: Child) -> list[ev.Event]:
        if child.alive:
            return [ev.Spawned(slot, child.generation, 1000 + child.generation)]
        told: list[ev.Event] = [event for event in (child.failed, child.exit) if event is not None]
        return told if child.left else [*told, ev.Emptied(slot, child.generation)]

    # --- the guardian -----------------------------------------------------------------------------------------------
    def carry_out(self, action: act.Action) -> None:
        match action:
            case act.Spawn(slot, generation):
                self.spawn(slot, generation)
            case act.Signal(slot, generation):
                child = self.children[slot]
                check(child.generation == generation, "no signal to an older generation")
                if child.alive and (child.obeys or self.healthy):
                    self.later(0.05, lambda: self.exit(slot, generation, signal=15))
            case act.ClearTree(slot, generation, grace_s):
                self.later(grace_s + 0.01, lambda: self.kill(slot, generation))
            case act.Forget(slot):
                child = self.children.pop(slot, Child())
                check(not child.alive and not child.left, "P2: only what is empty is forgotten")
            case act.Changed():
                check(action.reason.strip(), "P12: every change has a reason")
                if action.event == "state" and action.old in AT_REST:
                    self.restarts.pop(action.slot, None)  # an operator's start is a new beginning
                elif action.event == "state" and action.new is State.BACKOFF and "; restart " in action.reason:
                    self.restarts.setdefault(action.slot, []).append(self.now)
            case act.Exit(code):
                check(self.ended is None, "hasup ends once")
                check(not any(c.alive or c.left for c in self.children.values()), "P2: it ends when nothing is left")
                self.ended = code

    def spawn(self, slot: str, generation: int) -> None:
        child = self.children.setdefault(slot, Child())
        check(not child.alive, "P1: never two")
        check(not child.left, "P1: nothing of the last run is left")
        check(generation > child.generation, "generations grow")
        child.generation, child.exit, child.failed = generation, None, None
        if not self.healthy and self.chance.random() < 0.1:
            child.failed = ev.SpawnFailed(slot, generation, "no such program")
            self.later(0.001, lambda: self.tell_if_current(slot, ev.SpawnFailed(slot, generation, "no such program")))
            return
        child.alive = True
        child.obeys = self.healthy or self.chance.random() < 0.7
        self.later(0.001, lambda: self.tell_if_current(slot, ev.Spawned(slot, generation, 1000 + generation)))
        self.live(slot, generation)

    def live(self, slot: str, generation: int) -> None:
        """What becomes of a child."""
        program = self.core.spec(slot)
        if program.ready.notify and (self.healthy or self.chance.random() < 0.8):
            self.later(0.2, lambda: self.tell_if_current(slot, ev.Notified(slot, ready=True), generation))
        if program.heartbeat is not None:
            self.beat(slot, generation)
        if program.kind == "task":
            self.later(1.0, lambda: self.exit(slot, generation, code=0))
        elif not self.healthy and self.chance.random() < 0.7:
            life = self.chance.choice([0.01, 0.4, 3.0, 30.0])
            self.later(life, lambda: self.exit(slot, generation, code=self.chance.choice([0, 1, 1])))

    def beat(self, slot: str, generation: int) -> None:
        child = self.children.get(slot)
        if child is None or not child.alive or child.generation != generation or self.ended is not None:
            return
        self.tell(ev.Beat(slot))
        if self.healthy or self.chance.random() < 0.97:
            self.later(0.9, lambda: self.beat(slot, generation))

    def tell_if_current(self, slot: str, event: ev.Event, generation: int | None = None) -> None:
        child = self.children.get(slot)
        if child is not None and self.ended is None and generation in (None, child.generation):
            self.tell(event)

    def exit(self, slot: str, generation: int, *, code: int | None = None, signal: int | None = None) -> None:
        child = self.children.get(slot)
        if child is None or not child.alive or child.generation != generation or self.ended is not None:
            return
        child.alive = False
        child.left = not self.healthy and self.chance.random() < 0.2
        child.exit = ev.Exited(slot, generation, exit_code=code, signal=signal, empty=not child.left)
        self.tell(child.exit)

    def die(self, slot: str, signal: int) -> None:
        child = self.children.get(slot)
        if child is not None:
            self.exit(slot, child.generation, signal=signal)

    def kill(self, slot: str, generation: int) -> None:
        child = self.children.get(slot)
        if child is None or child.generation != generation or self.ended is not None:
            return
        if child.alive:
            child.alive, child.left = False, False
            child.exit = ev.Exited(slot, generation, signal=9, empty=True)
            self.tell(child.exit)
        child = self.children.get(slot)
        if child is not None and child.generation == generation and not child.alive and self.ended is None:
            child.left = False
            self.tell(ev.Emptied(slot, generation))

    def stale(self, slot: str) -> None:
        """News of an older generation, and news told twice."""
        child = self.children.get(slot)
        if child is not None and child.generation > 1:
            self.tell(ev.Exited(slot, child.generation - 1, exit_code=1))
            self.tell(ev.Emptied(slot, child.generation - 1))

    # --- promises ---------------------------------------------------------------------------------------------------
    def look(self) -> None:
        deadlines = []
        for name, r in self.core.replicas.items():
            child = self.children.get(name, Child())
            deadlines += [at for at in (r.deadline, r.heartbeat_due) if at is not None]
            check(r.reason.strip(), "P12: every state has a reason")
            if r.state in AT_REST:
                check(not child.alive, f"P2: {name} is {r.state}, but lives")
            if r.pid is not None:
                check(child.generation == r.generation, "the pid is that of the last generation")
            if r.state is State.STARTING:
                check(r.spawning or (r.pid is not None and r.deadline is not None), f"P3: {name} starts, with no timer")
            elif r.state is State.RUNNING:
                check(r.pid is not None, f"P3: {name} runs, without a process")
                if self.core.spec(name).heartbeat is not None:
                    check(r.heartbeat_due is not None, f"P6: {name} has a heartbeat that nobody awaits")
            elif r.state in (State.ABORTING, State.STOPPING):
                check(r.deadline is not None or r.clearing, f"P3: {name} is {r.state}, with no timer")
            elif r.state is State.BACKOFF:
                check(r.deadline is not None or r.clearing, f"P3: {name} is in backoff, with no timer")
            elif r.state is State.WAITING and not self.core.stopping:
                blocked = self.core._roster.plan.blocked(self.core.spec(name))
                check(r.deadline is not None or blocked is not None, f"P3: {name} waits for nothing")
            self.look_at_limit(name)
        due = self.core.next_deadline()
        check(due == min(deadlines, default=None), "P3: the next deadline is the earliest of all")

    def look_at_limit(self, name: str) -> None:
        rule = self.core.spec(name).restart
        if rule.limit and rule.on_limit != "retry":
            recent = [at for at in self.restarts.get(name, ()) if at > self.now - rule.window]
            check(len(recent) <= rule.limit, f"P4: {name} was restarted too often")

    def all_is_well(self) -> None:
        if self.ended is not None or self.core.stopping:
            return
        for name, r in self.core.replicas.items():
            good = r.ready or r.state in AT_REST or (r.state is State.WAITING and r.deadline is None)
            check(good or not r.wanted, f"P3: {name} does not come back: {r.state}, {r.reason}")
