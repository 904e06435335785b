"""One simulated history of the decision core: guardian, children and operators are data, and the clock jumps.

Everything is drawn from one :class:`random.Random`, so that a history is replayed by its seed. The core may be killed
at each of its frames; the frame is then lost, or arrived, or arrived in part, as a long one does.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from hasup.core import Supervisor
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Limits, Program
from hasup.model.state import Replica, State
from tests.simulation.configs import changed_config, random_config
from tests.simulation.guardian import Broken, Guardian, Hook, Life, check
from tests.simulation.promises import Promises

STEPS = 16
TICK_S = 0.7  # signs of life, probes and samples
CORE_DIES = 0.006  # at each frame
MOST_CORES = 6
_FOR_GUARDIAN = (act.Spawn, act.RunHook, act.EndHook, act.Signal, act.RunStopCommand, act.ClearTree, act.Forget)


class Reload(ev.Event, frozen=True):
    """Not an event of the core's: it goes over to another configuration."""


class Every:
    """A calendar: schedule "7" is every seven seconds of the wall clock."""

    def following(self, schedule: str, after: float) -> float:
        return (after // float(schedule) + 1) * float(schedule)

    def shown(self, at: float) -> str:
        return f"{at:g}"


class World:
    """One history."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.config = random_config(chance)
        self.programs: dict[tuple[str, int], Program] = {}  # slot and generation -> what it was started as
        self.now = 100.0
        self.offset = 1e6  # of the wall clock
        self.guardian = Guardian(lambda: self.now, self.later, self._send, self._draw, self._draw_hook, self._born)
        self.untold: set[tuple[str, int]] = set()  # those that another configuration did not get to
        self.blobs: dict[str, str] = {}
        self.healthy = False
        self.ended: int | None = None
        self.expected: int | None = None  # the exit code that must come
        self.down = False
        self.events = 0
        self.trail: list[tuple[float, object]] = []
        self._seed = chance.randrange(2**32)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._epoch = 0  # which core
        self.outbox: deque[ev.Event] = deque()  # news under way to the core
        self._outbox_at = 0.0
        self.core = Supervisor(self.config, seed=self._seed, calendar=Every())
        self.promises = Promises(self)

    # --- running ----------------------------------------------------------------------------------------------------
    def run(self, steps: int = STEPS) -> None:
        """Operators and fate do what they like; then all is well; then everything is stopped."""
        self.tell(ev.WallClock(self.offset))
        self.tell(ev.Start(tuple(self.core.replicas), by="hasup"))
        for _ in range(steps):
            if self.ended is not None:
                break
            self._happen()
            self.promises.look()
        if self.chance.random() < 0.7:
            self._heal()
        self._end()

    def _heal(self) -> None:
        """From here on nothing fails: what is wanted comes back within bounded time."""
        self.healthy = True
        for name, slot in self.guardian.slots.items():
            if slot.life is not None:
                slot.life.heal(task=name in self.core.replicas and self.core.spec(name).kind == "task")
            if slot.hook is not None:
                slot.hook.heal()
        for _ in range(40):
            self.advance(8.0)
            if self.ended is not None or self.core.stopping or self.promises.unwell() is None:
                return
        raise Broken(f"P3: it does not come back within 320 s: {self.promises.unwell()}")

    def _end(self) -> None:
        for _ in range(5):
            if self.ended is None and not self.core.stopping:
                self.tell(ev.Shutdown("the end", exit_code=7))
            self.advance(30.0)
        check(self.ended is not None, "P2: hasup ends when it is asked to")
        check(self.guardian.empty(), "P2: nothing survives a stop")

    def advance(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds."""
        until, rounds = self.now + seconds, 0
        while self.ended is None:
            due = None if self.down else self.core.next_deadline()
            soonest = self._agenda[0][0] if self._agenda else None
            at = min((at for at in (due, soonest) if at is not None), default=None)
            if at is None or at > until:
                break
            rounds = rounds + 1 if at <= self.now else 0
            check(rounds < 400, "P3: a deadline that is over is dealt with")
            self.now = max(self.now, at)
            if soonest is not None and soonest <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                self.tell(ev.Due())
        self.now = until

    def later(self, seconds: float, deed: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        self._count += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._count, deed))

    # --- what operators and fate do ---------------------------------------------------------------------------------
    def _happen(self) -> None:
        deed = self.chance.choices(_DEEDS, _WEIGHTS)[0]
        deed(self)

    def _pass_time(self) -> None:
        self.advance(self.chance.choice([0.0005, 0.01, 0.3, 1.0, 5.0]))

    def _slots(self) -> tuple[str, ...]:
        slots = list(self.core.replicas)
        if not slots or self.chance.random() < 0.1:
            return tuple(slots)
        return (self.chance.choice(slots),)

    def _start(self) -> None:
        self.tell(ev.Start(self._slots(), at_once=self.chance.random() < 0.5))

    def _stop(self) -> None:
        self.tell(ev.Stop(self._slots()))

    def _restart(self) -> None:
        self.tell(ev.Restart(self._slots()))

    def _roll(self) -> None:
        self.tell(ev.Roll(tuple(self.core.replicas)))

    def _scale(self) -> None:
        count = self.chance.choice([0, 1, 2, 3, None])
        self.tell(ev.Scale(self.chance.choice(list(self.config.programs)), count))

    def _load(self) -> None:
        """Some seconds of a load on those that are scaled by it, which may not be measured everywhere."""
        names = [program.name for program in self.config.programs.values() if program.autoscale]
        for percent in (self.chance.choice([40.0, 60.0, 300.0]), self.chance.choice([0.0, 0.0, 40.0])) if names else ():
            for _ in range(self.chance.choice([1, 3, 5])):
                self.advance(1.0)
                for name in names:
                    slots = [slot for slot, r in self.core.replicas.items() if r.program == name]
                    measured = {slot: percent for slot in slots if self.chance.random() < 0.9}
                    self.tell(ev.LoadMeasured(name, cpu=measured))

    def _shut_down(self) -> None:
        self.tell(ev.Shutdown("asked", exit_code=self.chance.choice([0, 3]), now=self.chance.random() < 0.3))

    def _kill_child(self) -> None:
        slots = list(self.guardian.slots)
        if slots:
            name = self.chance.choice(slots)
            self.guardian.die(name, self.guardian.slots[name].generation, signal=9)

    def _kill_core(self) -> None:
        self._core_dies()

    def _tell_twice(self) -> None:
        """News of an older generation, and news told twice."""
        slots = list(self.guardian.slots)
        if not slots:
            return
        name = self.chance.choice(slots)
        generation = self.guardian.slots[name].generation - 1
        if generation > 0:
            for event in (
                ev.HookEnded(name, generation, "before_start", exit_code=0),
                ev.HookEnded(name, generation, "before_restart", exit_code=1, cause="old news"),
                ev.Exited(name, generation, exit_code=1),
                ev.Emptied(name, generation),
                ev.SpawnFailed(name, generation, "old news"),
                ev.Spawned(name, generation, 7),
            ):
                self.tell(event)
        for event in self.guardian.news(name) if not self.outbox else ():
            self.tell(event)

    def _stall(self) -> None:
        """The machine is suspended: the clock goes on, nobody does anything, then everything is due at once."""
        if self.down:
            return
        seconds = self.chance.choice([1.5, 10.0, 3600.0])
        self.now += seconds
        self._agenda = [(max(at, self.now), count, deed) for at, count, deed in self._agenda]
        heapq.heapify(self._agenda)
        self.promises.blind()
        self.tell(ev.Stalled(seconds))
        check(
            all(r.heartbeat_due is None or r.heartbeat_due > self.now for r in self.core.replicas.values()),
            "P11: after a stall heartbeats get grace",
        )

    def _set_clock(self) -> None:
        """Somebody sets the wall clock."""
        self.offset += self.chance.choice([-1e5, -7200.0, -30.0, -0.5, 0.5, 30.0, 90.0, 7200.0, 1e5])
        self.tell(ev.WallClock(self.offset))

    def _message(self) -> None:
        """A child says something through its NOTIFY_SOCKET."""
        alive = [name for name, slot in self.guardian.slots.items() if slot.phase == "running"]
        if not alive:
            return
        slot, seconds = self.chance.choice(alive), self.chance.choice([1_000_000, 60_000_000])
        kind = self.chance.randrange(7)
        messages = (
            ev.Notified(slot, status="busy"),
            ev.Notified(slot, status="slow", extend_timeout_usec=seconds),
            ev.Notified(slot, watchdog_usec=seconds),
            ev.Notified(slot, stopping=True),
            ev.Notified(slot, watchdog_trigger=True),
            ev.Notified(slot, main_pid=99),
            ev.Notified(slot, ready=True),
        )
        self.tell(messages[kind])
        if messages[kind].stopping:
            generation = self.guardian.slots[slot].generation
            self.later(0.5, lambda: self.guardian.die(slot, generation, code=0))

    # --- the core ---------------------------------------------------------------------------------------------------
    def tell(self, event: ev.Event) -> None:
        """One event to the core."""
        self._decide(event, lambda: self.core.handle(event, self.now))

    def _reload(self) -> None:
        """Another configuration; not while something is cleared that an earlier core had taken out."""
        if self.guardian.slots.keys() - self.core.replicas.keys():
            return
        config = changed_config(self.chance, self.config)
        written = list[bool]()

        def apply() -> list[act.Action]:
            self.config = config
            return self.core.apply(config, self.now)[1]

        self._decide(Reload(), apply, written)
        if written:
            self.promises.reconfigured()

    def _decide(
        self, event: ev.Event, decide: Callable[[], list[act.Action]], written: list[bool] | None = None
    ) -> None:
        """A decision and its frame, which may be the core's last; ``written`` gets an item when it arrives."""
        if self.ended is not None or self.down:
            return
        self.events += 1
        self.trail.append((self.now, event))
        before, config = dict(self.core.replicas), self.config
        actions = decide()
        self._let_drain(before)
        for action in actions:
            if isinstance(action, act.Revert):
                programs = self.config.programs | {action.program: self.core.configured(action.program)}
                self.config = replace(self.config, programs=programs)
        blobs = self.core.take_blobs()
        self.promises.after(event, before, actions, blobs)
        fate = 0.0 if self.healthy or self._epoch >= MOST_CORES else self.chance.random()
        if 1 - CORE_DIES <= fate < 1 - CORE_DIES * 0.6:
            self.config = config
            self._core_dies()
            return
        if written is not None:
            written.append(True)
        if fate < 1 - CORE_DIES * 0.3:
            self._frame(event, blobs, actions)
        else:
            self._torn_frame(event, blobs, actions)
        if fate >= 1 - CORE_DIES:
            self._core_dies()

    def _frame(self, event: ev.Event, blobs: dict[str, str | None], actions: list[act.Action]) -> None:
        """State and orders arrive together."""
        self.promises.arrived(blobs)
        for slot, blob in blobs.items():
            if blob is None:
                self.blobs.pop(slot, None)
            else:
                self.blobs[slot] = blob
        if "" in blobs and self.expected is None and self.core.stopping:
            self.expected = event.exit_code if isinstance(event, ev.Shutdown) else 1
        for action in actions:
            if isinstance(action, act.Spawn):
                self.programs[action.slot, action.generation] = self.core.spec(action.slot)
            if isinstance(action, _FOR_GUARDIAN):
                self.guardian.carry_out(action)
            elif isinstance(action, act.Exit):
                check(self.ended is None, "hasup ends once")
                self._end_unknown()
                check(self.guardian.empty(), "P2: hasup ends when nothing is left")
                check(action.code == self.expected, f"hasup ends with {action.code}, not {self.expected}")
                self.ended = action.code
        self.promises.sent(actions)

    def _torn_frame(self, event: ev.Event, blobs: dict[str, str | None], actions: list[act.Action]) -> None:
        """A long frame goes in several packets, each with the state and orders of whole slots; the last are lost."""
        orders = [action for action in actions if isinstance(action, _FOR_GUARDIAN)]
        slots = list(dict.fromkeys(["", *blobs, *(order.slot for order in orders)]))
        arrived = set(slots[: self.chance.randint(1, len(slots))])
        self.trail.append((self.now, f"only the frame's part of {sorted(arrived)} arrives"))
        if isinstance(event, Reload):  # whoever was not told yet to end runs on as it is
            lost = [slot for slot in slots if slot not in arrived and slot in self.guardian.slots]
            self.untold |= {(slot, self.guardian.slots[slot].generation) for slot in lost}
        ending = [action for action in actions if isinstance(action, act.Exit)]
        self._frame(
            event,
            {slot: blob for slot, blob in blobs.items() if slot in arrived},
            [*(order for order in orders if order.slot in arrived), *ending],
        )

    def _core_dies(self) -> None:
        """SIGKILL; the guardian starts another core a moment later."""
        if self.down or self.ended is not None:
            return
        self.trail.append((self.now, "the core is killed"))
        self.down = True
        self._epoch += 1
        self.outbox.clear()
        self._outbox_at = 0.0
        self.later(0.01 if self.healthy else self.chance.choice([0.01, 0.3, 3.0]), self._new_core)

    def _new_core(self) -> None:
        """Another core takes over from blobs and the guardian's facts."""
        self.down = False
        self.trail.append((self.now, "a new core"))
        self.core = Supervisor(self.config, seed=self._seed, calendar=Every())
        fresh = [slot for slot in self.core.replicas if slot not in self.blobs]
        if "" in self.blobs:
            self.core.restore(self.blobs, self.now)
        self.promises.restored()
        self.tell(ev.WallClock(self.offset))
        snapshot = {name: self.guardian.news(name) for name in self.guardian.slots}
        for name, news in snapshot.items():
            if name not in self.core.replicas and name in self.guardian.slots:
                self._end_hook_of(name)
                self.guardian.clear(name, self.guardian.slots[name].generation, 0.0)
            for event in news:
                self.tell(event)
        self.tell(ev.Start(tuple(fresh), by="hasup"))

    def _end_unknown(self) -> None:
        """At its end the guardian kills what the core knows nothing of: a program taken out as a core died."""
        for name, slot in self.guardian.slots.items():
            if name not in self.core.replicas:
                slot.alive = slot.left = False
                self._end_hook_of(name)

    def _end_hook_of(self, name: str) -> None:
        hook = self.guardian.slots[name].hook
        if hook is not None:
            hook.alive = False

    def _send(self, event: ev.Event) -> None:
        """News of the guardian: under way to the core, in order."""
        if self.down:
            return
        self.outbox.append(event)
        self._outbox_at = max(self._outbox_at, self.now + 0.0002 + self.chance.random() ** 4 * 0.05)
        epoch = self._epoch
        self.later(self._outbox_at - self.now, lambda: self._deliver(epoch))

    def _deliver(self, epoch: int) -> None:
        if epoch != self._epoch or self.down:
            return
        event = self.outbox.popleft()
        slot = getattr(event, "slot", "")
        if slot in self.core.replicas:
            self.tell(event)
        elif isinstance(event, ev.Emptied):
            self.guardian.carry_out(act.Forget(slot))
            self.blobs.pop(slot, None)
            self.promises.arrived([slot])

    # --- children ---------------------------------------------------------------------------------------------------
    def program(self, slot: str) -> Program:
        """What the core takes a replica for, or what it was started as when the core knows it no more."""
        return self.core.spec(slot) if slot in self.core.replicas else self._started(slot)

    def _started(self, slot: str) -> Program:
        return self.programs[slot, self.guardian.slots[slot].generation]

    def _draw(self, slot: str) -> Life:
        return Life(self.chance, healthy=self.healthy, task=self._started(slot).kind == "task")

    def _draw_hook(self, hook: str, generation: int) -> Hook:
        return Hook(hook, generation, self.chance, healthy=self.healthy)

    def _let_drain(self, before: Mapping[str, Replica]) -> None:
        """The connections to what is to end do so, as a rule."""
        for name, known in self.core.replicas.items():
            if known.draining and not (name in before and before[name].draining) and self.chance.random() < 0.8:
                self.later(0.2, lambda name=name: self.tell(ev.Drained(name)))  # type: ignore[misc]

    def _born(self, slot: str, generation: int) -> None:
        """A child runs: its signs of life begin."""
        program, life = self._started(slot), self.guardian.slots[slot].life
        if life is not None and life.ready is not None and (program.ready.notify or program.ready.log):
            says: ev.Event = (
                ev.Notified(slot, ready=True) if program.ready.notify else ev.LogMatched(slot, generation, "x")
            )
            self.later(max(life.ready, 0.06), lambda: self._says(slot, life, says))
        if program.ready.tcp or program.heartbeat or program.health or program.limits != Limits():
            self.later(TICK_S, lambda: self._tick(slot, generation))

    def _says(self, slot: str, life: Life, event: ev.Event) -> None:
        known = self.guardian.slots.get(slot)
        if known is not None and known.alive and known.life is life:
            self.tell(event)

    def _tick(self, slot: str, generation: int) -> None:
        """What the readers see of a child now: as runtime/watching.py has it, this follows from the replica's state."""
        child, known = self.guardian.slots.get(slot), self.core.replicas.get(slot)
        if child is None or not child.alive or child.generation != generation or self.ended is not None:
            return
        self.later(TICK_S, lambda: self._tick(slot, generation))
        if known is None or known.generation != generation or known.pid is None or child.life is None:
            return
        for event in self._seen(slot, generation, known.state, self.now - child.born, child.life):
            self.tell(event)

    def _seen(self, slot: str, generation: int, state: State, age: float, life: Life) -> list[ev.Event]:
        program, events = self.program(slot), list[ev.Event]()
        if state is State.STARTING and program.ready.tcp:
            ok = life.ready is not None and life.ready <= age
            events.append(ev.ProbeResult(slot, generation, "ready", ok, detail="connection refused"))
        beats = program.heartbeat or self.core.replicas[slot].watchdog_s
        if state is State.RUNNING and beats and (life.hangs is None or age < life.hangs):
            events.append(ev.Beat(slot))
        if state is State.RUNNING and program.health:
            ill = life.ill is not None and life.ill <= age and (life.heals is None or age < life.heals)
            slow = 0.7 if life.hangs is not None else 0.1
            events.append(ev.ProbeResult(slot, generation, "health", not ill, slow, "no answer"))
        if state in (State.STARTING, State.RUNNING) and program.limits != Limits():
            over = 200 if life.grows is not None and age >= life.grows else 50
            events.append(ev.Sampled(slot, generation, over, 1.0, 1, over, None))
        return events

    def story(self, lines: int = 60) -> str:
        """The last events, and where everything stood."""
        said = [f"  {at:10.4f}  {event!r}" for at, event in self.trail[-lines:]]
        stand = [f"  {msgspec.json.encode(r).decode()}" for r in self.core.replicas.values()]
        drawn = [f"  {msgspec.json.encode(part).decode()}" for part in self.config.programs.values()]
        drawn += [f"  {self.config.groups}, {self.config.supervisor.restart_rate} a second"]
        return "\n".join(["events:", *said, "replicas:", *stand, "configuration:", *drawn])


_DEEDS: tuple[Callable[[World], None], ...] = (
    World._pass_time, World._start, World._stop, World._restart, World._roll, World._scale, World._shut_down,
    World._kill_child, World._kill_core, World._tell_twice, World._stall, World._message,
    World._reload, World._set_clock, World._load,
)  # fmt: skip
_WEIGHTS = (50, 9, 9, 6, 3, 6, 1.5, 6, 3, 4, 2, 5, 3, 2, 8)
