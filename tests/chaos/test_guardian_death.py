"""The guardian dies at a bad moment, cannot kill, or is the first process of all; the core does not come up."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.hostile import Faults, assert_supervised, core_of, group, needs_freezer, root_only
from tests.e2e.harness import ROOT, alive, of_instance, until

pytestmark = pytest.mark.chaos

QUIET = (
    '[programs.quiet]\ncommand = "sleep 1000"\nready.after = "10ms"\nrestart.delay = "20ms"\nstop.timeout = "500ms"\n'
)

GUARDIAN = """
import os, socket, subprocess, sys
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
env = os.environ | {"HASUP_INSTANCE": os.environ.pop("INSTANCE"), "HASUP_GUARDIAN_FD": str(theirs.fileno())}
subprocess.Popen(["sleep", "1000"], env=env, start_new_session=True)
subprocess.Popen([sys.executable, "-m", "hasup.runtime"], env=env, pass_fds=[theirs.fileno()]).wait()
"""


def test_it_dies_while_the_new_core_knows_nothing_yet(hasup):
    """The new core has not read a word: what it was to supervise it can only find by the instance."""
    faults = Faults(hasup)
    hasup.start(QUIET)
    supervisor, instance = hasup.status()["supervisor"], hasup.instance()["instance"]
    guardian = supervisor["guardian_pid"]
    faults.begin("core-waits")
    os.kill(supervisor["core_pid"], signal.SIGKILL)
    until(lambda: core_of(guardian) not in (None, supervisor["core_pid"]), "a new core is there")
    os.kill(guardian, signal.SIGKILL)
    until(lambda: not alive(guardian), "the guardian is gone")
    faults.end("core-waits")
    until(lambda: of_instance(instance) == [], "nothing is left")
    hasup.run("status", code=3)


def has_open(pid: int, kind: str) -> bool:
    """Whether a process has a descriptor of this kind, at some moment while it is looked at."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if kind in os.readlink(fd):
                return True
    return False


def test_it_dies_before_the_new_core_was_told_anything(tmp_path):
    instance = os.urandom(16).hex()
    guardian = subprocess.Popen(
        [sys.executable, "-c", GUARDIAN],
        env=os.environ | {"PYTHONPATH": str(ROOT / "supervisor"), "INSTANCE": instance},
    )
    try:
        until(lambda: len(of_instance(instance)) == 2, "a core and a program")
        core = until(lambda: core_of(guardian.pid), "the core")
        until(lambda: has_open(core, "eventpoll"), "it waits")
    finally:
        guardian.kill()
        guardian.wait()
    until(lambda: of_instance(instance) == [], "nothing is left")


def test_it_dies_while_children_are_being_stopped(hasup):
    """Also one that ignores TERM, one that stopped itself, and a daemon in a session of its own."""
    hasup.start(
        QUIET + '[programs.deaf]\ncommand = ["sh", "-c", "trap \'\' TERM; while :; do sleep 0.1; done"]\n'
        'ready.after = "100ms"\nstop.timeout = "1s"\n'
        '[programs.stopped]\ncommand = ["sh", "-c", "kill -STOP $$; sleep 1000"]\nready.after = "10ms"\n'
        'stop.timeout = "500ms"\n'
        '[programs.daemon]\ncommand = ["sh", "-c", "setsid sleep 1001 & sleep 1002"]\nready.after = "100ms"\n'
        'stop.timeout = "1s"\n'
    )
    instance, guardian = hasup.instance()["instance"], hasup.instance()["guardian_pid"]
    stop = hasup.popen("stop", "deaf")
    hasup.wait("deaf.1", "is stopping", lambda r: r["state"] == "stopping")
    os.kill(guardian, signal.SIGKILL)
    until(lambda: of_instance(instance) == [], "nothing is left", 90)
    assert stop.wait(30) != 0


