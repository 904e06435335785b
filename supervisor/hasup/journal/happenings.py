"""What the journal says of availability, read lean: one pass, and only what :mod:`hasup.report` looks at."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from hasup.journal.reader import FIRST_SINCE, Unreadable, connect
from hasup.report.model import LOST, Happening

_COLUMNS: Final = "seq, at, event, replica, old, new, reason, detail"
_PRUNED_SINCE: Final = 3  # the version of the tables
_BEFORE: Final = """
    SELECT coalesce(max(seq), 0) FROM events WHERE replica = ? AND seq < ? AND new = 'running' AND event = 'state'
"""


class _Facts(msgspec.Struct):
    """What a detail says that matters here."""

    ready: bool = False
    wanted: bool = False
    result: str | None = None


_decode: Final = msgspec.json.Decoder(_Facts).decode
_Row = tuple[int, int, str, str | None, str | None, str | None, str, str]


def span(path: str) -> tuple[float, float] | None:
    """From when to when the journal knows everything; None when it is empty. Raises :class:`Unreadable`."""
    with _opened(path) as connection:
        if connection is None:
            return None
        begin = connection.execute(
            "SELECT at FROM events WHERE seq > ? ORDER BY seq LIMIT 1", (_pruned(connection),)
        ).fetchone()
        end = connection.execute("SELECT at FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return ((begin or end)[0] / 1e6, end[0] / 1e6) if end else None


def happenings(path: str, since: float, until: float) -> Iterator[Happening]:
    """Events from ``since`` to ``until`` (seconds since 1970), in the order of ``seq``; before them, of each replica,
    those since it was last ready, so that it is known what it was at ``since``. Raises :class:`Unreadable`.
    """
    with _opened(path) as connection:
        if connection is None:
            return
        begin, end = round(since * 1e6), round(until * 1e6)
        first = connection.execute(FIRST_SINCE, (begin,)).fetchone()[0]
        if first is None:
            first = connection.execute("SELECT coalesce(max(seq), 0) + 1 FROM events").fetchone()[0]
        yield from _before(connection, first)
        rows = connection.execute(f"SELECT {_COLUMNS} FROM events WHERE seq >= ? ORDER BY seq", (first,))  # noqa: S608
        yield from _gapless((row for row in rows if row[1] < end), _pruned(connection))


def _before(connection: sqlite3.Connection, first: int) -> Iterator[Happening]:
    """What each replica was when event ``first`` happened."""
    replicas = [row[0] for row in connection.execute("SELECT DISTINCT replica FROM events WHERE replica IS NOT NULL")]
    found: list[_Row] = []
    for replica in replicas:
        start = connection.execute(_BEFORE, (replica, first)).fetchone()[0]
        found += connection.execute(
            f"SELECT {_COLUMNS} FROM events WHERE replica = ? AND seq >= ? AND seq < ?",  # noqa: S608
            (replica, start, first),
        )
    own = connection.execute(
        f"SELECT {_COLUMNS} FROM events WHERE replica IS NULL AND program IS NULL AND seq < ? AND event IN"  # noqa: S608
        " ('hasup-started', 'hasup-stopped') ORDER BY seq",
        (first,),
    )
    for row in sorted([*found, *own]):
        yield _happening(row)


def _pruned(connection: sqlite3.Connection) -> int:
    """Up to which number events were deleted for their age, but for the last of each replica."""
    if connection.execute("PRAGMA user_version").fetchone()[0] < _PRUNED_SINCE:
        return 0
    return int(connection.execute("SELECT seq FROM pruned").fetchone()[0])


def _gapless(rows: Iterator[_Row], pruned: int) -> Iterator[Happening]:
    """Each as a happening; where numbers are missing that were not deleted, that is one too."""
    expected = None
    for row in rows:
        if expected is not None and row[0] > max(expected, pruned + 1):
            yield Happening(row[1] / 1e6, LOST)
        expected = row[0] + 1
        yield _happening(row)


def _happening(row: _Row) -> Happening:
    _, at, event, replica, old, new, reason, detail = row
    if replica is None or new is None:  # it matters only that hasup saw something then
        return Happening(at / 1e6, event)
    facts = _decode(detail)
    return Happening(at / 1e6, event, replica, old, new, reason, facts.ready, facts.wanted, facts.result)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[sqlite3.Connection | None]:
    """The journal; None when there is none, or nothing in it yet."""
    if not os.path.exists(path):
        yield None
        return
    try:
        with contextlib.closing(connect(path)) as connection:
            yield connection if connection.execute("PRAGMA user_version").fetchone()[0] else None
    except (sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
        raise Unreadable(f"the journal {path} can't be read: {error}") from error
