"""How many replicas a load calls for: the decision alone, on load curves, before it touches any process."""

import itertools
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hasup.core import autoscale
from hasup.core.autoscale import Load, Memory, Places, decide
from hasup.model.spec import Autoscale

Curve = Callable[[float], float]  # seconds -> the load of so many replicas at their target
CPU = Autoscale(min=1, max=8, target_cpu=60.0, cooldown=60.0)
CURVE = json.loads((Path(__file__).parent / "curve_of_wrk.json").read_text())
START_S = 3  # from a start to readiness
looked = decide  # by the plant; a fault may be planted in its place


class Plant:
    """A program under a load, a look each second. ``capacity``: a replica can't show more than so many percent."""

    def __init__(self, bounds: Autoscale = CPU, *, capacity: float = math.inf, count: int | None = None) -> None:
        self.bounds, self.capacity = bounds, capacity
        self.count = self.ready = bounds.min if count is None else count
        self.memory, self.now = Memory(), 1000.0
        self.starting: list[float] = []  # when each one that starts will be ready
        self.numbers: list[int] = []
        self.changes: list[tuple[float, int]] = []
        self.reasons: list[str] = []

    def look(self, load: float) -> None:
        """One second under this load, in replicas at their target."""
        self.now += 1
        self.ready += sum(at <= self.now for at in self.starting)
        self.starting = [at for at in self.starting if at > self.now]
        each = min(self.capacity, load * 60 / self.ready)
        loads = {"cpu": Load(each * self.ready, self.ready)}
        self.memory, decision = looked(self.bounds, self.memory, Places(self.count), loads, self.now)
        if decision is not None:
            self.reasons.append(decision.reason)
            self._take(decision.count)
        self.numbers.append(self.count)

    def _take(self, count: int) -> None:
        assert self.bounds.min <= count <= self.bounds.max
        if count == self.count:
            return
        self.changes.append((self.now - 1000, count))
        if count < self.count:
            gone = min(self.count - count, len(self.starting))
            self.starting = self.starting[: len(self.starting) - gone]
            self.ready = min(self.ready, count)
        else:
            self.starting += [self.now + START_S] * (count - self.count)
        self.count = count

    def run(self, curve: Curve, seconds: int) -> "Plant":
        for second in range(seconds):
            self.look(curve(second))
        return self

    def turns(self) -> int:
        """How often the number turned from growing to shrinking or back."""
        steps = [b[1] - a[1] for a, b in zip([(0.0, self.numbers[0]), *self.changes], self.changes, strict=False)]
        return sum((a > 0) != (b > 0) for a, b in itertools.pairwise(steps))


# --- curves -------------------------------------------------------------------------------------------------------
def test_a_step_is_answered_at_once_and_in_full():
    plant = Plant().run(lambda s: 0.5 if s < 30 else 3.6, 90)
    assert plant.changes
    first = plant.changes[0]
    assert first[0] <= 30 + 3, "within three looks"
    assert plant.count == 4
    assert max(plant.numbers[:30]) == 1
    assert plant.numbers[30 + 8] == 4, "all of it within eight: one step waits for the other"
    assert [count for _, count in plant.changes] == sorted({count for _, count in plant.changes}), "and no way back"


def test_a_step_down_is_followed_after_the_cooldown_in_one_or_two_steps():
    plant = Plant(count=6).run(lambda s: 5.0 if s < 100 else 1.6, 300)
    assert plant.count == 2
    assert len(plant.changes) <= 2
    assert plant.changes[0][0] >= 100 + 60
    assert plant.changes[-1][0] <= 100 + 2 * 60 + 5
    assert plant.reasons == [
        "cpu 16% of a core per replica, under the target of 60%; 5 were needed within the last 60 s: 6 to 5",
        "cpu 19% of a core per replica, under the target of 60% for 60 s: 5 to 2",
    ]


def test_a_ramp_is_followed_without_a_turn():
    plant = Plant().run(lambda s: s / 100, 700)
    assert plant.turns() == 0
    assert plant.count == 7
    for second in range(50, 700):
        assert plant.numbers[second] * 1.25 + 0.3 >= second / 100, "never far behind"


def test_a_day_with_noise_has_few_changes_and_two_turns_at_most():
    chance = random.Random(1)
    day = 86400 // 24  # compressed: an hour of the curve takes 150 s

    def curve(second: float) -> float:
        return (3.5 - 2.8 * math.cos(2 * math.pi * second / day)) * chance.uniform(0.8, 1.2)

    plant = Plant().run(curve, day)
    assert plant.turns() <= 1, "up in the morning, down in the evening"
    assert len(plant.changes) <= 14, "no number twice on either way"
    assert max(plant.numbers) in (6, 7)
    assert plant.count <= 2


