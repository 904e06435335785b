"""What replicas used, in the journal: a row a minute, later one for ten minutes, and then none.

Nothing here may cost an event: samples that can't be written are given up.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

MINUTE_S: Final = 60
LONG_S: Final = 600
MINUTES_KEPT_S: Final = 86_400
LONG_KEPT_S: Final = 30 * 86_400
ROWS: Final = 500_000  # of each length: with very many replicas they are kept for less long
KEEP_ANYWAY: Final = 10_000  # of the long ones: a clock that jumps ahead must not take all of them
_AT_ONCE_S: Final = 3_600  # what is thinned in one transaction
_MICRO: Final = 1_000_000

_INSERT: Final = "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_THIN: Final = """
    INSERT OR REPLACE INTO samples
    SELECT :long, at / (:long * 1000000) * (:long * 1000000), replica, avg(cpu), max(cpu_most),
        CAST(avg(memory) AS INTEGER), max(memory_most), max(threads), max(processes), max(open_files)
    FROM samples WHERE seconds = :minute AND at < :until GROUP BY 3, 2
"""
_DELETE: Final = "DELETE FROM samples WHERE seconds = ? AND at < ?"
_OLDEST: Final = "SELECT min(at) FROM samples WHERE seconds = ?"
_NTH_NEWEST: Final = "SELECT at FROM samples WHERE seconds = ? ORDER BY at DESC LIMIT 1 OFFSET ? - 1"
_SHED: Final = """
    DELETE FROM samples WHERE (seconds, at, replica) IN
        (SELECT seconds, at, replica FROM samples WHERE seconds = ? ORDER BY at LIMIT 10000)
"""


class Row(NamedTuple):
    """A minute (or ten) of one replica: means and highest values; None where nobody looked."""

    replica: str
    cpu: float | None  # percent of a core
    cpu_most: float | None
    memory: int  # bytes
    memory_most: int
    threads: int | None
    processes: int | None  # None: only the main process was looked at
    open_files: int | None


class Minute(NamedTuple):
    """The samples of one minute; ``at`` is when it began, in seconds since 1970."""

    at: float
    rows: Sequence[Row]


def write(connection: sqlite3.Connection, minute: Minute) -> None:
    """In the caller's transaction."""
    at = round(minute.at * _MICRO)
    connection.executemany(_INSERT, [(MINUTE_S, at, *row) for row in minute.rows])


def thin(connection: sqlite3.Connection, now: float, rows: int = ROWS) -> bool:
    """Make what is old sparse, and delete what is older, a bounded amount at a time; whether nothing is left to do."""
    old = _micro(now - MINUTES_KEPT_S)
    surplus = connection.execute(_NTH_NEWEST, (MINUTE_S, rows)).fetchone()
    if surplus is not None:
        old = max(old, surplus[0])
    until = old // (LONG_S * _MICRO) * (LONG_S * _MICRO)  # whole rows only: a part would replace the other part
    oldest = connection.execute(_OLDEST, (MINUTE_S,)).fetchone()[0]
    done = True
    if oldest is not None and oldest < until:
        some = (oldest // (LONG_S * _MICRO) + _AT_ONCE_S // LONG_S) * (LONG_S * _MICRO)
        done = some >= until
        until = min(some, until)
        connection.execute(_THIN, {"long": LONG_S, "minute": MINUTE_S, "until": until})
        connection.execute(_DELETE, (MINUTE_S, until))
    forget(connection, now, rows)
    return done


def forget(connection: sqlite3.Connection, now: float, rows: int = ROWS) -> None:
    """Delete the long ones that are too old, or too many."""
    until = _micro(now - LONG_KEPT_S)
    anyway = connection.execute(_NTH_NEWEST, (LONG_S, KEEP_ANYWAY)).fetchone()
    until = min(until, anyway[0]) if anyway is not None else 0
    surplus = connection.execute(_NTH_NEWEST, (LONG_S, rows)).fetchone()
    if surplus is not None:
        until = max(until, surplus[0])
    connection.execute(_DELETE, (LONG_S, until))


def shed(connection: sqlite3.Connection) -> int:
    """Delete some of the oldest, for want of room; how many."""
    for seconds in (LONG_S, MINUTE_S):
        found = connection.execute(_SHED, (seconds,))
        if found.rowcount:
            return found.rowcount
    return 0


def _micro(at: float) -> int:
    return int(at * _MICRO)
