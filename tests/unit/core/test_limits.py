"""Bounds on resources."""

import pytest

from hasup.core.limits import FIRED, evaluate
from hasup.model.events import Sampled
from hasup.model.spec import Limit, Limits


def sample(**values) -> Sampled:
    known = {"memory_bytes": 0, "cpu_percent": 0.0, "processes": 1, "threads": 1, "open_files": 1}
    return Sampled("web.1", 1, **(known | values))


@pytest.mark.parametrize(
    ("limit", "field", "value", "words"),
    [
        ("memory", "memory_bytes", 2**21, "memory 2.0 MiB, above 0.0 MiB"),
        ("cpu", "cpu_percent", 250.0, "cpu 250%, above 50%"),
        ("open_files", "open_files", 51, "open files 51, above 50"),
        ("threads", "threads", 51, "threads 51, above 50"),
        ("processes", "processes", 51, "processes 51, above 50"),
    ],
)
def test_each_limit_fires_above_its_bound_only(limit, field, value, words):
    table = Limits(**{limit: Limit(above=50.0)})
    _, fired = evaluate(table, {}, sample(**{field: 50}), 0.0, 9.0)
    assert fired == []
    _, fired = evaluate(table, {}, sample(**{field: value}), 0.0, 9.0)
    assert [(crossed.limit, crossed.reason) for crossed in fired] == [(limit, words)]


def test_age_is_counted_from_the_start():
    table = Limits(age=Limit(above=60.0))
    assert evaluate(table, {}, sample(), 60.0, 9.0)[1] == []
    assert [c.reason for c in evaluate(table, {}, sample(), 61.0, 9.0)[1]] == ["age 61 s, above 60 s"]


def test_what_cannot_be_read_crosses_nothing():
    table = Limits(open_files=Limit(above=1.0), cpu=Limit(above=1.0))
    assert evaluate(table, {}, sample(open_files=None, cpu_percent=None), 0.0, 9.0) == ({}, [])


def run(limit: Limit, *readings: tuple[float, float]) -> list[float]:
    """The times at which it fires."""
    since: dict[str, float] = {}
    fired = []
    for now, value in readings:
        since, crossed = evaluate(Limits(threads=limit), since, sample(threads=value), 0.0, now)
        fired += [now] * len(crossed)
    return fired


def test_it_must_last_for_as_long_as_asked():
    limit = Limit(above=10.0, for_=5.0)
    assert run(limit, (0.0, 11), (4.9, 11), (5.0, 11)) == [5.0]
    assert run(limit, (0.0, 11), (4.0, 10), (5.0, 11), (9.9, 11)) == [], "it was not over all the time"


def test_it_fires_once_until_the_value_is_clearly_below():
    limit = Limit(above=10.0)
    assert run(limit, (0.0, 11), (1.0, 11), (2.0, 9.5), (3.0, 11)) == [0.0], "9.5 is not below 90% of 10"
    assert run(limit, (0.0, 11), (1.0, 9), (2.0, 11)) == [0.0, 2.0]


def test_that_it_fired_can_be_kept_as_text():
    since, _ = evaluate(Limits(threads=Limit(above=10.0)), {}, sample(threads=11), 0.0, 5.0)
    assert since == {"threads": FIRED}
    assert FIRED == FIRED  # no infinity and no NaN: JSON has neither
    assert abs(FIRED) < 1e9
