"""Each row of the table in docs/explanation/health.md, on real processes: what ails a program, what hasup makes of it.

One hasup runs all of them side by side, each with an ailment of its own.
"""

import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import Hasup, alive, until

ILL = "${HASUP_PYTHON} -m hasup.demo.ailing"
REST = 'restart = { delay = "1h", max_delay = "1h" }\n'
AT_ONCE = 'restart = { delay = "50ms", max_delay = "50ms" }\n'
HTTP = 'http = "http://127.0.0.1:${PORT}/"'


def ailing(name: str, what: str, *options: str) -> str:
    """A program that rests for good after its first failure, so that a test may look at it at leisure."""
    return f'[programs.{name}]\ncommand = "{ILL} {what}"\nready.notify = true\n{REST}' + "".join(
        f"{option}\n" for option in options
    )


def configuration(taken: int) -> str:
    return "".join([
        ailing("deadlock", "deadlock", 'heartbeat.timeout = "1s"', "env.PYTHONFAULTHANDLER = '1'"),
        ailing("busy", "busy", 'limits.cpu = { above = "10%", for = "1s" }'),
        ailing("leak", "leak", 'limits.memory = "60MiB"'),
        ailing("files", "descriptors", "limits.open_files = 40"),
        ailing("threads", "threads", "limits.threads = 30"),
        ailing("zombies", "children", "limits.processes = 30"),
        ailing("old", "silent", 'port = "auto"', 'limits.age = "2s"'),
        ailing("trio", "silent", 'port = "auto"', 'limits.age = "1s"').replace(REST, AT_ONCE + "replicas = 3\n"),
        ailing("warned", "threads", 'limits.threads = { above = 10, action = "warn" }'),
        ailing("ended", "threads", 'limits.threads = { above = 10, action = "stop" }'),
        ailing("told", "threads", 'limits.threads = { above = 10, action = "signal:USR1" }'),
        ailing("silent", "silent", 'port = "auto"', f'health = {{ {HTTP}, interval = "200ms", timeout = "500ms", '
               'failures = 4 }'),
        ailing("slow", "slow", 'port = "auto"', f'health = {{ {HTTP}, interval = "100ms", '
               'timeout = "30s", slow = "200ms" }'),
        ailing("crash", "crash"),
        f'[programs.loop]\ncommand = "{ILL} crash --after 0.2"\nready.notify = true\n'
        'restart = { delay = "10ms", limit = 3, on_limit = "fail" }\n',
        ailing("taken", "silent", f"port = {taken}"),
        f'[programs.mute]\ncommand = "sleep 1000"\nready = {{ notify = true, timeout = "1s" }}\n{REST}',
        f'[programs.db]\ncommand = "sleep 1000"\nready.after = "50ms"\n{REST}',
        '[programs.follows]\ncommand = "sleep 1000"\nready.after = "50ms"\n'
        'depends_on = { db = { condition = "ready", restart = true } }\n',
        '[programs.stays]\ncommand = "sleep 1000"\nready.after = "50ms"\ndepends_on = ["db"]\n',
    ])  # fmt: skip


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hasup]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hasup = Hasup(tmp_path_factory.mktemp("ward"))
        hasup.start(configuration(taken.getsockname()[1]), code=None)
        yield hasup
        assert hasup.end() == [], "processes were left after hasup stop"


def result(ward: Hasup, name: str) -> dict[str, Any]:
    """The replica, when its first run has ended."""
    return ward.wait(f"{name}.1", "ended", lambda r: r["last"] is not None and r["pid"] is None)


def why(ward: Hasup, name: str) -> dict[str, Any]:
    return json.loads(ward.run("why", name, "--json").stdout)


def test_a_deadlock_misses_its_heartbeat(ward):
    assert result(ward, "deadlock")["last"]["result"] == "heartbeat"
    story = why(ward, "deadlock")
    assert story["what"]["reason"] == "no sign of life for 1 s"
    assert story["evidence"]["looks"][-1]["threads"] == 2
    assert sum(" in take" in line for line in story["evidence"]["stack"]) == 2, "both threads are shown where they wait"


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("busy", "cpu", "above 10% for 1 s"),
        ("leak", "memory", "above 60.0 MiB"),
        ("files", "open-files", "above 40"),
        ("threads", "threads", "above 30"),
        ("zombies", "processes", "above 30"),
        ("old", "age", "above 2 s"),
    ],
)
def test_too_much_of_something(ward, name, outcome, words):
    assert result(ward, name)["last"]["result"] == outcome
    story = why(ward, name)
    assert words in story["what"]["reason"]
    assert story["what"]["symptom"] == outcome
    assert story["did"][0]["what"] == "asked it to end"
    assert story["evidence"]["looks"], "it was looked at before"


