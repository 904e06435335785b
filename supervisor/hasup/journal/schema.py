"""The tables of the journal, and how older ones become today's.

``PRAGMA user_version`` counts the steps of :data:`MIGRATIONS` that a file has been through. Times are microseconds
since 1970, UTC. ``replica`` or ``program`` is set, or neither for hasup itself.
"""

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Final

MIGRATIONS: Final = (
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        replica TEXT,
        program TEXT,
        event TEXT NOT NULL,
        old TEXT,
        new TEXT,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_at ON events (at);
    CREATE INDEX events_replica ON events (replica, seq);
    CREATE INDEX events_program ON events (program, seq);
    """,
    # What was counted once stays so when events go: counters must not fall. '' stands for none.
    """
    CREATE TABLE totals (
        replica TEXT NOT NULL,
        event TEXT NOT NULL,
        result TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (replica, event, result)
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER events_counted AFTER INSERT ON events BEGIN
        INSERT INTO totals
        VALUES (coalesce(new.replica, ''), new.event, coalesce(json_extract(new.detail, '$.result'), ''), 1)
        ON CONFLICT DO UPDATE SET count = count + 1;
    END;
    """,
    # The last change of each replica, and of hasup itself (''), stays when all before and after it goes: what has run
    # for longer than the journal remembers still runs. Up to pruned.seq, missing numbers were deleted, not lost.
    """
    CREATE TABLE latest (replica TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TRIGGER events_latest AFTER INSERT ON events
    WHEN new.replica IS NOT NULL AND new.new IS NOT NULL OR new.event IN ('hasup-started', 'hasup-stopped') BEGIN
        INSERT INTO latest VALUES (coalesce(new.replica, ''), new.seq) ON CONFLICT DO UPDATE SET seq = new.seq;
    END;
    INSERT INTO latest SELECT coalesce(replica, ''), max(seq) FROM events
    WHERE replica IS NOT NULL AND new IS NOT NULL OR event IN ('hasup-started', 'hasup-stopped') GROUP BY 1;
    CREATE TABLE pruned (seq INTEGER NOT NULL) STRICT;
    INSERT INTO pruned VALUES (0);
    """,
    # What replicas used. In the order of time, so that a minute of all of them is written to one place.
    """
    CREATE TABLE samples (
        seconds INTEGER NOT NULL,
        at INTEGER NOT NULL,
        replica TEXT NOT NULL,
        cpu REAL,
        cpu_most REAL,
        memory INTEGER NOT NULL,
        memory_most INTEGER NOT NULL,
        threads INTEGER,
        processes INTEGER,
        open_files INTEGER,
        PRIMARY KEY (seconds, at, replica)
    ) STRICT, WITHOUT ROWID;
    """,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class NewerJournal(Exception):
    """The file was written by a later hasup, with tables that this one does not know."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, step by step, each in a transaction of its own."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise NewerJournal(f"version {version}, and this hasup knows {len(MIGRATIONS)}")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")


def microseconds(at: str) -> int:
    """``"2026-01-01T00:00:00.123Z"`` as the tables hold it; raises ``ValueError``."""
    when = datetime.fromisoformat(at)
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def iso(at: int) -> str:
    """The other way round, with as many digits as it takes: none, three or six."""
    when = _EPOCH + at * _MICROSECOND
    digits = "seconds" if at % 1_000_000 == 0 else "milliseconds" if at % 1000 == 0 else "microseconds"
    return when.isoformat(timespec=digits).removesuffix("+00:00") + "Z"
