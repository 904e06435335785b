"""When a schedule comes next, in local time that jumps twice a year."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hasup.config import cron


@pytest.fixture(params=["CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Berlin"])
def berlin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """2026: the hour from 2:00 is left out on 29 March and comes twice on 25 October."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    if time.timezone != -3600:
        pytest.skip("this machine does not know the zone by its name")
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def runs(schedule: str, after: str, count: int) -> list[str]:
    found, at = [], utc(after)
    for _ in range(count):
        at = cron.following(schedule, at)
        found.append(datetime.fromtimestamp(at, UTC).strftime("%m-%d %H:%M"))
    return found


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        # in UTC: local time is 1 h ahead in winter, 2 h in summer
        ("0 3 * * *", "2026-01-01T01:59", ["01-01 02:00", "01-02 02:00"]),
        ("0 3 * * *", "2026-01-01T02:00", ["01-02 02:00"]),
        ("*/20 * * * *", "2026-03-29T00:30", ["03-29 00:40", "03-29 01:00", "03-29 01:20"]),
        ("30 2 * * *", "2026-03-28T00:00", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),  # 2:30 comes at 3:00
        ("0 3 * * *", "2026-03-28T12:00", ["03-29 01:00", "03-30 01:00"]),
        ("30 2 * * *", "2026-10-24T12:00", ["10-25 00:30", "10-26 01:30"]),  # the first 2:30 only
        ("30 2 * * *", "2026-10-25T01:00", ["10-26 01:30"]),  # after the first, before the second
        ("30 * * * *", "2026-10-24T23:00", ["10-24 23:30", "10-25 00:30", "10-25 01:30", "10-25 02:30"]),
        ("0 0 29 2 *", "2026-01-01T00:00", ["02-28 23:00"]),
        ("0 9 * * mon-fri", "2026-01-02T09:00", ["01-05 08:00", "01-06 08:00"]),
        ("0 0 13 * fri", "2026-01-01T12:00", ["01-01 23:00", "01-08 23:00", "01-12 23:00"]),
    ],
)
def test_what_comes_next(schedule, after, expected):
    assert runs(schedule, after, len(expected)) == expected


@pytest.mark.usefixtures("berlin")
def test_a_year_of_nights_has_a_run_each():
    nights = runs("30 2 * * *", "2026-01-01T00:00", 365)
    assert len({night[:5] for night in nights}) == 365
    assert nights[-1] == "12-31 01:30"


@pytest.mark.usefixtures("berlin")
def test_a_time_is_shown_as_local():
    assert cron.shown(utc("2026-01-01T02:00")) == "2026-01-01 03:00 +0100"
    assert cron.shown(utc("2026-07-01T01:00")) == "2026-07-01 03:00 +0200"


def test_what_never_comes_is_no_schedule():
    with pytest.raises(ValueError, match="no such day"):
        cron.checked("0 0 30 2 *")
