"""Crashes, hangs, leaks and failed starts: each is noticed, and the replica comes back."""

import os
import signal

import pytest

from tests.e2e.harness import alive, until

PYTHON = "${HASUP_PYTHON}"


def test_a_killed_replica_is_replaced(hasup):
    hasup.start('[programs.web]\ncommand = "sleep 1000"\nready.after = "50ms"\nreplicas = 2\n')
    before = hasup.replicas()
    os.kill(before["web.1"]["pid"], signal.SIGKILL)
    after = hasup.wait("web.1", "running again", lambda r: r["state"] == "running" and r["restarts"] == 1)
    assert after["pid"] != before["web.1"]["pid"]
    assert after["last"]["result"] == "signal"
    assert after["last"]["signal"] == "SIGKILL"
    measured = {"uptime_s": 0, "cpu_percent": 0, "seconds_in_state": {}}
    assert hasup.replica("web.2") | measured == before["web.2"] | measured, "its neighbour was not touched"
    reasons = [event["reason"] for event in hasup.events(replica="web.1")]
    assert any("killed by SIGKILL" in reason for reason in reasons)
    assert all(reasons), "every change has a reason"


def test_a_stopped_process_misses_its_heartbeat(hasup):
    hasup.start(
        f'[programs.worker]\ncommand = "{PYTHON} -m hasup.demo.worker --hang-after 1000"\n'
        'ready.notify = true\nheartbeat.timeout = "2s"\nabort.timeout = "1s"\n'
    )
    pid = hasup.replica("worker.1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    after = hasup.wait("worker.1", "replaced", lambda r: r["ready"] and r["pid"] != pid)
    assert after["last"]["result"] == "heartbeat"
    assert not alive(pid)
    evidence = hasup.events(replica="worker.1", event="evidence")
    assert evidence[0]["detail"]["state"].startswith("T"), "it was seen to be stopped"


def test_a_leak_is_noticed(hasup):
    hasup.start(
        f'[programs.leaker]\ncommand = "{PYTHON} -m hasup.demo.leaker --rate 80"\nready.after = "50ms"\n'
        'limits.memory = "60MiB"\n'
    )
    after = hasup.wait("leaker.1", "restarted", lambda r: r["restarts"] >= 1 and r["last"])
    assert after["last"]["result"] == "memory"
    assert "above 60.0 MiB" in hasup.events(replica="leaker.1", event="limit")[0]["reason"]


def test_a_busy_loop_is_noticed(hasup):
    hasup.start(
        '[programs.busy]\ncommand = ["sh", "-c", "while :; do :; done"]\nready.after = \'50ms\'\n'
        'limits.cpu = { above = "20%", for = "1s" }\n'
    )
    after = hasup.wait("busy.1", "restarted", lambda r: r["restarts"] >= 1 and r["last"])
    assert after["last"]["result"] == "cpu"


def test_the_delay_of_a_crash_loop_grows_and_the_limit_gives_up(hasup):
    hasup.start(
        '[programs.bad]\ncommand = "false"\n'
        'restart = { delay = "10ms", factor = 2, jitter = 0, limit = 4, on_limit = "fail" }\n',
        code=1,
    )
    last = hasup.wait("bad.1", "failed", lambda r: r["state"] == "failed")
    assert last["last"]["result"] == "limit"
    assert last["restarts"] == 4
    reasons = [e["reason"] for e in hasup.events(replica="bad.1", to="backoff")]
    assert [reason.partition("; ")[2] for reason in reasons] == [
        "restart in 0.0 s",
        "restart in 0.0 s",
        "restart in 0.0 s",
        "restart in 0.1 s",
    ]
    assert hasup.run("start", "bad", code=1).stderr.startswith("hasup: "), "started again by hand, it fails again"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/no/such/program", "/no/such/program does not exist"),
        ("no-such-program-anywhere", "'no-such-program-anywhere' was not found in PATH"),
        ("./not-executable", "permission denied"),
        ("./bad-interpreter", "bad interpreter: /no/such/shell"),
    ],
)
def test_what_cannot_be_executed_says_why(hasup, command, words):
    (hasup.folder / "not-executable").write_text("#!/bin/sh\n")
    (hasup.folder / "bad-interpreter").write_text("#!/no/such/shell\n")
    (hasup.folder / "bad-interpreter").chmod(0o755)
    done = hasup.start(f'[programs.a]\ncommand = "{command}"\n', code=1)
    assert words in done.stderr
    state = hasup.replica("a.1")
    assert state["last"]["result"] == "spawn-failed"
    assert words in state["last"]["detail"]
    assert state["wanted"], "hasup goes on trying"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ('directory = "gone"', "gone does not exist"),
        ('user = "no-such-user"', "user 'no-such-user' does not exist"),
    ],
)
def test_surroundings_that_are_not_there(hasup, options, words):
    done = hasup.start(f'[programs.a]\ncommand = "sleep 100"\n{options}\n', code=1)
    assert words in done.stderr
    assert hasup.replica("a.1")["last"]["result"] == "spawn-failed"


def test_a_program_that_never_becomes_ready(hasup):
    done = hasup.start(
        '[programs.a]\ncommand = "sleep 1000"\nready = { tcp = "127.0.0.1:9", timeout = "500ms", interval = "50ms" }\n',
        code=1,
    )
    assert "not ready within 0.5 s (connection refused)" in done.stderr
    hasup.wait("a.1", "tried again", lambda r: r["restarts"] >= 1 and r["last"]["result"] == "start-timeout")


def test_policies(hasup):
    hasup.start(
        '[programs.once]\ncommand = "true"\nrestart = "on-failure"\n'
        '[programs.never]\ncommand = "sh -c \'exit 5\'"\nrestart = "never"\n'
        '[programs.odd]\ncommand = "sh -c \'exit 9\'"\nrestart = { policy = "on-failure", success_exit_codes = [9] }\n',
        code=None,
    )
    until(lambda: all(r["state"] in ("completed", "failed") for r in hasup.replicas().values()), "all at rest")
    states = {name: (r["state"], r["last"]["result"]) for name, r in hasup.replicas().items()}
    assert states == {
        "once.1": ("completed", "success"),
        "never.1": ("failed", "exit-code"),
        "odd.1": ("completed", "success"),
    }


def test_an_essential_program_ends_hasup(hasup):
    hasup.write(
        '[programs.main]\ncommand = "sh -c \'sleep 0.5; exit 4\'"\nessential = true\nrestart = "never"\n'
        '[programs.other]\ncommand = "sleep 1000"\n'
    )
    foreground = hasup.popen("start")
    output, _ = foreground.communicate(timeout=60)
    assert foreground.returncode == 1
    assert "main.1 is essential" in output
