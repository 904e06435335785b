"""Each way of being ready, with real programs."""

import re

import pytest

PYTHON = "${HASUP_PYTHON}"
WEB = f'command = "{PYTHON} -m hasup.demo.web"\nport = "auto"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('command = "sleep 100"\nready.after = "200ms"\n', r"alive for 0\.2 s"),
        (f'command = "{PYTHON} -m hasup.demo.db --start 0.1"\nready.notify = true\n', r"READY=1"),
        (WEB + 'ready.tcp = "127.0.0.1:${PORT}"\n', "its probe succeeded"),
        (WEB + 'ready.http = "http://localhost:${PORT}/healthz"\n', "its probe succeeded"),
        (WEB + 'ready = { http = "http://127.0.0.1:${PORT}/x", body = "^a\\\\.1 ", status = [200] }\n', "succeeded"),
        (
            'command = "sh -c \'sleep 0.3; touch there; sleep 100\'"\nready.exec = "test -e there"\n',
            "its probe succeeded",
        ),
        (WEB + "ready.log = 'listening on .*\\d'\n", "it wrote .listening on"),
    ],
)
def test_ready_by(hasup, text, reason):
    hasup.start(f"[programs.a]\n{text}")
    assert hasup.replica("a.1")["ready"]
    event = hasup.events(replica="a.1", to="running")[0]
    assert re.search(reason, event["reason"]), event


def test_a_shell_script_says_it_with_hasup_notify(hasup):
    hasup.start(
        f'[programs.a]\ncommand = "{PYTHON} -m hasup notify --ready --status working; exec sleep 100"\nshell = true\n'
        "ready.notify = true\n"
    )
    replica = hasup.wait("a.1", "says what it does", lambda r: r["status_text"] == "working")
    assert replica["ready"]


def test_a_health_probe_finds_a_server_that_accepts_but_never_answers(hasup):
    hasup.start(
        f"[programs.a]\n{WEB}"
        'ready.http = "http://127.0.0.1:${PORT}/healthz"\nabort = { signal = "KILL" }\n'
        'health = { http = "http://127.0.0.1:${PORT}/healthz", interval = "200ms", timeout = "500ms", failures = 2 }\n'
    )
    before = hasup.replica("a.1")
    with pytest.raises(OSError, match="timed out"):
        from tests.e2e.harness import get

        get(f"http://127.0.0.1:{before['port']}/hang", timeout=0.5)
    after = hasup.wait("a.1", "replaced", lambda r: r["ready"] and r["pid"] != before["pid"])
    assert after["last"]["result"] == "health"
    assert any("connected, but got no answer" in e["reason"] for e in hasup.events(replica="a.1"))


def test_dependencies_come_first(hasup):
    hasup.start(
        '[programs.app]\ncommand = "sleep 100"\nready.after = "50ms"\n'
        'depends_on = { db = "ready", task = "completed" }\n'
        f'[programs.db]\ncommand = "{PYTHON} -m hasup.demo.db --start 0.3"\nready.notify = true\n'
        f'[programs.task]\ncommand = "{PYTHON} -m hasup.demo.migrate"\nkind = "task"\ndepends_on = ["db"]\n'
    )
    order = [(e["replica"], e["to"]) for e in hasup.events(event="state")]
    assert order.index(("db.1", "running")) < order.index(("task.1", "starting"))
    assert order.index(("task.1", "completed")) < order.index(("app.1", "starting"))
    assert hasup.replica("task.1")["state"] == "completed"
    waits = [e["reason"] for e in hasup.events(replica="app.1", to="waiting")]
    assert waits == ["waits for db to be ready", "waits for task to complete"]
