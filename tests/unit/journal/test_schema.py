import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.journal import schema
from hasup.journal.schema import MIGRATIONS, NewerJournal, iso, microseconds, migrate


@pytest.mark.parametrize(
    "text",
    ["1970-01-01T00:00:00Z", "2026-01-31T12:30:00Z", "2026-01-31T12:30:00.123Z", "2026-01-31T12:30:00.123456Z"],
)
def test_a_time_comes_back_as_it_was_written(text: str) -> None:
    assert iso(microseconds(text)) == text


def test_a_time_with_a_zone_is_the_same_moment() -> None:
    assert microseconds("2026-01-31T12:30:00+02:00") == microseconds("2026-01-31T10:30:00Z")
    assert microseconds("2026-01-31T10:30:00") == microseconds("2026-01-31T10:30:00Z")


@given(st.integers(0, 4_000_000_000_000_000))
def test_no_microsecond_is_lost(at: int) -> None:
    assert microseconds(iso(at)) == at


def test_migrating_makes_the_tables_once() -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection)
    migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
    connection.close()


def test_an_older_file_is_brought_up_to_date_with_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection)
    connection.execute("INSERT INTO events VALUES (1, 2, 'web.1', 'web', 'state', 'a', 'b', 'why', '{}')")
    connection.commit()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, "ALTER TABLE events ADD COLUMN more TEXT;"))
    migrate(connection)
    assert connection.execute("SELECT seq, more FROM events").fetchall() == [(1, None)]
    connection.close()


def test_a_journal_of_before_the_totals_counts_from_now_on() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
    insert = "INSERT INTO events VALUES (?, 2, ?, 'web', 'state', 'a', 'b', 'why', ?)"
    connection.execute(insert, (1, "web.1", "{}"))
    connection.commit()
    migrate(connection)
    for seq, replica, detail in (
        (2, "web.1", '{"result":"signal"}'),
        (3, "web.1", '{"result":"signal"}'),
        (4, None, "{}"),
    ):
        connection.execute(insert, (seq, replica, detail))
    connection.execute("DELETE FROM events")
    assert connection.execute("SELECT * FROM totals").fetchall() == [
        ("", "state", "", 1),
        ("web.1", "state", "signal", 2),
    ]
    connection.close()


def test_a_step_that_fails_leaves_the_file_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = sqlite3.connect(":memory:")
    migrate(connection)
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, "DROP TABLE events; SELECT nonsense;"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    connection.rollback()
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
    connection.close()


def test_a_file_of_a_later_hasup_is_not_touched() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(NewerJournal):
        migrate(connection)
    connection.close()
