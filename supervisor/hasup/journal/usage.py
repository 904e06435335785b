"""What replicas used, out of the journal. Nothing is ever written."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from hasup.journal.reader import Unreadable, connect
from hasup.journal.samples import LONG_S, MINUTE_S, Row

_SINCE: Final = 4  # the version of the tables
_QUERY: Final = """
    SELECT at / 1e6, seconds, replica, cpu, cpu_most, memory, memory_most, threads, processes, open_files FROM samples
    WHERE seconds = ? AND at >= ? AND at < ? AND replica IN ({}) ORDER BY at
"""


class Used(NamedTuple):
    """So many seconds of one replica, from ``at`` (seconds since 1970)."""

    at: float
    seconds: int
    row: Row


def read_usage(path: str, replicas: Sequence[str], since: float, until: float) -> dict[str, list[Used]]:
    """The samples of each of these, oldest first; a journal without any knows none. Raises :class:`Unreadable`."""
    found: dict[str, list[Used]] = {replica: [] for replica in replicas}
    if not os.path.exists(path):
        return found
    try:
        with contextlib.closing(connect(path)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] >= _SINCE:
                for one in _rows(connection, replicas, since, until):
                    found[one.row.replica].append(one)
    except (sqlite3.Error, ValueError) as error:
        raise Unreadable(f"the journal {path} can't be read: {error}") from error
    return found


def _rows(connection: sqlite3.Connection, replicas: Sequence[str], since: float, until: float) -> Iterator[Used]:
    """What is old is sparse: first that, then the rest."""
    query = _QUERY.format(", ".join("?" for _ in replicas))
    for seconds in (LONG_S, MINUTE_S):
        begin, end = int((since - seconds) * 1e6), int(until * 1e6)
        for row in connection.execute(query, (seconds, begin, end, *replicas)):
            yield Used(row[0], row[1], Row(*row[2:]))
