"""Whom the balancer picks, whom it ejects and for how long."""

import itertools
from collections import Counter

import pytest

from hasup.dispatch.balance import (
    DEGRADED,
    DRAINING,
    EJECT_AFTER,
    EJECTION_MAX_S,
    EJECTION_S,
    READY,
    Backend,
    Balancer,
)


def balancer(*rows: tuple[str, float, str], method: str = "round-robin", slow_start: float = 0.0) -> Balancer:
    made = Balancer(method, lambda: 0.0, slow_start)
    made.replace(table(*rows), 0.0)
    return made


def table(*rows: tuple[str, float, str]) -> list[tuple[str, str, float, str]]:
    return [(name, f"127.0.0.1:{name}", weight, state) for name, weight, state in rows]


def picks(made: Balancer, count: int, now: float = 0.0) -> str:
    names = []
    for _ in range(count):
        picked = made.pick(now)
        assert picked is not None
        names.append(picked.name)
    return "".join(names)


def eject(made: Balancer, name: str, now: float) -> bool:
    outcomes = [made.failed(made.backends[name], now) for _ in range(EJECT_AFTER)]
    return any(outcomes)


def test_alike_they_take_turns():
    made = balancer(("1", 1, READY), ("2", 1, READY), ("3", 1, READY))
    assert picks(made, 7) == "1231231"


def test_the_example_of_nginx():
    """Weights 5, 1, 1: the heavy one is interrupted, not served five times in a row."""
    made = balancer(("a", 5, READY), ("b", 1, READY), ("c", 1, READY))
    assert picks(made, 14) == "aabacaa" * 2


def test_nobody_there():
    assert balancer().pick(0.0) is None


def test_a_draining_one_gets_nothing():
    made = balancer(("1", 1, DRAINING), ("2", 1, READY))
    assert picks(made, 3) == "222"
    assert balancer(("1", 1, DRAINING)).pick(0.0) is None


def test_a_degraded_one_gets_a_quarter():
    counted = Counter(picks(balancer(("1", 1, READY), ("2", 1, DEGRADED)), 100))
    assert counted == {"1": 80, "2": 20}


def test_weight_zero_is_the_last_resort():
    made = balancer(("1", 0, READY), ("2", 1, READY))
    assert picks(made, 3) == "222"
    made.replace(table(("1", 0, READY)), 1.0)
    assert picks(made, 2) == "11"


def test_tried_ones_are_not_picked_again():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    first = made.pick(0.0)
    assert first is not None
    second = made.pick(0.0, (first,))
    assert second is not None
    assert second is not first
    assert made.pick(0.0, (first, second)) is None


def test_least_connections_by_weight():
    made = balancer(("1", 1, READY), ("2", 2, READY), method="least-connections")
    names = []
    for _ in range(9):
        picked = made.pick(0.0)
        assert picked is not None
        picked.open += 1
        names.append(picked.name)
    assert Counter(names) == {"1": 3, "2": 6}


def test_least_connections_takes_turns_among_equals():
    made = balancer(("1", 1, READY), ("2", 1, READY), ("3", 1, READY), method="least-connections")
    assert picks(made, 6) == "123123"


@pytest.mark.parametrize(("draws", "loads", "expected"), [
    ((0.0, 0.0), (5, 1, 0), "2"),  # the first two are compared
    ((0.0, 0.9), (5, 9, 0), "3"),
    ((0.9, 0.0), (5, 9, 7), "1"),
    ((0.0, 0.0), (1, 1, 0), "1"),  # a tie: the first drawn
])  # fmt: skip
def test_random_two(draws, loads, expected):
    drawn = itertools.cycle(draws)
    made = Balancer("random-two", lambda: next(drawn))
    made.replace(table(("1", 1, READY), ("2", 1, READY), ("3", 1, READY)), 0.0)
    for one, load in zip(made.backends.values(), loads, strict=True):
        one.open = load
    assert picks(made, 1) == expected


def test_random_two_alone():
    assert picks(balancer(("1", 1, READY), method="random-two"), 2) == "11"


def test_ejected_after_failures_in_a_row_and_back_when_the_time_is_over():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    bad = made.backends["1"]
    for _ in range(EJECT_AFTER - 1):
        assert not made.failed(bad, 0.0)
    made.succeeded(bad, 0.0)
    assert eject(made, "1", 0.0)
    assert picks(made, 3, EJECTION_S - 0.01) == "222"
    assert "1" in picks(made, 2, EJECTION_S)


def test_ejection_grows_and_is_bounded():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    now, lengths = 0.0, []
    for _ in range(10):
        assert eject(made, "1", now)
        lengths.append(made.backends["1"].ejected_until - now)
        now = made.backends["1"].ejected_until
    assert lengths[:3] == [EJECTION_S, 2 * EJECTION_S, 4 * EJECTION_S]
    assert lengths[-1] == EJECTION_MAX_S


def test_one_failure_ejects_again_and_a_long_success_forgives():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    one = made.backends["1"]
    eject(made, "1", 0.0)
    assert made.failed(one, EJECTION_S)
    assert one.ejections == 2
    made.succeeded(one, one.ejected_until + 0.1)
    assert one.ejections == 2
    made.succeeded(one, one.ejected_until + one.ejection_s)
    assert one.ejections == 0


@pytest.mark.parametrize(("count", "out"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_never_the_last_half(count, out):
    made = balancer(*((str(number), 1, READY) for number in range(count)))
    assert sum(eject(made, name, 0.0) for name in made.backends) == out


def test_ejected_ones_are_the_last_resort():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    eject(made, "1", 0.0)
    picked = made.pick(0.0, (made.backends["2"],))
    assert picked is made.backends["1"]


def test_a_newcomer_starts_slowly():
    made = balancer(("1", 1, READY), slow_start=10.0)
    made.replace(table(("1", 1, READY), ("2", 1, READY)), 20.0)
    assert Counter(picks(made, 110, 20.0))["2"] == pytest.approx(10, abs=1)
    assert Counter(picks(made, 120, 25.0))["2"] == pytest.approx(40, abs=2)
    assert Counter(picks(made, 100, 30.0))["2"] == pytest.approx(50, abs=2)


def test_those_who_start_together_do_not():
    made = balancer(("1", 1, READY), slow_start=10.0)
    made.replace(table(("1", 1, READY), ("2", 1, READY)), 1.0)
    assert picks(made, 4, 1.0).count("2") == 2


def test_a_table_keeps_who_is_known_and_renews_who_moved():
    made = balancer(("1", 1, READY), ("2", 1, READY))
    kept, moved = made.backends["1"], made.backends["2"]
    made.replace([("1", kept.address, 3, DEGRADED), ("2", "127.0.0.1:9", 1, READY)], 1.0)
    assert made.backends["1"] is kept
    assert (kept.weight, kept.state) == (3, DEGRADED)
    assert made.backends["2"] is not moved


def test_draining_begins_once():
    made = balancer(("1", 1, READY))
    for now, expected in ((1.0, 1.0), (2.0, 1.0)):
        made.replace(table(("1", 1, DRAINING)), now)
        assert made.backends["1"].drain_at == expected
    made.replace(table(("1", 1, READY)), 3.0)
    assert made.backends["1"].drain_at is None


def test_moving_averages_begin_with_the_first_value():
    one = Backend("1", "127.0.0.1:1")
    one.connected(0.5)
    one.answered(2.0)
    one.answered(1.0)
    assert one.connect_s == 0.5
    assert one.first_byte_s == pytest.approx(1.8)
