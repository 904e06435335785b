"""Samples in the journal: a row a minute, thinned by age, bounded."""

import sqlite3
from collections.abc import Iterator

import pytest

from hasup.journal import samples
from hasup.journal.samples import KEEP_ANYWAY, LONG_S, MINUTE_S, Minute, Row, shed, thin, write
from hasup.journal.schema import MIGRATIONS, migrate

BEGIN = 1_700_000_400.0  # a multiple of 600
DAY = 86_400.0


def row(replica: str, cpu: float | None = 10.0, memory: int = 1000, **more: int | None) -> Row:
    counts = {"threads": 1, "processes": None, "open_files": None} | more
    return Row(replica, cpu, cpu and cpu * 2, memory, memory * 2, **counts)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    migrate(made)
    yield made
    made.close()


def counts(connection: sqlite3.Connection) -> dict[int, int]:
    return dict(connection.execute("SELECT seconds, count(*) FROM samples GROUP BY 1").fetchall())


def all_thin(connection: sqlite3.Connection, now: float, rows: int = samples.ROWS) -> int:
    """How many transactions it took."""
    for times in range(1, 10_000):
        if thin(connection, now, rows):
            return times
    raise AssertionError("never done")


def test_the_tables_before_do_not_lose_an_event() -> None:
    made = sqlite3.connect(":memory:")
    for script in MIGRATIONS[:3]:
        made.executescript(script)
    made.execute("PRAGMA user_version = 3")
    made.execute("INSERT INTO events VALUES (1, 1, 'web.1', 'web', 'state', 'a', 'b', 'why', '{}')")
    migrate(made)
    assert made.execute("SELECT count(*) FROM events").fetchone() == (1,)
    write(made, Minute(BEGIN, [row("web.1")]))
    made.close()


def test_ten_minutes_become_one_row_a_day_later(connection: sqlite3.Connection) -> None:
    for minute in range(20):
        threads = None if minute < 10 else 3
        write(connection, Minute(BEGIN + 60 * minute, [row("web.1", float(minute), 100 * minute, threads=threads)]))
        write(connection, Minute(BEGIN + 60 * minute, [row("web.2", None)]))
    all_thin(connection, BEGIN + DAY)
    assert counts(connection) == {MINUTE_S: 40}, "not older than a day yet"
    all_thin(connection, BEGIN + DAY + 599)
    assert counts(connection) == {MINUTE_S: 40}, "a part of the ten minutes would be taken for the whole"
    all_thin(connection, BEGIN + DAY + 600)
    assert counts(connection) == {MINUTE_S: 20, LONG_S: 2}
    all_thin(connection, BEGIN + DAY + 1200)
    found = connection.execute("SELECT * FROM samples WHERE replica = 'web.1' ORDER BY at").fetchall()
    assert found == [
        (600, int(BEGIN * 1e6), "web.1", 4.5, 18.0, 450, 1800, None, None, None),
        (600, int((BEGIN + 600) * 1e6), "web.1", 14.5, 38.0, 1450, 3800, 3, None, None),
    ]
    unknown = connection.execute("SELECT cpu, memory FROM samples WHERE replica = 'web.2'").fetchall()
    assert unknown == [(None, 1000), (None, 1000)]


def test_a_long_absence_is_made_up_for_in_steps(connection: sqlite3.Connection) -> None:
    for minute in range(60 * 24):
        write(connection, Minute(BEGIN + 60 * minute, [row("web.1")]))
    assert all_thin(connection, BEGIN + 10 * DAY) == 25, "an hour each, and a last look"
    assert counts(connection) == {LONG_S: 144}


def test_after_a_month_they_go_but_not_all_of_them_when_the_clock_jumps(connection: sqlite3.Connection) -> None:
    rows = [row(f"web.{n}") for n in range(KEEP_ANYWAY)]
    connection.executemany(
        samples._INSERT, [(LONG_S, int((BEGIN + at) * 1e6), *one) for at in (0, 600) for one in rows]
    )
    all_thin(connection, BEGIN + 30 * DAY)
    assert counts(connection) == {LONG_S: 2 * KEEP_ANYWAY}
    all_thin(connection, BEGIN + 31 * DAY)
    assert counts(connection) == {LONG_S: KEEP_ANYWAY}
    all_thin(connection, BEGIN + 3100 * DAY)
    assert counts(connection) == {LONG_S: KEEP_ANYWAY}


def test_with_very_many_replicas_they_are_kept_for_less_long(connection: sqlite3.Connection) -> None:
    now = BEGIN
    for minute in range(120):
        now = BEGIN + 60 * minute
        write(connection, Minute(now, [row(f"web.{n}") for n in range(10)]))
        all_thin(connection, now, rows=300)
    assert counts(connection)[MINUTE_S] <= 300 + 100 + 10
    for ten in range(100):
        write(connection, Minute(now + 600 * ten, [row(f"web.{n}") for n in range(10)]))
        all_thin(connection, now + 600 * ten, rows=300)
    assert counts(connection)[LONG_S] <= 300 + 10


def test_the_oldest_go_first_for_want_of_room(connection: sqlite3.Connection) -> None:
    write(connection, Minute(BEGIN, [row("web.1")]))
    connection.execute(samples._INSERT, (LONG_S, 1, *row("web.1")))
    assert [shed(connection) for _ in range(3)] == [1, 1, 0]
    assert counts(connection) == {}