def test_replicas_over_a_limit_are_replaced_one_by_one(ward):
    def moves() -> list[tuple[str, str]]:
        return [(event["replica"], event["to"]) for event in ward.events(program="trio", event="state")]

    until(lambda: moves().count(("trio.1", "stopping")) and len(moves()) > 20, "all were replaced")
    away = {"trio.1", "trio.2", "trio.3"}
    begun = False
    for replica, to in moves():
        (away.discard if to == "running" else away.add)(replica)
        begun = begun or not away
        assert not begun or len(away) <= 1, "one after another"
    assert begun


def test_a_limit_may_only_warn(ward):
    until(lambda: ward.events(replica="warned.1", event="limit"), "a warning")
    known = ward.replica("warned.1")
    assert (known["state"], known["restarts"]) == ("running", 0)
    assert why(ward, "warned")["did"][0]["what"] == "warned"


def test_a_limit_may_stop_for_good(ward):
    known = ward.wait("ended.1", "stopped", lambda r: r["state"] == "stopped" and r["last"] is not None)
    assert (known["last"]["result"], known["wanted"]) == ("threads", False)


def test_a_limit_may_send_a_signal(ward):
    known = result(ward, "told")
    assert (known["last"]["result"], known["last"]["signal"]) == ("signal", "SIGUSR1")


def test_a_server_that_accepts_but_never_answers(ward):
    assert result(ward, "silent")["last"]["result"] == "health"
    events = [
        event["event"] if event["from"] == event["to"] else event["to"] for event in ward.events(replica="silent.1")
    ]
    assert events.index("running") < events.index("not-ready") < events.index("aborting"), (
        "first it gets no connections"
    )
    assert "within 0.5 s" in why(ward, "silent")["what"]["reason"]


def test_slow_answers_degrade_it_and_fast_ones_restore_it(ward):
    until(lambda: ward.events(replica="slow.1", event="restored"), "fast again")
    assert ward.events(replica="slow.1", event="degraded")
    known = ward.replica("slow.1")
    assert (known["state"], known["restarts"]) == ("running", 0), "it was not ended for that"


def test_a_crash_at_the_start(ward):
    known = result(ward, "crash")
    assert (known["state"], known["last"]["result"], known["last"]["exit_code"]) == ("backoff", "exit-code", 3)
    assert known["next_start_s"] is not None
    assert why(ward, "crash")["evidence"]["output"][-1] == "something went wrong"


def test_a_crash_after_a_while_for_ever(ward):
    known = ward.wait("loop.1", "given up", lambda r: r["state"] == "failed")
    assert (known["last"]["result"], known["restarts"]) == ("limit", 3)
    story = why(ward, "loop")
    assert story["what"]["within_an_hour"]["exit-code"] >= 3
    assert story["try"][-2] == "mend the cause, then: hasup start loop.1"


def test_a_port_that_is_taken(ward):
    known = result(ward, "taken")
    assert (known["last"]["result"], known["last"]["exit_code"]) == ("exit-code", 1)
    story = why(ward, "taken")
    assert "Address already in use" in story["evidence"]["stack"][-1]
    assert story["try"][0].startswith("its port is taken")


def test_a_start_that_does_not_come_to_an_end(ward):
    known = result(ward, "mute")
    assert known["last"]["result"] == "start-timeout"
    assert "not ready within 1 s" in why(ward, "mute")["what"]["reason"]


def test_a_dependency_that_goes_away(ward):
    before = ward.wait("follows.1", "running", lambda r: r["ready"])
    stays = ward.wait("stays.1", "running", lambda r: r["ready"])
    os.kill(ward.replica("db.1")["pid"], signal.SIGKILL)
    waiting = ward.wait("follows.1", "waits for it", lambda r: r["state"] == "waiting")
    assert waiting["reason"] == "waits for db to be ready"
    assert not alive(before["pid"])
    known = ward.replica("stays.1")
    assert (known["state"], known["pid"]) == ("running", stays["pid"]), "it did not ask for that"
    ward.run("start", "db")
    ward.wait("follows.1", "running again", lambda r: r["ready"])
