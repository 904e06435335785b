"""Events out of the journal, whether hasup runs or not. Nothing is ever written."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from hasup.journal.schema import MIGRATIONS, iso
from hasup.model.status import EventRecord

_COLUMNS: Final = "seq, at, replica, program, event, old, new, reason, detail"
_BUSY_S: Final = 5.0
_TOTALS_SINCE: Final = 2  # the version of the tables


class Unreadable(Exception):
    """The journal can't be read; the text says why."""


def read_events(
    path: str,
    *,
    since_seq: int = 0,
    since: float | None = None,
    until: float | None = None,
    names: Sequence[str] = (),
    kinds: Sequence[str] = (),
    results: Sequence[str] = (),
    limit: int | None = None,
) -> Iterator[EventRecord]:
    """Events in the order of ``seq``; of those that match, the last ``limit``.

    ``since_seq``: with a greater seq only. ``since`` (inclusive) and ``until`` (exclusive): seconds since 1970.
    ``names``: of these programs (with their replicas) or replicas. ``kinds``: with these values of ``event``.
    ``results``: the ends of runs with these results ("signal", "heartbeat").
    A journal that does not exist is empty. Raises :class:`Unreadable`.
    """
    if not os.path.exists(path):
        return
    where, values = _conditions(since_seq, since, until, names, kinds, results)
    query = f"SELECT {_COLUMNS} FROM events WHERE {where} ORDER BY seq"  # noqa: S608 - only our own words
    if limit is not None:
        query = f"SELECT * FROM ({query} DESC LIMIT {int(limit)}) ORDER BY seq"  # noqa: S608
    try:
        with contextlib.closing(connect(path)) as connection:
            if _version(connection):
                for row in connection.execute(query, values):
                    yield _record(row)
    except (sqlite3.Error, ValueError) as error:
        raise Unreadable(f"the journal {path} can't be read: {error}") from error


def read_totals(path: str) -> dict[tuple[str, str, str], int]:
    """How many events there ever were, by replica (``""``: of hasup or a program), kind, and result (``""``: none).

    Counted since the journal was begun, whatever has been deleted since. Raises :class:`Unreadable`.
    """
    if not os.path.exists(path):
        return {}
    try:
        with contextlib.closing(connect(path)) as connection:
            if _version(connection) < _TOTALS_SINCE:
                return {}
            rows = connection.execute("SELECT replica, event, result, count FROM totals").fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise Unreadable(f"the journal {path} can't be read: {error}") from error
    return {(replica, event, result): count for replica, event, result, count in rows}


def _conditions(
    since_seq: int,
    since: float | None,
    until: float | None,
    names: Sequence[str],
    kinds: Sequence[str],
    results: Sequence[str],
) -> tuple[str, list[object]]:
    where, values = ["seq > ?"], [since_seq]  # type: tuple[list[str], list[object]]
    if since is not None:  # the time's index tells where to begin: what is asked for is in the order of seq
        at = int(since * 1_000_000)
        where.append(f"at >= ? AND seq >= ({FIRST_SINCE})")
        values += [at, at]
    if until is not None:
        where.append("at < ?")
        values.append(int(until * 1_000_000))
    if names:
        where.append(f"({' OR '.join(_OF_NAME for _ in names)})")
        for name in names:  # "web" is web.1, web.2 and web:dispatcher.1 too
            values += [name, name, f"{name}.", f"{name}/", f"{name}:", f"{name};"]
    if kinds:
        where.append(f"event IN ({', '.join('?' for _ in kinds)})")
        values += kinds
    if results:
        where.append(f"json_extract(detail, '$.result') IN ({', '.join('?' for _ in results)})")
        values += results
    return " AND ".join(where), values


# With the plus, SQLite uses the index of times; without, it looks through the events from the first one on.
FIRST_SINCE: Final = "SELECT min(+seq) FROM events WHERE at >= ?"

# Ranges instead of LIKE, so that the index is used: "/" comes right after ".", and ";" right after ":".
_OF_NAME: Final = "program = ? OR replica = ? OR (replica >= ? AND replica < ?) OR (replica >= ? AND replica < ?)"


def connect(path: str) -> sqlite3.Connection:
    """Read-only; where that needs to write beside the file and may not, what the file alone holds."""
    address = f"file:{quote(path)}?mode=ro"
    for extra in ("", "&immutable=1"):
        connection = sqlite3.connect(address + extra, uri=True, timeout=_BUSY_S)
        try:
            _version(connection)
        except sqlite3.OperationalError:
            connection.close()
            if extra:
                raise
            continue
        except BaseException:
            connection.close()
            raise
        return connection
    raise AssertionError("unreachable")


def _version(connection: sqlite3.Connection) -> int:
    """How far its tables are; 0 when there are none yet, since hasup is about to make them."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise ValueError("it was written by a newer hasup")
    return version


def _record(row: tuple[int, int, str | None, str | None, str, str | None, str | None, str, str]) -> EventRecord:
    seq, at, replica, program, event, old, new, reason, detail = row
    return EventRecord(seq, iso(at), event, old, new, reason, replica, program, json.loads(detail))