def test_a_core_that_crashes_again_and_again(hasup):
    """Programs run on, and their output waits; when a core comes up it is as if nothing had been."""
    faults = Faults(hasup)
    hasup.start(
        QUIET + '[programs.ended]\ncommand = ["sh", "-c", "trap \'exit 7\' TERM; while :; do sleep 0.05; done"]\n'
        'restart = "never"\nready.after = "100ms"\n'
    )
    guardian, before = hasup.instance()["guardian_pid"], hasup.replicas()
    faults.begin("core-dies")
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    errors = hasup.state_dir / "logs" / "guardian.err"
    until(lambda: "another core is started in 0.2 s" in errors.read_text(), "the delay grows")
    assert all(alive(replica["pid"]) for replica in before.values())
    os.kill(before["ended.1"]["pid"], signal.SIGTERM)
    until(lambda: not Path(f"/proc/{before['ended.1']['pid']}").exists(), "reaped without a core")
    faults.end("core-dies")
    until(lambda: core_of(guardian) and hasup.run("status", code=None).returncode == 0, "a core is up")
    after = hasup.replicas()
    assert after["quiet.1"]["pid"] == before["quiet.1"]["pid"]
    hasup.wait("ended.1", "its end is known", lambda r: (r["last"] or {}).get("exit_code") == 7)
    assert hasup.status()["supervisor"]["core_restarts"] >= 3
    assert_supervised(hasup)


@root_only
@needs_freezer
def test_a_replica_that_cannot_be_killed_is_shown_as_stuck_and_never_doubled(hasup):
    hasup.start(QUIET)
    pid = hasup.replica("quiet.1")["pid"]
    with group("freezer") as freezer:
        (freezer / "cgroup.procs").write_text(str(pid))
        (freezer / "freezer.state").write_text("FROZEN")
        try:
            restart = hasup.popen("restart", "quiet")
            hasup.wait("quiet.1", "stuck is shown", lambda r: r["stuck"] == [pid])
            assert "can't be killed" in hasup.run("status").stdout
            guardian = hasup.instance()["guardian_pid"]
            os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
            until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
            programs = [child for child in of_instance(hasup.instance()["instance"]) if child != core_of(guardian)]
            assert programs == [pid], "no second one"
        finally:
            (freezer / "freezer.state").write_text("THAWED")
        after = hasup.wait("quiet.1", "it ended, and a new one came", lambda r: r["ready"] and r["pid"] != pid)
        assert after["stuck"] == []
        assert not alive(pid)
        restart.wait(60)


@root_only
def test_it_is_the_first_process(hasup):
    """In a container: strangers are reaped, SIGTERM ends all in order."""
    hasup.write(
        QUIET + '[programs.forker]\ncommand = ["sh", "-c", "while :; do setsid -f true; sleep 0.05; done"]\n'
        'ready.after = "10ms"\n'
    )
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with subprocess.Popen(
        [*inside, sys.executable, "-m", "hasup", "start"],
        cwd=hasup.folder, env=hasup.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as outer:  # fmt: skip
        try:
            until(lambda: hasup.run("status", code=None).returncode == 0, "it is up")
            hasup.wait("quiet.1", "ready", lambda r: r["ready"])
            assert hasup.status()["supervisor"]["guardian_pid"] == 1
            first = next(
                int(child) for child in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
            )
            # A stranger: no program of hasup's, adopted by the first process since nobody else is there.
            enter = ["nsenter", "-t", str(first), "-p", "setsid", "-f", "sh", "-c", "exit 5"]
            subprocess.run(enter, check=True, timeout=60)
            assert_supervised_inside(hasup)
            zombies = [pid for pid in _children(first) if _state(pid) == "Z"]
            until(lambda: not any(_state(pid) == "Z" for pid in zombies), "the dead do not stay")
            os.kill(first, signal.SIGTERM)
            assert outer.wait(60) == 0
        finally:
            outer.kill()


def assert_supervised_inside(hasup):
    restarts = hasup.replica("quiet.1")["restarts"]
    hasup.run("signal", "quiet", "KILL")
    hasup.wait("quiet.1", "replaced", lambda r: r["restarts"] > restarts and r["ready"])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"
