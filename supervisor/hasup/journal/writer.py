"""Events into SQLite, from a thread of its own: the main loop never waits for the disk.

What can't be written waits in a bounded queue and then is dropped and counted; writing resumes by itself when the
disk has room again. A damaged file is set aside, and a new one begun.
"""

import contextlib
import functools
import glob
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from hasup.journal import samples
from hasup.journal.samples import Minute
from hasup.journal.schema import NewerJournal, microseconds, migrate
from hasup.model.status import EventRecord

QUEUE_LIMIT: Final = 10_000
ROWS: Final = 1_000_000
AGE_S: Final = 30 * 86_400.0
SIZE: Final = 512 << 20  # bytes in use; the file itself does not shrink, what was deleted is written over
KEEP_ANYWAY: Final = 10_000  # the newest rows never count as old: a clock that jumps ahead must not empty the journal
DAMAGED_KEPT: Final = 3
_BATCH: Final = 1_000
_PRUNE_EVERY: Final = 5_000  # events
_FEW: Final = 10
_THIN_EVERY: Final = 10  # minutes
_RETRY_S: Final = 1.0
_IDLE_S: Final = 3_600.0
_GATHER_S: Final = 0.02  # an event waits so long for others: what follows from it comes first, and has the processor
_BUSY_S: Final = 5.0
_OPEN_BUSY_S: Final = 0.5
_INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_encode: Final = msgspec.json.Encoder().encode
_KEPT: Final = "seq NOT IN (SELECT seq FROM latest)"
_UP_TO: Final = f"SELECT seq FROM events WHERE seq <= ? AND {_KEPT} ORDER BY seq LIMIT 10000"  # noqa: S608
_TOO_OLD: Final = f"SELECT seq FROM events WHERE at < ? AND seq <= ? AND {_KEPT} LIMIT 10000"  # noqa: S608


Entry = EventRecord | Minute


