"""What holds for any weights, any failures and any table."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hasup.dispatch.balance import DEGRADED, DRAINING, READY, Backend, Balancer, round_robin

STATES = st.sampled_from([READY, DEGRADED, DRAINING])
ROWS = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 5), STATES), max_size=6)
METHODS = st.sampled_from(["round-robin", "least-connections", "random-two"])
DRAWS = st.floats(0.0, 1.0, exclude_max=True)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pick", "fail", "succeed", "table"]), st.integers(0, 5), st.floats(0.0, 20.0), DRAWS, ROWS
    ),
    max_size=60,
)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_a_round_gives_everybody_exactly_its_weight(weights):
    backends = [Backend(str(number), "a", weight) for number, weight in enumerate(weights)]
    for one in backends:
        one.share = float(one.weight)
    counted = Counter(round_robin(backends).name for _ in range(sum(weights)))
    assert counted == {one.name: one.weight for one in backends}
    assert all(one.credit == 0.0 for one in backends)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(1, 300))
def test_at_no_moment_is_anybody_far_from_its_share(weights, count):
    backends = [Backend(str(number), "a", weight) for number, weight in enumerate(weights)]
    for one in backends:
        one.share = float(one.weight)
    counted = Counter(round_robin(backends).name for _ in range(count))
    for one in backends:
        assert abs(counted[one.name] - count * one.weight / sum(weights)) < len(weights)


@given(METHODS, ROWS, STEPS)
def test_whoever_may_be_picked_is_and_half_are_never_ejected(method, rows, steps):
    drawn = [0.0]
    balancer = Balancer(method, lambda: drawn[0], slow_start=5.0)
    now = 1.0
    replace(balancer, rows, now)
    for step, number, later, draw, table in steps:
        now += later
        drawn[0] = draw
        backends = list(balancer.backends.values())
        if step == "table":
            replace(balancer, table, now)
        elif step == "fail" and backends:
            balancer.failed(backends[number % len(backends)], now)
        elif step == "succeed" and backends:
            balancer.succeeded(backends[number % len(backends)], now)
        tried = tuple(backends[:number])
        check(balancer, tried if step != "table" else (), now)


def replace(balancer, rows, now):
    balancer.replace([(name, name, weight, state) for name, (weight, state) in rows.items()], now)


def check(balancer, tried, now):
    usable = [one for one in balancer.backends.values() if one.state != DRAINING]
    out = [one for one in usable if now < one.ejected_until]
    allowed = [one for one in usable if one not in tried]
    picked = balancer.pick(now, tried)
    assert (picked is not None) == bool(allowed)
    if picked is not None:
        assert picked in allowed
        better = [one for one in allowed if one not in out and one.weight > 0]
        assert picked in better or not better
    assert all(one.ejected_until <= now + 60.0 for one in usable)
