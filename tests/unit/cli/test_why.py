"""``hasup why``: the whole page."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hasup.journal import Journal
from hasup.model.status import EventRecord
from hasup.runtime import records
from tests.support.cli import Place, last, program, replica, status

LOOK = {
    "at": "2026-01-31T12:00:10Z", "why": "no sign of life for 10 s", "pid": 7, "state": "S (sleeping)", "threads": 12,
    "memory_kib": 317_645, "waits_in": "futex_wait_queue", "zombies": 2, "children": ["8 sleep, S (sleeping)"],
    "open_files": {"count": 40, "limit": 1024, "kinds": {"socket": 31, "file": 8, "pipe": 1}, "first": {}},
    "sockets": ["127.0.0.1:8000 listening, 3 connections wait to be accepted"],
}  # fmt: skip
RECORD = {
    "replica": "web.2", "generation": 4, "command": ["python", "-m", "shop"], "environment_names": ["HOME"],
    "looks": [LOOK],
    "end": {"result": "heartbeat", "exit_code": None, "signal": "SIGABRT", "core_dump": True, "detail": ""},
    "output": ["waiting for a connection"],
    "py_spy": ['Thread 7 (idle): "MainThread"', "    acquire (shop/pool.py:88)", "    main (shop/worker.py:12)"],
    "samples": [
        {"ago_s": 300.0, "memory_bytes": 120 << 20, "cpu_percent": 1.0, "threads": 4},
        {"ago_s": 10.0, "memory_bytes": 310 << 20, "cpu_percent": 4.0, "threads": 12},
    ],
}  # fmt: skip
PAGE = """\
web.2 is in backoff: no sign of life for 10 s; restart in 1.6 s
  what    heartbeat: no sign of life for 10 s, at 12:00:10 (20s ago, 8.0s after its start)
  end     killed by SIGABRT, core dumped
  doing   S (sleeping) in futex_wait_queue, 12 threads, 310.2 MiB, 40 descriptors (31 socket, 8 file, 1 pipe), \
1 children, 2 zombies
  sockets 127.0.0.1:8000 listening, 3 connections wait to be accepted
  stack   pool.py:88 acquire < worker.py:12 main
  samples memory 120 to 310 MiB, processor 1 to 4%, threads 4 to 12 over 4m 50s
  said    waiting for a connection
  hasup   12:00:10 took evidence and sent the abort signal; 12:00:11 waits before the next try
  next    started again in 0.4s
  try     if its work takes longer by nature, raise heartbeat.timeout
          hasup logs web.2 -n 100
  more    {path}
