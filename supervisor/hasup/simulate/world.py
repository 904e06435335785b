"""The real decision core in a world where time jumps from event to event, and children fail by chance."""

import heapq
import itertools
import random
from collections.abc import Callable, Mapping

import msgspec

from hasup.core import Supervisor
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Config, Heartbeat, Limits, Program, Ready
from hasup.model.state import State
from hasup.simulate.assumptions import Assumption
from hasup.simulate.tally import Tally

_FOREVER_S = 1e12
_PHASES = {
    State.RUNNING: "detect",  # hung, and nobody has noticed
    State.ABORTING: "end",
    State.STOPPING: "end",
    State.BACKOFF: "delay",
    State.STARTING: "start",
    State.WAITING: "waiting",
}


class World:
    """A supervisor, its children, and the time."""

    def __init__(self, config: Config, assumed: Mapping[str, Assumption], seed: int) -> None:
        self.now = 0.0
        self.events = 0
        self._assumed = assumed
        self._chance = random.Random(seed)  # noqa: S311 - a world, not a secret
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._pids = itertools.count(2)
        self._living: dict[str, int] = {}  # slot -> generation
        self._hung: set[str] = set()
        self._core = Supervisor(simplified(config, assumed), seed=seed)
        programs = [config.programs[name] for name in assumed]
        self.tally = Tally({p.name: p.need for p in programs if p.kind == "service"})
        own = tuple(r.name for r in self._core.replicas.values() if config.programs[r.program].autostart)
        self._feed(ev.Start(own, by="simulation"))

    def run(self, until: float, most_events: int) -> bool:
        """Go on until this time; false when so many events did not suffice."""
        enough = self.events + most_events
        while self.events < enough:
            due = self._core.next_deadline()
            at = self._agenda[0][0] if self._agenda else _FOREVER_S
            self.now = min(at, _FOREVER_S if due is None else due, until)
            if self.now >= until:
                self.tally.pass_time(until)
                return True
            if at <= self.now:
                heapq.heappop(self._agenda)[2]()
            else:
                self._feed(ev.Due())
        self.tally.pass_time(self.now)
        return False

    def settled(self) -> bool:
        """Whether everything was ready once."""
        return self._core.settled()

    def _later(self, delay: float, deed: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + delay, next(self._count), deed))

    def _feed(self, event: ev.Event) -> None:
        self.events += 1
        for action in self._core.handle(event, self.now):
            self._perform(action)

    # --- children -----------------------------------------------------------------------------------------------------
    def _perform(self, action: act.Action) -> None:
        match action:
            case act.Spawn(slot, generation):
                self._later(0.0, lambda: self._spawn(slot, generation))
            case act.Signal(slot, generation, number):
                self._later(0.0, lambda: self._end(slot, generation, signal=number))
            case act.ClearTree(slot, generation):
                self._later(0.0, lambda: self._clear(slot, generation))
            case act.Changed(slot):
                self._look(slot)

    def _spawn(self, slot: str, generation: int) -> None:
        self._living[slot] = generation
        self._feed(ev.Spawned(slot, generation, next(self._pids)))
        assumed, program = self._assumed[self._program(slot)], self._core.spec(slot)
        if program.kind == "task":
            self._later(assumed.start_s, lambda: self._end(slot, generation, exit_code=0))
        else:
            self._later(assumed.start_s, lambda: self._ready(slot, generation, assumed))

    def _ready(self, slot: str, generation: int, assumed: Assumption) -> None:
        if self._living.get(slot) == generation:
            self._feed(ev.Notified(slot, ready=True))
            life = self._chance.expovariate(1 / assumed.mtbf_s)
            self._later(life, lambda: self._fail(slot, generation, assumed))

    def _fail(self, slot: str, generation: int, assumed: Assumption) -> None:
        if self._living.get(slot) != generation:
            return
        if self._chance.random() >= assumed.hangs:
            self._end(slot, generation, exit_code=1)
            return
        self._hung.add(slot)
        self._look(slot)
        if assumed.noticed_by:
            noticed = self._chance.uniform(assumed.detect_low, assumed.detect_high)
            self._later(noticed, lambda: self._notice(slot, generation))

    def _notice(self, slot: str, generation: int) -> None:
        if self._living.get(slot) == generation:
            self._feed(ev.Notified(slot, watchdog_trigger=True))

    def _end(self, slot: str, generation: int, exit_code: int | None = None, signal: int | None = None) -> None:
        if self._living.get(slot) == generation:
            del self._living[slot]
            self._hung.discard(slot)
            self._feed(ev.Exited(slot, generation, exit_code=exit_code, signal=signal))

    def _clear(self, slot: str, generation: int) -> None:
        self._end(slot, generation, signal=9)
        self._feed(ev.Emptied(slot, generation))

    def _look(self, slot: str) -> None:
        """Tell the tally what this replica is now."""
        replica = self._core.replicas.get(slot)
        if replica is None:
            return
        up = replica.ready and slot not in self._hung
        phase = "" if up else _PHASES.get(replica.state, "given up")
        self.tally.change(self.now, slot, replica.program, phase)

    def _program(self, slot: str) -> str:
        return self._core.replicas[slot].program


def simplified(config: Config, assumed: Mapping[str, Assumption]) -> Config:
    """The configuration with everything that the world plays itself taken out: probes, samples, hooks, sockets."""
    programs = {name: _simplified(config.programs[name]) for name in assumed}
    return msgspec.structs.replace(config, programs=programs)


def _simplified(program: Program) -> Program:
    fresh = Program(name=program.name, command=("true",))
    return msgspec.structs.replace(
        program,
        ready=Ready(notify=True, timeout=_FOREVER_S),
        heartbeat=Heartbeat(timeout=_FOREVER_S),
        health=None,
        limits=Limits(),
        listen=None,
        hooks=fresh.hooks,
        schedule=None,
    )