def test_a_spike_of_a_second_is_smoothed_away():
    short = Plant().run(lambda s: 1.3 if s == 60 else 0.6, 300)
    assert short.changes == []


def test_a_spike_of_half_a_minute_costs_one_way_up_and_down():
    long = Plant().run(lambda s: 4.0 if 60 <= s < 90 else 0.6, 400)
    assert long.turns() == 1
    assert max(long.numbers) == 4
    assert long.count == 1


@pytest.mark.parametrize("period", [2, 10, 30, 59])
def test_a_load_that_flaps_within_the_cooldown_changes_the_number_upwards_only(period):
    flapping(period)


def flapping(period: int) -> None:
    plant = Plant().run(lambda s: 4.0 if s % period < period / 2 else 0.4, 1200)
    assert plant.turns() == 0
    assert len(plant.changes) <= 3


def test_a_sawtooth_longer_than_the_cooldown_costs_a_bounded_number_of_changes():
    plant = Plant().run(lambda s: 1 + 4 * (s % 300) / 300, 3000)
    assert plant.turns() <= 2 * 10
    assert len(plant.changes) <= 10 * 6


@pytest.mark.parametrize("load", [0.91, 0.95, 0.99, 1.01, 1.09, 1.99, 2.05, 2.95, 3.1])
def test_a_steady_load_with_noise_at_the_edge_of_a_number_does_not_flap(load):
    edge(load)


def edge(load: float) -> None:
    chance = random.Random(7)
    plant = Plant().run(lambda _s: load * chance.uniform(0.85, 1.15), 3600)
    assert len(plant.changes) <= 3
    assert plant.turns() == 0


def test_replicas_that_can_show_no_more_than_a_core_are_found_step_by_step():
    plant = Plant(capacity=100).run(lambda _s: 4.0, 120)
    assert plant.count in (4, 5), "each step shows more of the load"
    assert plant.turns() == 0


def recorded(bounds: Autoscale, kind: str) -> list[int]:
    """The numbers after each look of a real run: the demo web under wrk, with more and fewer connections by turns."""
    memory, count, numbers = Memory(), bounds.min, []
    for second, (cpu, connections) in enumerate(CURVE["looks"]):
        loads = {kind: Load({"cpu": cpu, "connections": connections}[kind], count)}
        memory, decision = looked(bounds, memory, Places(count), loads, 100.0 + second)
        count = count if decision is None else decision.count
        assert bounds.min <= count <= bounds.max
        numbers.append(count)
    return numbers


def test_a_recorded_run_by_connections():
    """Connections of 0, 8, 30, 60, 30, 60, 12, 0, 24 and 0 by turns; between two there are none for a moment."""
    numbers = recorded(Autoscale(max=8, target_connections=15, cooldown=15.0), "connections")
    assert [number for number, _ in itertools.groupby(numbers)] == [1, 2, 3, 4, 3, 4, 3, 1, 2, 1]
    ends = itertools.accumulate(seconds for _, seconds in CURVE["phases"])
    for (connections, seconds), end in zip(CURVE["phases"], ends, strict=True):
        if seconds >= 20:
            assert numbers[end - 2] * 15 * 1.1 >= connections, "enough at the end of each phase"


def test_a_recorded_run_by_processor_time():
    numbers = recorded(Autoscale(max=8, target_cpu=3.0, cooldown=30.0), "cpu")
    assert [number for number, _ in itertools.groupby(numbers)] == [1, 2, 3, 4, 5, 4, 3], "at most 13% were used"


# --- single looks -------------------------------------------------------------------------------------------------
def steady(bounds: Autoscale, count: int, total: float, *, judged: int | None = None, lost: int = 0, seconds: int = 200,
           kind: str = "cpu") -> tuple[int | None, str]:  # fmt: skip
    """The first decision under a steady load, and its reason."""
    memory, now = Memory(), 50.0
    alive = count - lost
    for _ in range(seconds):
        now += 1
        loads = {kind: Load(total, alive if judged is None else judged)}
        memory, decision = decide(bounds, memory, Places(count, lost), loads, now)
        if decision is not None:
            return decision.count, decision.reason
    return None, ""