"""


def event(seq: int, old: str, new: str, reason: str, slot: str = "web.2", **detail: Any) -> EventRecord:
    at = f"2026-01-31T12:00:{seq:02}Z"
    return EventRecord(seq, at, "state", old, new, reason, slot, slot.rpartition(".")[0], {"generation": 4} | detail)


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is UTC, and it is half a minute past noon."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("hasup.cli.explain.time.time", lambda: 1_769_860_830.0)
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def hang(place: Place) -> Place:
    """web.2 hung, and waits to be started again; the others did not."""
    place.state_dir.mkdir()
    journal = Journal(str(place.state_dir / "journal.db"), print)
    for one in (
        event(2, "backoff", "starting", "started again"),
        event(3, "starting", "running", "ready: it said so (READY=1)"),
        event(
            5, "running", "backoff", "exited with code 3; restart in 0.1 s", "web.3", result="exit-code", exit_code=3
        ),
        event(6, "backoff", "starting", "started again", "web.3", generation=5),
        event(10, "running", "aborting", "hung: no sign of life for 10 s"),
        event(11, "aborting", "backoff", "no sign of life for 10 s; restart in 1.6 s", result="heartbeat"),
    ):
        journal.append(one)
    assert journal.close(30)
    records.write(str(place.state_dir), "web.2", 4, RECORD)
    resting = replica(
        "web.2", "backoff", False, reason="no sign of life for 10 s; restart in 1.6 s", next_start_s=0.4,
        last=last("heartbeat", "2026-01-31T12:00:11Z", signal="SIGABRT"),
    )  # fmt: skip
    place.answers(status=status(program("web", replica("web.1"), resting, replica("web.3"), groups=["shop"])))
    return place


def test_the_whole_page(hang: Place) -> None:
    path = records.path(str(hang.state_dir), "web.2", 4)
    assert hang.hasup("why", "web.2") == (0, PAGE.format(path=path), "")


@pytest.mark.parametrize("name", ["web", "shop"])
def test_of_several_the_one_that_was_in_trouble_last(hang: Place, name: str) -> None:
    path = records.path(str(hang.state_dir), "web.2", 4)
    assert hang.hasup("why", name).out == PAGE.format(path=path) + "  also    in trouble before: web.3\n"


def test_a_replica_that_stood_in_and_is_gone(hang: Place) -> None:
    journal = Journal(str(hang.state_dir / "journal.db"), print)
    journal.append(event(12, "starting", "backoff", "exited with code 9; restart in 1 s", "web.4", result="exit-code"))
    assert journal.close(30)
    records.write(str(hang.state_dir), "web.4", 4, {"end": {"exit_code": 9}, "output": ["no such table"]})
    lines = hang.hasup("why", "web").out.splitlines()
    assert lines[0].startswith("web.4 is gone: ")
    assert "  said    no such table" in lines
    assert "  next    nothing: it is no more" in lines
    assert lines[-1] == "  also    in trouble before: web.2, web.3"
    assert hang.hasup("why", "web.4").out.splitlines() == lines[:-1]


def test_why_there_are_so_many(place: Place) -> None:
    reason = "cpu 82% of a core per replica, over the target of 60%: 2 to 3"
    scaled = {"replicas": 3, "min": 2, "max": 8, "held": False, "reason": reason}
    place.answers(status=status(program("web", replica("web.3"), autoscale=scaled)))
    assert place.hasup("why", "web").out.splitlines()[2] == f"  scaled  {reason}"
    assert json.loads(place.hasup("why", "web.3", "--json").out)["autoscale"] == scaled


def test_several_names(hang: Place) -> None:
    ended = hang.hasup("why", "web.1", "web.3")
    assert ended.out.startswith(
        "web.1 is running: it is ready\n"
        "  what    nothing has happened to it, as far as the journal goes\n"
        "  next    nothing: it is ready\n"
        "\n"
        "web.3 is running: it is ready\n"
        "  what    exit-code: exited with code 3, at 12:00:05 (25s ago)\n"
        "  end     exit code 3\n"
        "  hasup   12:00:05 waits before the next try; 12:00:06 started it again\n"
    )
    documents = json.loads(hang.hasup("why", "web.1", "web.2", "--json").out)
    assert [document["replica"] for document in documents] == ["web.1", "web.2"]


def test_as_json(hang: Place) -> None:
    document = json.loads(hang.hasup("why", "web", "--json").out)
    assert document["what"] == {
        "symptom": "heartbeat", "reason": "no sign of life for 10 s", "at": "2026-01-31T12:00:10Z", "generation": 4,
        "exit_code": None, "signal": "SIGABRT", "core_dump": True, "lived_s": 8.0, "within_an_hour": {"heartbeat": 1},
    }  # fmt: skip
    assert document["evidence"] == RECORD
    assert (document["state"], document["ready"], document["next_start_s"]) == ("backoff", False, 0.4)
    assert document["others"] == ["web.3"]


def test_hasup_is_stopped(hang: Place) -> None:
    hang.stop_answering()
    title, *lines = hang.hasup("why", "web").out.splitlines()
    assert title == "web.2: hasup is not running"
    assert "  next    nothing: hasup is not running; hasup start begins anew" in lines
    (hang.folder / "hasup.toml").write_text("this is no configuration")
    assert hang.hasup("why", "web").code == 0, "whatever became of the file since"


def test_unknown_names(hang: Place) -> None:
    assert hang.hasup("why", "wob") == (
        4,
        "",
        "hasup: no program, replica or group is named 'wob' (did you mean web?)\n",
    )
    hang.stop_answering()
    assert hang.hasup("why", "wob").code == 4


def test_without_a_name(place: Place) -> None:
    assert place.hasup("why").code == 2
