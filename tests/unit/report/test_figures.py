"""What histories with known truth amount to."""

import random

import pytest

from hasup.report import joint
from hasup.report.document import Wanted, document, lines
from hasup.report.figures import budget, figures, replica_figures
from hasup.report.model import Mode, Segment, Timeline
from hasup.report.timeline import read
from tests.unit.report.lives import happening, modes

HOUR = 3600.0


def parts(*stretches: tuple[float, str]) -> Timeline:
    """A timeline from how long it was what."""
    at, found = 0.0, []
    for length, mode in stretches:
        found.append(Segment(at, at + length, Mode(mode)))
        at += length
    return Timeline(tuple(found))


def crashes(name: str, times: list[tuple[float, float]], start: float = 0.0) -> list:
    """Ready from ``start`` on, but for these stretches."""
    found = [happening(start, name, "stopped>starting"), happening(start, name, "starting>running")]
    for down, up in times:
        found += [
            happening(down, name, "running>backoff", result="signal", reason="killed by SIGKILL"),
            happening(up, name, "backoff>starting"),
            happening(up, name, "starting>running"),
        ]
    return found


def test_the_handbooks_example_out_of_a_journal():
    """NIST/SEMATECH e-Handbook 8.4.5.1: 1,000 hours, 4 failures: 250 h, 90% interval 109 to 732 h."""
    up = 250 * HOUR
    times = [(n * up + (n - 1), n * up + n) for n in range(1, 5)]
    history = read(crashes("a.1", times), 0.0, 4 * up + 4)
    shown = replica_figures(history.replicas["a.1"])
    assert shown["failures"] == 4
    assert shown["seconds"]["up"] == 1000 * HOUR
    hours = {name: value / HOUR for name, value in shown["mtbf_s"].items()}
    assert (hours["value"], round(hours["low"]), round(hours["high"])) == (250, 109, 732)
    assert shown["mttr_s"]["value"] == 1.0
    assert shown["results"] == {"signal": 4}


def test_intervals_of_whole_histories_cover_as_often_as_they_say():
    """2,000 simulated journals: life 100 s, repair 2 s, both exponential, watched for 1,500 s."""
    chance = random.Random(7)
    hits = {"mtbf_s": 0, "mttr_s": 0, "availability": 0}
    truth = {"mtbf_s": 100.0, "mttr_s": 2.0}
    for _ in range(2000):
        at, times = 0.0, []
        while (down := at + chance.expovariate(1 / 100)) < 1500:
            at = down + chance.expovariate(1 / 2)
            times.append((down, at))
        seen = [one for one in crashes("a.1", times) if one.at < 1500]
        shown = figures(read(seen, 0.0, 1500.0).replicas["a.1"])
        for name, true in truth.items():
            low, high = shown[name]["low"], shown[name]["high"]
            hits[name] += low is not None and low <= true <= (high or float("inf"))
        low, high = shown["availability_90"].values()
        hits["availability"] += low is not None and low <= 100 / 102 <= high
    for name, count in hits.items():
        assert 0.88 <= count / 2000 <= 0.92, (name, count / 2000)


def test_nothing_to_estimate_from():
    shown = figures(parts((100, "unobserved")))
    nothing = {"value": None, "low": None, "high": None}
    assert (shown["availability"], shown["mtbf_s"], shown["mttr_s"]) == (None, nothing, nothing)
    assert budget(parts((100, "stopped")), 99.9)["burn_rate"] == {"1h": None, "6h": None}
    assert budget(parts((100, "up")), None) is None


def test_planned_stops_are_no_failures_and_count_as_nothing():
    found = figures(parts((50, "up"), (10, "starting"), (30, "up"), (5, "stopped"), (20, "up"), (100, "unobserved")))
    assert (found["availability"], found["failures"], found["planned_stops"]) == (1.0, 0, 2)


def test_two_of_three():
    """Both crashes alone leave two; together they leave one."""
    start = [*crashes("a.1", [(10, 30)]), *crashes("a.2", [(20, 40)]), *crashes("a.3", [])]
    events = sorted(start, key=lambda one: one.at)
    replicas = list(read(events, 0.0, 100.0).replicas.values())
    expected = {1: [], 2: [(20, "down")], 3: [(10, "down")]}
    for need, down in expected.items():
        found = joint.program(replicas, need)
        assert [one for one in modes(found) if one[1] == "down"] == down
        assert figures(found)["failures"] == len(down)
    two = joint.program(replicas, 2)
    assert modes(two) == [(0, "up"), (10, "degraded"), (20, "down"), (30, "degraded"), (40, "up")]
    assert figures(two)["availability"] == 0.9
    assert (two.outages[0].reason, two.outages[0].result) == ("killed by SIGKILL", "signal")


def test_a_rolling_restart_is_no_outage_and_a_scaled_away_replica_is_not_missed():
    ready = parts((100, "up"))
    rolled = parts((20, "up"), (10, "starting"), (70, "up"))
    assert modes(joint.program([ready, rolled], 2)) == [(0, "up"), (20, "starting"), (30, "up")]
    assert modes(joint.program([ready, rolled], 1)) == [(0, "up")]
    scaled = parts((20, "up"), (80, "stopped"))
    assert modes(joint.program([ready, scaled], 2)) == [(0, "up")]
    failed = parts((50, "up"), (50, "down"))
    assert modes(joint.program([failed, scaled], 2)) == [(0, "up"), (50, "down")]


def test_the_system_is_all_at_once_not_a_product():
    """Two programs that fail together: half of the time is lost, not three quarters."""
    events = sorted([*crashes("a.1", [(50, 101)]), *crashes("b.1", [(50, 101)])], key=lambda one: one.at)
    history = read(events, 0.0, 100.0)
    wanted = (Wanted("a"), Wanted("b", needs=("a",)), Wanted("t", task=True))
    shown = document(lines(history, wanted, 0.0, 100.0), wanted, history, 0.0, 100.0, str)
    assert shown["system"]["availability"] == 0.5
    assert shown["system"]["if_independent"] == 0.25
    assert shown["system"]["programs"] == ["a", "b"]
    assert [one["with_dependencies"]["programs"] for one in shown["programs"]] == [["a"], ["b", "a"], ["t"]]
    assert shown["programs"][2]["availability"] is None


def test_error_budget_and_burn_rates():
    """99%: in ten hours six minutes are allowed. Three minutes were down two hours ago, one and a half just now."""
    found = parts((8 * HOUR, "up"), (180, "down"), (2 * HOUR - 270, "up"), (90, "down"))
    shown = budget(found, 99.0)
    assert (shown["allowed_s"], shown["spent_s"], shown["left"]) == (360, 270, 0.25)
    assert shown["burn_rate"] == {"1h": 2.5, "6h": pytest.approx(270 / (6 * HOUR) / 0.01, abs=1e-4)}
