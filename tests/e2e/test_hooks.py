"""Hooks with real processes: they gate a start or run beside it, and are never lost, doubled or left over."""

import contextlib
import os
import signal

from tests.e2e.harness import alive, until


def lines(hasup, name: str) -> list[str]:
    path = hasup.folder / name
    return path.read_text().splitlines() if path.exists() else []


def test_each_hook_comes_at_its_turn_and_is_told_what_happened(hasup):
    say = (
        'sh -c "echo $$HASUP_EVENT $$HASUP_STATE $$HASUP_RESTARTS [$$HASUP_RESULT] [$$HASUP_EXIT_CODE] '
        '[$$HASUP_SIGNAL] $$HASUP_REPLICA $$MINE >> ${PWD}/said"'
    )
    hasup.write("", "said")
    hasup.start(
        f"""
[programs.web]
command = "sh -c 'echo started >> said; exec sleep 1000'"
env = {{ MINE = "yes", PWD = "{hasup.folder}" }}
ready.after = "50ms"
restart.delay = "10ms"
[programs.web.hooks]
before_start = '{say}'
before_restart = '{say}'
on_ready = '{say}'
on_failed = '{say}'
"""
    )
    until(lambda: len(lines(hasup, "said")) == 3, "on_ready was run")
    assert lines(hasup, "said") == [
        "before_start starting 0 [] [] [] 1 yes",
        "started",
        "on_ready running 0 [] [] [] 1 yes",
    ]
    os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)
    until(lambda: len(lines(hasup, "said")) == 8, "it came back")
    told = lines(hasup, "said")[3:]
    assert sorted(told) == sorted(
        [
            "on_failed backoff 1 [signal] [] [SIGKILL] 1 yes",
            "before_restart starting 1 [signal] [] [SIGKILL] 1 yes",
            "before_start starting 1 [signal] [] [SIGKILL] 1 yes",
            "started",
            "on_ready running 1 [signal] [] [SIGKILL] 1 yes",
        ]
    )
    gates = [line.split()[0] for line in told if not line.startswith("on_failed")]
    assert gates == ["before_restart", "before_start", "started", "on_ready"]
    hasup.run("restart", "web")
    until(lambda: len(lines(hasup, "said")) == 11, "restarted")
    assert lines(hasup, "said")[8:10] == ["before_start starting 2 [operator] [] [SIGTERM] 1 yes", "started"]


def test_a_hook_that_fails_is_a_failed_start_with_its_words(hasup):
    done = hasup.start(
        """
[programs.web]
command = "sh -c 'echo started >> said; exec sleep 1000'"
ready.after = "50ms"
restart.delay = "10ms"
restart.max_delay = "200ms"
[programs.web.hooks]
before_start = "sh -c 'echo looking; test -e allowed || { echo no such luck; exit 7; }'"
""",
        code=1,
    )
    assert "its before_start hook failed: exit code 7: no such luck" in done.stderr
    failing = hasup.replica("web.1")
    assert failing["last"]["result"] == "hook-failed"
    assert failing["last"]["exit_code"] == 7
    assert failing["pid"] is None
    assert lines(hasup, "said") == []
    hasup.wait("web.1", "it tries again and again", lambda r: r["restarts"] >= 3)
    hasup.write("", "allowed")
    hasup.wait("web.1", "it starts once the hook succeeds", lambda r: r["ready"])
    assert lines(hasup, "said") == ["started"]
    assert "looking" in (hasup.state_dir / "logs" / "web.1.log").read_text(), "its output is in the replica's log"


def test_a_hook_that_cannot_be_executed_says_so(hasup):
    done = hasup.start(
        """
[programs.web]
command = "sleep 1000"
restart = "never"
hooks.before_start = "./not-there"
""",
        code=1,
    )
    assert "not-there" in done.stderr
    assert hasup.replica("web.1")["state"] == "failed"


def test_a_hook_that_takes_too_long_is_killed_with_all_that_it_started(hasup):
    hasup.write("sleep 1000 & echo $! > left\ntrap '' TERM\nwait\nwait\n", "slow.sh")
    hasup.start(
        """
[programs.web]
command = "sleep 1000"
restart.delay = "30s"
hooks = { before_start = "sh slow.sh", timeout = "300ms" }
""",
        code=1,
    )
    known = hasup.wait("web.1", "it failed", lambda r: r["state"] == "backoff")
    assert known["last"]["result"] == "hook-failed"
    assert "its before_start hook took longer than 0.3 s" in known["reason"]
    until(lambda: lines(hasup, "left") and not alive(int(lines(hasup, "left")[0])), "nothing of it is left")


SLOW = """
[programs.web]
command = "sh -c 'echo started >> said; exec sleep 1000'"
ready.after = "50ms"
hooks = { before_start = "sh slow.sh", timeout = "60s" }
"""
HELD = "echo $$ >> hooks\nwhile ! test -e go; do sleep 0.05; done\n"


def held(hasup) -> int:
    """A hook runs until there is a file ``go``; its pid."""
    hasup.write(HELD, "slow.sh")
    hasup.popen("start", stdout=None)
    until(lambda: (hasup.state_dir / "control.sock").exists(), "hasup runs")
    until(lambda: lines(hasup, "hooks"), "the hook runs")
    known = hasup.wait("web.1", "its hook runs", lambda r: r["state"] == "starting")
    assert "its before_start hook runs" in known["reason"]
    assert known["pid"] is None
    return int(lines(hasup, "hooks")[0])


def test_a_stop_ends_the_hook_and_no_start_follows(hasup):
    hasup.write(SLOW)
    pid = held(hasup)
    hasup.run("stop", "web")
    assert hasup.replica("web.1")["state"] == "stopped"
    assert not alive(pid)
    hasup.write("", "go")
    hasup.run("start", "web")
    assert hasup.replica("web.1")["ready"]
    assert lines(hasup, "said") == ["started"]
    assert len(lines(hasup, "hooks")) == 2


def test_a_new_core_neither_loses_nor_doubles_a_hook(hasup):
    hasup.write(SLOW)
    pid = held(hasup)
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
    assert alive(pid)
    assert hasup.replica("web.1")["state"] == "starting"
    hasup.write("", "go")
    hasup.wait("web.1", "the new core hears of its end", lambda r: r["ready"])
    assert lines(hasup, "hooks") == [str(pid)]
    assert lines(hasup, "said") == ["started"]


def test_a_new_core_hears_of_a_hook_that_ended_meanwhile(hasup):
    hasup.write(SLOW)
    held(hasup)
    core = hasup.status()["supervisor"]["core_pid"]
    os.kill(core, signal.SIGSTOP)  # it can't hear of the hook's end
    hasup.write("", "go")
    until(lambda: not alive(int(lines(hasup, "hooks")[0])), "the hook ended")
    with contextlib.suppress(ProcessLookupError):  # the guardian may have found it hung
        os.kill(core, signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] >= 1, "a new core")
    hasup.wait("web.1", "started", lambda r: r["ready"])
    assert len(lines(hasup, "hooks")) == 1
    assert lines(hasup, "said") == ["started"]


def test_what_is_told_of_a_failure_is_told_to_its_end_before_hasup_ends(hasup):
    hasup.write("sleep 0.3\necho $HASUP_RESULT $HASUP_EXIT_CODE >> told\n", "tell.sh")
    hasup.write(
        """
[programs.job]
command = "sh -c 'exit 4'"
essential = true
restart = "never"
hooks.on_failed = "sh tell.sh"
"""
    )
    assert hasup.popen("start", stdout=None).wait(60) == 1
    assert lines(hasup, "told") == ["exit-code 4"]