def test_each_decision_has_its_reason_in_words():
    assert steady(CPU, 3, 246) == (5, "cpu 82% of a core per replica, over the target of 60%: 3 to 5")
    assert steady(CPU, 5, 50) == (1, "cpu 10% of a core per replica, under the target of 60% for 60 s: 5 to 1")
    by_connections = Autoscale(max=4, target_connections=50)
    assert steady(by_connections, 1, 64, kind="connections") == (
        2, "64 connections per replica, over the target of 50: 1 to 2",
    )  # fmt: skip
    assert steady(by_connections, 1, 500, kind="connections") == (
        2, "500 connections per replica, over the target of 50: 1 to 2, no more than double at a time",
    )  # fmt: skip
    assert steady(by_connections, 3, 500, kind="connections") == (
        4, "167 connections per replica, over the target of 50: 3 to 4, its max",
    )  # fmt: skip


def test_between_more_and_fewer_lies_twice_the_tolerance():
    assert steady(CPU, 1, 1.09 * 60)[0] is None
    assert steady(CPU, 1, 1.11 * 60)[0] == 2
    assert steady(CPU, 2, 0.91 * 60)[0] is None
    assert steady(CPU, 2, 0.89 * 60)[0] == 1


def test_a_step_waits_until_the_average_has_followed_the_one_before():
    plant = Plant(Autoscale(max=16, target_cpu=60.0, smoothing=10.0)).run(lambda _s: 16.0, 100)
    assert [count for _, count in plant.changes] == [2, 4, 8, 16]
    assert all(later - earlier >= 10 for (earlier, _), (later, _) in itertools.pairwise(plant.changes))


def test_that_max_is_too_few_is_said_once_until_there_were_fewer():
    plant = Plant(Autoscale(max=2, target_cpu=60.0), count=2).run(lambda _s: 5.0, 300)
    assert plant.reasons == ["cpu 150% of a core per replica, over the target of 60%: 5 would be needed, and max is 2"]
    assert plant.numbers == [2] * 300


def test_what_starts_counts_as_idle_for_more_and_as_loaded_for_fewer():
    assert steady(CPU, 4, 2 * 100, judged=2)[0] is None, "200% on two of four: three and a half would do"
    assert steady(CPU, 3, 2 * 120, judged=2)[0] == 4, "240% on two of three is too much for all three"
    assert steady(CPU, 4, 30, judged=2)[0] == 3, "one for the load, two that are not known"
    assert steady(CPU, 4, 30, judged=4)[0] == 1


def test_replicas_that_are_stopped_or_gave_up_are_made_up_for():
    assert steady(CPU, 3, 200, lost=1)[0] == 5, "two carry 200%: four are needed, and one place is lost"
    assert steady(CPU, 3, 10, lost=1)[0] == 2
    assert steady(CPU, 8, 470, lost=4)[0] == 8, "never above max, though it is said"


def test_no_samples_no_change():
    assert steady(CPU, 3, 0, judged=0) == (None, "")
    assert steady(CPU, 3, 500, kind="connections") == (None, ""), "of which it has no target"


def test_of_two_targets_the_higher_number_wins_and_one_that_is_not_known_keeps_what_there_is():
    both = Autoscale(max=8, target_cpu=60.0, target_connections=50)
    now, memory = 0.0, Memory()

    def first(**loads: Load) -> int | None:
        nonlocal now, memory
        memory, now = Memory(), now + 1000
        for _ in range(200):
            now += 1
            memory, decision = decide(both, memory, Places(4), loads, now)
            if decision is not None:
                return decision.count
        return None

    assert first(cpu=Load(20, 4), connections=Load(20, 4)) == 1
    assert first(cpu=Load(20, 4), connections=Load(120, 4)) == 3
    assert first(cpu=Load(320, 4), connections=Load(20, 4)) == 6
    assert first(cpu=Load(20, 4)) is None, "connections are not known: no fewer"
    assert first(cpu=Load(320, 4)) == 6, "but more, if need be"


def test_nothing_is_decided_on_a_single_look_nor_after_a_gap():
    memory, decision = decide(CPU, Memory(), Places(1), {"cpu": Load(500, 1)}, 1.0)
    assert decision is None
    for now in range(2, 6):
        memory, decision = decide(CPU, memory, Places(1), {"cpu": Load(500, 1)}, now)
        assert decision is None
    assert decide(CPU, memory, Places(1), {"cpu": Load(500, 1)}, 6.0)[1] is not None
    assert decide(CPU, memory, Places(1), {"cpu": Load(500, 1)}, 6.0 + autoscale.GAP_S)[1] is None


def test_a_cooldown_has_to_be_seen_in_full():
    """Another core knows nothing of the time before."""
    plant = Plant(count=5)
    for _ in range(60):
        plant.look(0.5)
    assert plant.changes == []
    plant.look(0.5)
    assert [count for _, count in plant.changes] == [1]


