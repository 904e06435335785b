"""Events a second in the pure decision core, by the processor time that they take.

    PYTHONPATH=supervisor python benchmarks/decisions.py [--events 200000]

One hundred replicas under the simulated clock; no process, no file. The mix is what a busy hasup hears: nine signs of
life (heartbeats, good probes, samples within their limits, a third each) to one event of a crash and its recovery.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterator

from hasup.core import Supervisor
from hasup.model import events as ev
from hasup.model.spec import Config, Health, Heartbeat, Limit, Limits, Program, Ready, Restart, SupervisorOptions

REPLICAS = 100


class World:
    """A supervisor whose replicas run, and a clock."""

    def __init__(self) -> None:
        program = Program(
            name="web",
            command=("web",),
            replicas=REPLICAS,
            ready=Ready(after=0.0),
            restart=Restart(delay=0.1, jitter=0.0),
            heartbeat=Heartbeat(timeout=1e9),
            health=Health(tcp="127.0.0.1:1", failures=3),
            limits=Limits(memory=Limit(above=1e9), cpu=Limit(above=90.0, for_=30.0)),
        )
        options = SupervisorOptions(name="x", state_dir="x", restart_rate=1_000_000)
        self.now = 0.0
        self.supervisor = Supervisor(Config(file="x", supervisor=options, programs={"web": program}), seed=1)
        self.handle(ev.Start(tuple(self.supervisor.replicas)))
        for slot in self.supervisor.replicas:
            self.handle(ev.Spawned(slot, 1, 1))
        self.handle(ev.Due())

    def handle(self, event: ev.Event) -> None:
        """As the engine does: decide, and take what the guardian is told."""
        self.now += 1e-4
        self.supervisor.handle(event, self.now)
        self.supervisor.take_blobs()

    def crash(self, slot: str) -> int:
        """A crash and all that follows; how many events it was."""
        generation = self.supervisor.replicas[slot].generation
        self.handle(ev.Exited(slot, generation, exit_code=1))
        self.now += 1.0
        self.handle(ev.Due())
        self.handle(ev.Spawned(slot, generation + 1, 1))
        self.handle(ev.Due())
        return 4

    def sign(self, number: int, slot: str) -> int:
        """A sign of life."""
        generation = self.supervisor.replicas[slot].generation
        kind = number % 3
        if kind == 0:
            self.handle(ev.Beat(slot))
        elif kind == 1:
            self.handle(ev.ProbeResult(slot, generation, "health", True, latency_s=0.001))
        else:
            self.handle(ev.Sampled(slot, generation, 1_000_000, 1.0, 1, 1, 1))
        return 1


def rate(deeds: Iterator[Callable[[], int]], events: int) -> float:
    """Events a second of processor time."""
    done = 0
    began = time.process_time()
    while done < events:
        done += next(deeds)()
    return done / (time.process_time() - began)


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    options = parser.parse_args()
    world = World()
    slots = itertools.cycle(world.supervisor.replicas)
    crashes = (lambda slot=slot: world.crash(slot) for slot in slots)
    for name, kind in (("heartbeats", 0), ("good probes", 1), ("samples", 2)):
        signs = (lambda slot=slot, kind=kind: world.sign(kind, slot) for slot in slots)
        print(f"{name:12} {rate(signs, options.events):10,.0f} events/s")
    print(f"{'crashes':12} {rate(crashes, options.events // 4):10,.0f} events/s")
    mixed = (
        (lambda slot=slot, n=n: world.crash(slot) if n % 37 == 0 else world.sign(n, slot))
        for n, slot in zip(itertools.count(), slots, strict=False)
    )
    print(f"{'mixed':12} {rate(mixed, options.events):10,.0f} events/s")


if __name__ == "__main__":
    main()
