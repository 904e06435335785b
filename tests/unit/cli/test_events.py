"""``hasup events``: out of the journal, and then as it happens, without a gap."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from hasup.cli.eventlist import line
from hasup.cli.terminal import Terminal
from hasup.journal import Journal, read_events
from hasup.model.status import EventRecord
from tests.support.cli import Place

PLAIN = Terminal(colour=False, unicode=True, width=None, interactive=False)


def event(seq: int, replica: str | None = "web.1", kind: str = "state", **more: Any) -> EventRecord:
    fields: dict[str, Any] = {"from_": "running", "to": "backoff", "reason": f"reason {seq}"}
    at = f"2026-01-31T12:00:{seq:02}Z"
    return EventRecord(seq=seq, at=at, event=kind, replica=replica, **(fields | more))


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def write(place: Place, *events: EventRecord) -> None:
    place.state_dir.mkdir(exist_ok=True)
    journal = Journal(str(place.state_dir / "journal.db"), print)
    for one in events:
        journal.append(one)
    assert journal.close(30)


def test_the_whole_list(place: Place) -> None:
    write(
        place,
        event(1, to="starting", from_="stopped", reason="started by operator"),
        event(2, "db.1", "ready", from_="starting", to="running", reason="READY=1"),
        event(3, None, "scale", program="web", from_=None, to=None, reason="scaled to 3 by operator"),
        event(4, None, "shutdown", from_=None, to=None, reason="stopped by operator"),
        event(5, kind="degraded", from_="running", to="running", reason="slow: 600 ms"),
    )
    assert place.hasup("events") == (
        0,
        """\
