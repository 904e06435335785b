"""The journal on a real disk: written by its thread, read while it is written, broken in every way."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hasup.journal import Journal, Unreadable, read_events, writer
from hasup.journal.samples import Minute, Row
from hasup.journal.usage import Used, read_usage
from hasup.model.status import EventRecord

DAMAGED = "journal.db.damaged-*Z"


def record(seq: int, replica: str | None = "web.1", event: str = "state", **more: object) -> EventRecord:
    fields = {"at": "2026-01-31T12:00:00.500Z", "from_": "running", "to": "backoff", "reason": "exit code 3", **more}
    return EventRecord(seq=seq, event=event, replica=replica, **fields)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        threading.Event().wait(0.01)  # the disk tells nobody


class Kept:
    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.troubles: list[str | None] = []
        self.journal = Journal(self.path, self.troubles.append)

    def append(self, *records: EventRecord) -> None:
        for one in records:
            self.journal.append(one)

    def seqs(self) -> list[int]:
        return [found.seq for found in read_events(self.path)]

    def wait_written(self, seq: int) -> None:
        wait_for(lambda: bool(self.seqs()) and self.seqs()[-1] >= seq, f"event {seq}")

    def wait_told(self, count: int) -> None:
        def told() -> bool:
            self.journal.poll()
            return len(self.troubles) >= count

        wait_for(told, f"{count} reports, have {self.troubles}")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "journal.db")
    yield made
    made.journal.close(30)


def test_events_come_back_as_they_were(kept: Kept) -> None:
    written = [
        record(1, detail={"exit_code": 3, "lines": ["a", "ü"]}),
        record(2, None, "shutdown", from_=None, to=None, reason="stopped by operator"),
        record(3, None, "scale", program="web", at="2026-01-31T12:00:00Z"),
    ]
    kept.append(*written)
    assert kept.journal.last_seq == 3
    assert kept.journal.close(30)
    assert list(read_events(kept.path)) == written
    assert kept.troubles == []


def test_it_goes_on_where_it_ended(kept: Kept) -> None:
    kept.append(record(1), record(2))
    kept.journal.close(30)
    again = Journal(kept.path, kept.troubles.append)
    assert again.last_seq == 2
    again.append(record(3))
    assert again.close(30)
    assert kept.seqs() == [1, 2, 3]


def test_it_can_be_read_while_it_is_written(kept: Kept) -> None:
    kept.append(record(1))
    kept.wait_written(1)
    assert os.path.exists(kept.path + "-wal")  # readers and the writer do not wait for each other
    reading = read_events(kept.path)
    assert next(reading).seq == 1
    kept.append(record(2))
    kept.wait_written(2)
    assert list(reading) == []  # a consistent picture, as of its beginning
    assert kept.seqs() == [1, 2]


def test_a_killed_writer_leaves_whole_events(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    code = """
import sys, threading
from hasup.journal import Journal
from hasup.model.status import EventRecord
journal = Journal(sys.argv[1], print)
for seq in range(1, 1_000_000):
    journal.append(EventRecord(seq, "2026-01-31T12:00:00Z", "state", "a", "b", "why", "web.1"))
    while journal._queue.qsize() > 500:
        threading.Event().wait(0.001)