class Journal:
    """The journal, open for writing. All methods are for one thread (the loop's), and none of them blocks.

    ``trouble`` is told, in the caller's thread, from :meth:`append`, :meth:`poll` or :meth:`close`: when writing
    begins to fail, when a damaged file was set aside, when events were lost, and with None when all is well again.
    :attr:`problem` is what is wrong now, in words, or None.
    :attr:`last_seq` is the number of the newest event: appended here, or found in the file.
    """

    def __init__(
        self,
        path: str,
        trouble: Callable[[str | None], None],
        *,
        rows: int = ROWS,
        age_s: float = AGE_S,
        size: int = SIZE,
    ) -> None:
        self._trouble = trouble
        self._reports: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._writer = _Writer(path, self._queue, self._reports.put, rows, age_s, size)
        self.last_seq = self._writer.open_first()
        self._lost = 0
        self._thread = threading.Thread(target=self._writer.run, name="journal", daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """What is wrong now, in words, or None: "journal: database or disk is full, 12 events lost"."""
        failing = self._writer.failing
        if failing is None:
            return None
        return f"journal: {failing}" + (f", {self._lost} events lost" if self._lost else "")

    @property
    def waiting(self) -> int:
        """How many events are not written yet."""
        return self._queue.qsize()

    def append(self, record: EventRecord) -> None:
        """Write this event soon. Its ``seq`` should be ``last_seq + 1``."""
        self.last_seq = max(self.last_seq, record.seq)
        if self._queue.qsize() < QUEUE_LIMIT:
            self._queue.put(record)
        else:
            self._lost += 1
        self.poll()

    def sampled(self, minute: Minute) -> None:
        """Write what replicas used, unless there is trouble enough."""
        if self._queue.qsize() < (QUEUE_LIMIT if self._writer.failing is None else _FEW):
            self._queue.put(minute)

    def poll(self) -> None:
        """Tell ``trouble`` what there is to tell."""
        if self._lost and self._writer.failing is None:
            lost, self._lost = self._lost, 0
            self._reports.put(f"journal: {lost} events were lost while it could not be written")
            self._reports.put(None)
        with contextlib.suppress(queue.Empty):
            while True:
                self._trouble(self._reports.get_nowait())

    def close(self, timeout: float) -> bool:
        """Write what waits, for so many seconds at most; whether all of it was written."""
        self._writer.closing.set()
        self._queue.put(None)
        self._thread.join(timeout)
        self.poll()
        return not self._thread.is_alive() and self._writer.failing is None


class _Writer:
    """The thread's side."""

    def __init__(
        self,
        path: str,
        records: queue.SimpleQueue[Entry | None],
        report: Callable[[str | None], None],
        rows: int,
        age_s: float,
        size: int,
    ) -> None:
        self.failing: str | None = None
        self.closing = threading.Event()
        self._path = path
        self._records = records
        self._report = report
        self._rows = rows
        self._age_s = age_s
        self._size = size
        self._connection: sqlite3.Connection | None = None
        self._written = 0  # the newest seq in the file
        self._since_prune = _PRUNE_EVERY
        self._since_thinned = _THIN_EVERY

    def open_first(self) -> int:
        """Open the file at the start, in the caller's thread; the newest seq in it, 0 when that can't be told."""
        self._guarded(lambda: self._open(_OPEN_BUSY_S) is not None)
        return self._written

    def run(self) -> None:
        """Write until told to end."""
        ended = False
        while not ended:
            batch, minutes, ended = self._collect()
            while batch and not self._guarded(functools.partial(self._write, batch)):
                if self.closing.wait(_RETRY_S):
                    break
            if minutes and not ended:
                self._guarded(functools.partial(self._keep, minutes))
            self._since_prune += len(batch)
            if not ended and self._since_prune >= _PRUNE_EVERY and self._guarded(self._prune):
                self._since_prune = 0
        self._disconnect()

    def _collect(self) -> tuple[list[EventRecord], list[Minute], bool]:
        """The next batch of events and of samples, and whether it is the last one."""
        batch: list[EventRecord] = []
        minutes: list[Minute] = []
        with contextlib.suppress(queue.Empty):
            while len(batch) < _BATCH:
                first = not batch and not minutes
                entry = self._records.get(block=first, timeout=_IDLE_S)
                if entry is None:
                    return batch, minutes, True
                if first:
                    self.closing.wait(_GATHER_S)
                if isinstance(entry, EventRecord):
                    batch.append(entry)
                else:
                    minutes.append(entry)
        return batch, minutes, False

    def _write(self, batch: Sequence[EventRecord]) -> bool:
        connection = self._connection or self._open()
        rows = list(self._numbered(batch))
        with connection:
            connection.executemany(_INSERT, rows)
        self._written = rows[-1][0] if rows else self._written
        self._well()
        return True

    def _keep(self, minutes: Sequence[Minute]) -> bool:
        """Samples; now and then the old ones become fewer."""
        connection = self._connection or self._open()
        with connection:
            for minute in minutes:
                samples.write(connection, minute)
        self._since_thinned += len(minutes)
        if self._since_thinned >= _THIN_EVERY:
            with connection:
                if samples.thin(connection, time.time()):
                    self._since_thinned = 0
        self._well()
        return True

    def _well(self) -> None:
        if self.failing is not None:
            self._report(None)
            self.failing = None  # after the report, so that what was lost is told after it

    def _numbered(self, batch: Sequence[EventRecord]) -> Iterator[tuple[int, *tuple[object, ...]]]:
        """Rows. A number that the file has already (it could not be read at the start) becomes the next free one."""
        seq = self._written
        for record in batch:
            try:
                row = _row(record)
            except (TypeError, ValueError, OverflowError) as error:
                self._report(f"journal: event {record.seq} ({record.event}) can't be written: {error}")
                self._report(None)
                continue
            seq = max(record.seq, seq + 1)
            yield seq, *row

    def _prune(self) -> bool:
        """Delete one batch of what is too much or too old; whether nothing more is to be deleted."""
        connection = self._connection or self._open()
        oldest = int((time.time() - self._age_s) * 1_000_000)
        with connection:
            too_many = _delete(connection, _UP_TO, self._written - self._rows)
            too_large = self._make_smaller(connection)
            too_old = _delete(connection, _TOO_OLD, oldest, self._written - KEEP_ANYWAY)
        return too_many + too_large + too_old == 0

    def _make_smaller(self, connection: sqlite3.Connection) -> int:
        if self._used(connection) <= self._size:
            return 0
        return samples.shed(connection) or _delete(connection, _UP_TO, self._written - KEEP_ANYWAY)

    def _used(self, connection: sqlite3.Connection) -> int:
        """Bytes of the file that hold something."""
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        return int((pages - free) * size)

    def _open(self, busy_s: float = _BUSY_S) -> sqlite3.Connection:
        # The first connection is made in the caller's thread and used in this one, never in both at once.
        connection = sqlite3.connect(self._path, timeout=busy_s, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection)
            newest = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        except BaseException:
            connection.close()
            raise
        self._written = max(self._written, newest or 0)
        self._connection = connection
        return connection

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """What ``work`` returns. False when the file fails: noted, and the next try begins with a fresh connection."""
        try:
            return work()
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:  # disk full, read-only, locked
            self._fail(str(error))
        except (sqlite3.DatabaseError, NewerJournal) as error:
            self._set_aside(str(error))
        except OSError as error:
            self._fail(error.strerror or str(error))
        return False

    def _fail(self, cause: str) -> None:
        self._disconnect()
        if self.failing is None:
            self._report(f"journal: {cause} ({self._path}); events wait, and hasup goes on")
        self.failing = cause

    def _set_aside(self, cause: str) -> None:
        """Out of the way with a file that can't be used, where it can be looked at."""
        self._disconnect()
        aside = f"{self._path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        try:
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.replace(self._path + suffix, aside + suffix)
            for old in sorted(glob.glob(glob.escape(self._path) + ".damaged-*Z"))[:-DAMAGED_KEPT]:
                os.unlink(old)
        except OSError as error:
            self._fail(f"{cause}, and it can't be set aside: {error.strerror}")
            return
        self.failing = f"{cause}; the file was set aside as {aside}"
        self._report(f"journal: {self.failing}, and a new one begun")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _delete(connection: sqlite3.Connection, which: str, *values: int) -> int:
    """Delete these events, and remember up to where some were deleted; how many they are."""
    numbers = connection.execute(which, values).fetchall()
    if numbers:
        connection.executemany("DELETE FROM events WHERE seq = ?", numbers)
        connection.execute("UPDATE pruned SET seq = max(seq, ?)", max(numbers))
    return len(numbers)


def _row(record: EventRecord) -> tuple[object, ...]:
    """All columns but seq. Text that is no valid Unicode is written with escapes."""
    text = (record.replica, record.program, record.event, record.from_, record.to, record.reason)
    return microseconds(record.at), *map(_printable, text), _detail(record.detail)


def _detail(detail: dict[str, object]) -> str:
    try:
        return _encode(detail).decode()
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(detail), separators=(",", ":"))


def _printable(text: str | None) -> str | None:
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()