2026-01-31 12:00:01  web.1           state       stopped → starting  started by operator
2026-01-31 12:00:02  db.1            ready       starting → running  READY=1
2026-01-31 12:00:03  web             scale       scaled to 3 by operator
2026-01-31 12:00:04  hasup           shutdown    stopped by operator
2026-01-31 12:00:05  web.1           degraded    slow: 600 ms
""",
        "",
    )


def test_a_line_in_colour_and_in_ascii() -> None:
    assert "\x1b[33mrunning → backoff\x1b[0m" in line(event(1), PLAIN._replace(colour=True))
    assert "running > backoff" in line(event(1), PLAIN._replace(unicode=False))
    assert "\x1b" not in line(event(1, reason="\x1b[31m"), PLAIN)


def test_json_is_one_object_a_line(place: Place) -> None:
    write(place, event(1, detail={"exit_code": 3}), event(2, None, from_=None, to=None))
    first, second = map(json.loads, place.hasup("events", "--json").out.splitlines())
    assert first == {
        "seq": 1, "at": "2026-01-31T12:00:01Z", "event": "state", "from": "running", "to": "backoff",
        "reason": "reason 1", "replica": "web.1", "program": None, "detail": {"exit_code": 3},
    }  # fmt: skip
    assert (second["from"], second["replica"]) == (None, None)


@pytest.mark.parametrize(
    ("argv", "seqs"),
    [
        ([], [1, 2, 3, 4]),
        (["web"], [1, 3]),
        (["web.2", "db"], [2, 3]),
        (["--kind", "ready"], [2]),
        (["-n", "2"], [3, 4]),
        (["-n", "0"], []),
        (["--since", "2026-01-31T12:00:03"], [3, 4]),
        (["--since", "2026-01-31T13:00:04+01:00"], [4]),
        (["--since", "1s"], []),
        (["--until", "2026-01-31T12:00:02"], [1]),
        (["--since", "2026-01-31T12:00:02", "--until", "2026-01-31T12:00:04"], [2, 3]),
        (["--result", "signal"], [1, 3]),
        (["--result", "signal", "--result", "heartbeat", "-n", "2"], [2, 3]),
        (["--result", "signal", "--kind", "ready"], []),
    ],
)
def test_what_is_asked_for(place: Place, argv: list[str], seqs: list[int]) -> None:
    signal, heartbeat = {"result": "signal"}, {"result": "heartbeat"}
    write(
        place,
        event(1, detail=signal),
        event(2, "db.1", "ready", detail=heartbeat),
        event(3, "web.2", detail=signal),
        event(4, None),
    )
    ended = place.hasup("events", "--json", *argv)
    assert [json.loads(one)["seq"] for one in ended.out.splitlines()] == seqs


def test_nothing_has_happened_yet(place: Place) -> None:
    assert place.hasup("events") == (0, "", "")


def test_a_journal_that_cannot_be_read(place: Place) -> None:
    place.state_dir.mkdir()
    (place.state_dir / "journal.db").write_bytes(b"no database" * 1000)
    said = f"the journal {place.state_dir}/journal.db can't be read: file is not a database"
    again = "it is set aside and begun anew when hasup writes to it"
    assert place.hasup("events") == (1, "", f"hasup: {said}; {again}\n")


def test_following_has_no_end(place: Place) -> None:
    assert place.hasup("events", "-f", "--until", "1s").code == 2


def test_following_needs_a_running_hasup(place: Place) -> None:
    assert place.hasup("events", "-f").code == 3


class Follower:
    """``hasup events -f --json`` in a process of its own."""

    def __init__(self, folder: Path, *argv: str) -> None:
        command = [sys.executable, "-m", "hasup", "events", "-f", "--json", *argv]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=folder, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self.process:
            self.process.kill()

    def seqs(self, count: int) -> list[int]:
        assert self.process.stdout is not None
        return [json.loads(self.process.stdout.readline())["seq"] for _ in range(count)]

    def end(self) -> tuple[int, str]:
        """After hasup ended: the exit code, and what was said."""
        out, err = self.process.communicate(timeout=60)
        assert out == ""
        return self.process.returncode, err


def test_following_has_no_gap_and_nothing_twice(place: Place) -> None:
    """While the follower connects, events are told before they are in the journal, and the other way round."""
    journal_path = str(place.state_dir / "journal.db")
    write(place, *(event(seq) for seq in range(1, 4)))
    followed = threading.Event()

    def follow(_params: Any, peer: Any) -> dict[str, int]:
        peer.follow()
        followed.set()
        return {"seq": 5}  # 4 and 5 happened already, and will be in the journal in a moment

    running = place.answers(follow=follow)
    with Follower(place.folder) as follower:
        assert follower.seqs(3) == [1, 2, 3]
        assert followed.wait(30)
        write(place, event(4), event(5))
        running.call(lambda: running.server.broadcast("event", event(5)))  # known already, or just in time
        running.call(lambda: running.server.broadcast("event", event(6)))
        assert follower.seqs(3) == [4, 5, 6]
        write(place, event(6), event(7), event(8), event(9))
        running.call(lambda: running.server.broadcast("event", event(9)))  # 7 and 8 were not told
        assert follower.seqs(3) == [7, 8, 9]
        followed.clear()
        running.call(lambda: next(iter(running.server._peers)).close())  # a new core: it follows again
        assert followed.wait(30)
        running.call(lambda: running.server.broadcast("event", event(10)))
        assert follower.seqs(1) == [10]
        place.stop_answering()
        assert follower.end() == (0, "hasup: hasup has ended\n")
        assert [one.seq for one in read_events(journal_path)][-1] == 9


def test_following_some_names(place: Place) -> None:
    write(place, *(event(seq, "db.1") for seq in range(1, 40)), event(40))
    running = place.answers(follow=lambda _params, peer: peer.follow() or {"seq": 40})
    with Follower(place.folder, "web", "-n", "5") as follower:
        assert follower.seqs(1) == [40]
        while not running.server.followers:
            assert follower.process.poll() is None
            threading.Event().wait(0.01)
        running.call(lambda: running.server.broadcast("event", event(41, "db.1")))
        running.call(lambda: running.server.broadcast("event", event(42, "web.2")))
        assert follower.seqs(1) == [42]