def test_what_is_remembered_stays_small():
    plant = Plant(Autoscale(max=50, target_cpu=60.0, cooldown=3600))
    chance = random.Random(3)
    for _ in range(4000):
        plant.look(chance.uniform(0, 60))
        assert len(plant.memory.recent) <= 50


# --- bugs planted on purpose ----------------------------------------------------------------------------------------
def _with(**changes: Any) -> Callable[..., Any]:
    return lambda bounds, *rest: decide(replace(bounds, **changes), *rest)


def _no_window(bounds: Autoscale, memory: Memory, *rest: Any) -> Any:
    return decide(bounds, replace(memory, recent=()), *rest)


def _no_tail(bounds: Autoscale, memory: Memory, *rest: Any) -> Any:
    return decide(bounds, replace(memory, since=-math.inf, changed=-math.inf), *rest)


def _no_step(bounds: Autoscale, memory: Memory, *rest: Any) -> Any:
    after, decision = decide(bounds, memory, *rest)
    return after, None if decision is None or decision.count > 1 else decision


def _one_too_many(*known: Any) -> Any:
    after, decision = decide(*known)
    return after, None if decision is None else replace(decision, count=decision.count + 1)


PLANTED = {
    "one low look is enough to shrink": (_no_window, lambda: flapping(30)),
    "no cooldown": (_with(cooldown=0.0), lambda: flapping(30)),
    "a number may change as soon as it has changed": (_no_tail, test_a_cooldown_has_to_be_seen_in_full),
    "no tolerance": (_with(tolerance=0.0), lambda: edge(0.95)),
    "no smoothing": (_with(smoothing=0.0), test_a_spike_of_a_second_is_smoothed_away),
    "a slow average": (_with(smoothing=60.0), test_a_step_is_answered_at_once_and_in_full),
    "never more": (_no_step, test_a_step_is_answered_at_once_and_in_full),
    "one too many": (_one_too_many, lambda: Plant().run(lambda _s: 20.0, 100)),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_noticed(fault, monkeypatch):
    planted, notice = PLANTED[fault]
    notice()
    monkeypatch.setattr(sys.modules[__name__], "looked", planted)
    with pytest.raises(AssertionError):
        notice()


# --- properties ---------------------------------------------------------------------------------------------------
LOADS = st.lists(st.tuples(st.floats(0, 100), st.integers(1, 40)), min_size=1, max_size=12)


@st.composite
def _bounds(draw: st.DrawFn) -> Autoscale:
    fewest = draw(st.integers(1, 10))
    return Autoscale(
        min=fewest,
        max=draw(st.integers(fewest, 30)),
        target_cpu=draw(st.floats(1, 400)),
        tolerance=draw(st.floats(0, 50)),
        smoothing=draw(st.sampled_from([0.0, 1.0, 5.0, 60.0])),
        cooldown=draw(st.sampled_from([0.0, 5.0, 30.0, 300.0])),
    )


@settings(max_examples=80, derandomize=True, deadline=None)
@given(_bounds(), LOADS, st.floats(50, 1000))
def test_whatever_the_load_the_number_is_within_its_bounds_and_falls_only_after_the_cooldown(bounds, loads, capacity):
    plant = Plant(bounds, capacity=capacity)
    for load, seconds in loads:
        for _ in range(seconds):
            before = plant.count
            plant.look(load)
            assert bounds.min <= plant.count <= bounds.max
            assert plant.count <= 2 * max(1, before), "no more than double at a time"
    times = [0.0, *(at for at, _ in plant.changes)]
    counts = [bounds.min, *(count for _, count in plant.changes)]
    for (earlier, later), (before, after) in zip(itertools.pairwise(times), itertools.pairwise(counts), strict=True):
        if after < before:
            assert later - earlier >= bounds.cooldown


@settings(max_examples=80, derandomize=True, deadline=None)
@given(_bounds(), st.floats(0, 40), LOADS)
def test_under_a_steady_load_it_settles_on_a_number_that_carries_it(bounds, load, before):
    plant = Plant(bounds)
    for earlier, seconds in before:
        plant.run(lambda _s, load=earlier: load, seconds)
    settle = int(10 * bounds.smoothing + 3 * bounds.cooldown) + 60
    plant.run(lambda _s: load * bounds.target_cpu / 60, settle)
    done = len(plant.changes)
    settled = plant.count
    plant.run(lambda _s: load * bounds.target_cpu / 60, settle)
    assert len(plant.changes) == done, "it stays there"
    tolerance = bounds.tolerance / 100 + 0.01
    assert settled == bounds.max or load <= settled * (1 + tolerance) + 0.01
    assert settled == bounds.min or load / (1 - bounds.tolerance / 100) >= settled - 1 - 0.02