"""
    with subprocess.Popen([sys.executable, "-c", code, path]) as process:
        wait_for(lambda: next(iter(read_events(path, since_seq=500, limit=1)), None) is not None, "500 events")
        process.send_signal(signal.SIGKILL)
    seqs = [found.seq for found in read_events(path)]
    assert seqs == list(range(1, seqs[-1] + 1))
    journal = Journal(path, print)
    assert journal.last_seq == seqs[-1]
    journal.append(record(journal.last_seq + 1))
    assert journal.close(30)


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"what is this? " * 1000)
    kept = Kept(tmp_path / "journal.db")
    kept.append(record(1))
    kept.wait_told(2)
    assert kept.journal.close(30)
    (aside,) = tmp_path.glob(DAMAGED)
    assert aside.read_bytes().startswith(b"what is this?")
    assert kept.troubles == [
        f"journal: file is not a database; the file was set aside as {aside}, and a new one begun",
        None,
    ]
    assert kept.seqs() == [1]


def test_damage_that_shows_while_writing_loses_no_event(kept: Kept) -> None:
    kept.append(*(record(seq) for seq in range(1, 2001)))
    assert kept.journal.close(30)
    size = os.path.getsize(kept.path)
    with open(kept.path, "r+b") as file:  # the first page stays: the tables are there, what is in them is not
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    again = Journal(kept.path, kept.troubles.append)
    again.append(record(again.last_seq + 1, reason="after the damage"))
    assert again.close(30)
    assert [found.reason for found in read_events(kept.path)] == ["after the damage"]
    assert "set aside as" in str(kept.troubles[0])
    assert len(list(Path(kept.path).parent.glob(DAMAGED))) == 1


def test_a_journal_of_a_later_hasup_is_set_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    kept = Kept(tmp_path / "journal.db")
    with pytest.raises(Unreadable, match="newer hasup"):
        list(read_events(str(next(tmp_path.glob(DAMAGED)))))
    kept.append(record(1))
    assert kept.journal.close(30)
    assert kept.seqs() == [1]


def test_only_a_few_damaged_files_are_kept(tmp_path: Path) -> None:
    for day in range(1, 7):
        (tmp_path / f"journal.db.damaged-2020010{day}T000000Z").touch()
    (tmp_path / "journal.db").write_bytes(b"no database" * 1000)
    Kept(tmp_path / "journal.db").journal.close(30)
    names = sorted(path.name for path in tmp_path.glob(DAMAGED))
    assert len(names) == writer.DAMAGED_KEPT
    assert names[0] == "journal.db.damaged-20200105T000000Z"


class Limited(sqlite3.Connection):
    """A database on a disk that is full for as long as the test says."""

    full = False

    def executemany(self, *args: object) -> sqlite3.Cursor:
        if Limited.full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().executemany(*args)  # type: ignore[arg-type]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Limited]]:
    connect = sqlite3.connect
    monkeypatch.setattr(writer.sqlite3, "connect", lambda *args, **more: connect(*args, factory=Limited, **more))
    monkeypatch.setattr(writer, "_RETRY_S", 0.01)
    yield Limited
    Limited.full = False


def test_on_a_full_disk_events_wait_and_are_written_later(tmp_path: Path, disk: type[Limited]) -> None:
    kept = Kept(tmp_path / "journal.db")
    disk.full = True
    kept.append(record(1), record(2))
    kept.wait_told(1)
    assert kept.troubles == [f"journal: database or disk is full ({kept.path}); events wait, and hasup goes on"]
    assert kept.journal.problem == "journal: database or disk is full"
    kept.append(record(3))
    disk.full = False
    kept.wait_told(2)
    assert kept.troubles[1] is None
    kept.wait_written(3)
    assert kept.journal.problem is None
    assert kept.journal.close(30)
    assert kept.seqs() == [1, 2, 3]


def test_what_does_not_fit_into_the_queue_is_counted(
    tmp_path: Path, disk: type[Limited], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_LIMIT", 10)
    kept = Kept(tmp_path / "journal.db")
    disk.full = True
    kept.append(record(1))
    kept.wait_told(1)
    kept.append(*(record(seq) for seq in range(2, 52)))
    assert kept.journal.problem == "journal: database or disk is full, 40 events lost"
    disk.full = False
    kept.wait_told(4)
    assert kept.troubles[1:] == [None, "journal: 40 events were lost while it could not be written", None]
    assert kept.journal.last_seq == 51
    kept.append(record(52))
    assert kept.journal.close(30)
    assert kept.seqs() == [*range(1, 12), 52]


def test_closing_does_not_wait_for_a_full_disk(tmp_path: Path, disk: type[Limited]) -> None:
    kept = Kept(tmp_path / "journal.db")
    disk.full = True
    kept.append(record(1))
    kept.wait_told(1)
    assert not kept.journal.close(30)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_to_costs_only_the_journal(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    kept = Kept(tmp_path / "journal.db")
    kept.append(record(1))
    kept.wait_told(1)
    assert kept.troubles[0] is not None
    tmp_path.chmod(0o700)
    kept.wait_told(2)
    assert kept.journal.close(30)
    assert kept.seqs() == [1]


def test_a_directory_that_comes_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_RETRY_S", 0.01)
    kept = Kept(tmp_path / "late" / "journal.db")
    kept.append(record(1))
    kept.wait_told(1)
    assert "unable to open database file" in str(kept.troubles[0])
    (tmp_path / "late").mkdir()
    kept.wait_told(2)
    assert kept.journal.close(30)
    assert kept.seqs() == [1]


def test_numbers_that_are_taken_become_the_next_free_ones(kept: Kept) -> None:
    kept.append(record(1), record(2))
    kept.wait_written(2)
    kept.append(record(1, reason="again"))
    assert kept.journal.close(30)
    assert [(found.seq, found.reason) for found in read_events(kept.path)][-1] == (3, "again")


def test_an_event_that_cannot_be_written_is_reported_and_does_not_stop_the_others(kept: Kept) -> None:
    kept.append(record(1, at="yesterday"), record(2), record(3, detail={"x": object()}), record(4))
    assert kept.journal.close(30)
    assert kept.seqs() == [2, 4]
    assert [text for text in kept.troubles if text is not None] == [
        "journal: event 1 (state) can't be written: Invalid isoformat string: 'yesterday'",
        kept.troubles[2],
    ]
    assert str(kept.troubles[2]).startswith("journal: event 3 (state) can't be written: ")


def test_text_that_is_no_unicode_is_written_with_escapes(kept: Kept) -> None:
    kept.append(record(1, reason=os.fsdecode(b"\xff"), detail={"path": os.fsdecode(b"\xff")}))
    assert kept.journal.close(30)
    (found,) = read_events(kept.path)
    assert (found.reason, found.detail) == ("\\udcff", {"path": "\udcff"})


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PRUNE_EVERY", 10)
    path = str(tmp_path / "journal.db")
    journal = Journal(path, print, rows=50)
    for seq in range(1, 501):
        journal.append(record(seq))
        if seq % 20 == 0:
            wait_for(lambda: journal.waiting == 0, "an empty queue")
    assert journal.close(30)
    seqs = [found.seq for found in read_events(path)]
    assert seqs == list(range(seqs[0], 501))
    assert 50 <= len(seqs) < 150


def test_the_old_go_but_never_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PRUNE_EVERY", 1)
    monkeypatch.setattr(writer, "KEEP_ANYWAY", 5)
    path = str(tmp_path / "journal.db")
    journal = Journal(path, print, age_s=3600)
    for seq in range(1, 21):
        journal.append(record(seq, at="2001-01-01T00:00:00Z"))
    wait_for(lambda: [found.seq for found in read_events(path)] == list(range(16, 21)), "the old ones gone")
    assert journal.close(30)


def test_the_oldest_go_when_they_take_too_much_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PRUNE_EVERY", 10)
    monkeypatch.setattr(writer, "KEEP_ANYWAY", 5)
    path = str(tmp_path / "journal.db")
    journal = Journal(path, print, size=200_000, age_s=1e9)
    for seq in range(1, 1001):
        journal.append(record(seq, detail={"output": "x" * 1000}))
        if seq % 20 == 0:
            wait_for(lambda: journal.waiting == 0, "an empty queue")
    assert journal.close(30)
    seqs = [found.seq for found in read_events(path)]
    assert seqs == list(range(seqs[0], 1001))
    assert 5 <= len(seqs) < 250
    assert Path(path).stat().st_size < 500_000, "room is used again"


# --- reading -----------------------------------------------------------------------------------------------------
@pytest.fixture
def filled(kept: Kept) -> str:
    kept.append(
        record(1, "web.1", at="2026-01-01T00:00:01Z"),
        record(2, "web.2", "ready", at="2026-01-01T00:00:02Z"),
        record(3, "website.1", at="2026-01-01T00:00:03Z"),
        record(4, None, "scale", program="web", at="2026-01-01T00:00:04Z"),
        record(5, "web:dispatcher.1", at="2026-01-01T00:00:05Z"),
        record(6, None, "shutdown", at="2026-01-01T00:00:06Z"),
        record(7, "db.1", program="db", at="2026-01-01T00:00:07Z"),
    )
    assert kept.journal.close(30)
    return kept.path


EPOCH = 1_767_225_600  # 2026-01-01


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"since_seq": 5}, [6, 7]),
        ({"since": EPOCH + 6.0}, [6, 7]),
        ({"until": EPOCH + 3.0}, [1, 2]),
        ({"names": ["web"]}, [1, 2, 4, 5]),
        ({"names": ["web.2"]}, [2]),
        ({"names": ["db", "website"]}, [3, 7]),
        ({"names": ["nobody"]}, []),
        ({"kinds": ["ready", "scale"]}, [2, 4]),
        ({"limit": 2}, [6, 7]),
        ({"limit": 0}, []),
        ({"names": ["web"], "limit": 2}, [4, 5]),
        ({"names": ["web"], "kinds": ["state"], "since": EPOCH + 2.0, "until": EPOCH + 6.0}, [5]),
    ],
)
def test_reading_what_is_asked_for(filled: str, query: dict[str, object], seqs: list[int]) -> None:
    assert [found.seq for found in read_events(filled, **query)] == seqs  # type: ignore[arg-type]


def test_names_are_looked_up_by_index(filled: str) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT seq FROM events WHERE program = 'w' OR replica = 'w' OR "
            "(replica >= 'w.' AND replica < 'w/')"
        ).fetchall()
    assert not any("SCAN" in str(step) for step in plan)


def test_a_journal_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert list(read_events(str(tmp_path / "journal.db"))) == []
    assert list(tmp_path.iterdir()) == []


def test_a_journal_that_is_being_made_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.touch()
    assert list(read_events(str(path))) == []
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        assert list(read_events(str(path))) == []


def test_a_journal_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Unreadable, match=r"the journal .*journal\.db can't be read: file is not a database"):
        list(read_events(str(path)))


def test_a_path_with_signs_that_mean_something_in_an_address(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c %41"
    folder.mkdir()
    kept = Kept(folder / "journal.db")
    kept.append(record(1))
    assert kept.journal.close(30)
    assert kept.seqs() == [1]


def minute(at: float, *replicas: str) -> Minute:
    return Minute(at, [Row(replica, 5.0, 9.0, 1_000, 2_000, 1, None, None) for replica in replicas])


def test_samples_come_back_for_who_is_asked_about(kept: Kept) -> None:
    begin = float(int(time.time()) - 600)
    kept.journal.sampled(minute(begin, "web.1", "web.2"))
    kept.journal.sampled(minute(begin + 60, "web.1"))
    kept.append(record(1))
    wait_for(lambda: len(read_usage(kept.path, ["web.1"], begin, begin + 600)["web.1"]) == 2, "two samples")
    found = read_usage(kept.path, ["web.1", "db.1"], begin, begin + 60)
    assert found == {"web.1": [Used(begin, 60, Row("web.1", 5.0, 9.0, 1_000, 2_000, 1, None, None))], "db.1": []}
    kept.wait_written(1)
    assert kept.troubles == []


def test_samples_are_given_up_where_events_wait(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.append(record(1))
    kept.wait_written(1)
    with closing(sqlite3.connect(kept.path)) as other:
        other.execute("DROP TABLE samples")
    for at in range(50):
        kept.journal.sampled(minute(time.time() + at, "web.1"))
    kept.wait_told(1)
    assert kept.troubles[0] is not None
    assert "no such table" in kept.troubles[0]
    kept.append(record(2))
    kept.wait_written(2)
    kept.wait_told(2)
    assert kept.troubles[-1] is None, "an event could be written: all is well"


def test_samples_make_room_for_events(kept: Kept) -> None:
    with closing(sqlite3.connect(kept.path)) as other, other:
        rows = [(600, at, "web.1", 1.0, 1.0, 1, 1, None, None, None) for at in range(30_000)]
        other.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    kept.journal.close(30)
    small = Journal(kept.path, kept.troubles.append, size=200_000)
    for seq in range(1, writer._PRUNE_EVERY + 1):
        small.append(record(seq))

    def left() -> int:
        with closing(sqlite3.connect(kept.path)) as other:
            return int(other.execute("SELECT count(*) FROM samples").fetchone()[0])

    wait_for(lambda: left() == 0, "no samples")
    small.close(30)
    assert kept.seqs()[0] == 1, "while there are samples, no event goes"
