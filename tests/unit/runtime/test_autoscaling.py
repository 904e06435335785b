"""What is told of the load of programs that are scaled by it."""

from types import SimpleNamespace
from typing import Any

from hasup.loop import Loop
from hasup.model.events import LoadMeasured
from hasup.model.spec import Autoscale
from hasup.model.state import Replica, State
from hasup.runtime.autoscaling import LOOK_S, Autoscaling
from hasup.runtime.sampler import Reading
from tests.unit.core.driver import config, program

BOTH = Autoscale(max=4, target_cpu=60.0, target_connections=50)


class Bench:
    """A loop whose clock is set by hand, and what is there to be measured."""

    def __init__(self, *programs: Any) -> None:
        self.now = 100.0
        self.loop = Loop(lambda: self.now)
        self.replicas: dict[str, Replica] = {}
        self.used: dict[str, float | None] = {}
        self.measured: list[dict[str, tuple[int, str | None]]] = []
        self.stats: dict[str, dict[str, Any]] = {}
        self.told: list[LoadMeasured] = []
        supervisor: Any = SimpleNamespace(replicas=self.replicas)
        self.one = Autoscaling(self.loop, supervisor, self.told.append, self, self.stats, {"web.1": "/cg"})
        self.one.follow(config(*programs))

    def measure(self, alive: Any) -> dict[str, Reading]:
        self.measured.append(dict(alive))
        return {slot: Reading(self.used[slot], 0) for slot in alive if slot in self.used}

    def there(self, name: str, *, ready: bool = True, generation: int = 1) -> None:
        owner, _, index = name.rpartition(".")
        self.replicas[name] = Replica(
            name, owner, int(index), State.RUNNING, ready=ready, pid=7, generation=generation, tree_empty=False
        )

    def look(self) -> LoadMeasured | None:
        self.now += LOOK_S
        before = len(self.told)
        self.loop.turn(0)
        return self.told[-1] if len(self.told) > before else None

    def backends(self, dispatcher: str, **open_to: int) -> None:
        self.stats[dispatcher] = {"backends": {f"web.{slot[1:]}": {"open": count} for slot, count in open_to.items()}}


def closing(test):
    """Run with a bench, and close its loop."""

    def run() -> None:
        bench = Bench(program(autoscale=BOTH), program("other"))
        try:
            test(bench)
        finally:
            bench.loop.close()

    return run


def test_it_does_not_wake_up_where_nothing_is_scaled_by_load():
    bench = Bench(program())
    assert bench.look() is None
    assert bench.loop._patience(None) is None, "nothing is due"
    bench.one.follow(config(program(autoscale=BOTH)))
    assert bench.look() is not None, "another configuration"
    bench.one.follow(config(program()))
    assert bench.look() is None
    bench.loop.close()


@closing
def test_processor_time_counts_from_the_second_look_on_that_found_it_ready(bench):
    bench.there("web.1")
    bench.there("web.2", ready=False)
    bench.there("other.1")
    bench.used = {"web.1": 50.0, "web.2": 100.0, "other.1": 10.0}
    assert bench.look().cpu == {}
    assert bench.measured == [{"web.1": (7, "/cg")}], "only what is ready, and scaled by it"
    bench.there("web.2")
    assert bench.look().cpu == {"web.1": 50.0}, "web.2 may have used it for its start"
    assert bench.look().cpu == {"web.1": 50.0, "web.2": 100.0}
    bench.there("web.2", generation=2)
    assert bench.look().cpu == {"web.1": 50.0}, "another process"


@closing
def test_what_can_not_be_measured_is_left_out(bench):
    bench.there("web.1")
    bench.look()
    assert bench.look().cpu == {}
    bench.used = {"web.1": None}
    bench.look()
    assert bench.look().cpu == {}


@closing
def test_connections_of_ready_replicas_as_the_dispatcher_has_them(bench):
    bench.there("web.1")
    bench.there("web.2")
    bench.there("web.3", ready=False)
    bench.there("web:dispatcher.1")
    assert bench.look().connections == {}, "nothing was said yet"
    bench.backends("web:dispatcher.1", _1=12, _3=40)
    assert bench.look().connections == {"web.1": 12}
    bench.there("web:dispatcher.1", ready=False)
    assert bench.look().connections == {}, "what it said last may be of its predecessor"


@closing
def test_connections_of_several_dispatchers_add_up(bench):
    bench.there("web.1")
    bench.there("web:dispatcher.1")
    bench.there("web:dispatcher.2")
    bench.backends("web:dispatcher.1", _1=12)
    assert bench.look().connections == {}, "half of them would be too few"
    bench.backends("web:dispatcher.2", _1=5)
    assert bench.look().connections == {"web.1": 17}
