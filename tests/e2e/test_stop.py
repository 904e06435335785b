"""When ``hasup stop`` returns, nothing of what a program started lives, whatever it did to get away."""

import contextlib
import os
import pwd
import signal

import pytest

from hasup.guardian import cgroups
from tests.e2e.harness import Hasup, alive, of_instance, state_of, until

# Python that does one thing to get away; each process of the tree writes its pid to a file.
BEGIN = """
import os, signal, sys, time
PIDS = os.environ["HASUP_PROGRAM"] + ".pids"
def here():
    fd = os.open(PIDS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(fd, b"%d\\n" % os.getpid())
    os.close(fd)
def rest():
    while True:
        signal.pause()
def child(body):
    if os.fork() == 0:
        body()
        here()
        rest()
def daemon():
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
STUBBORN = {
    "ignores TERM": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nchild(lambda: None)\n",
    "a session of its own": "child(os.setsid)\n",
    "double forked": "child(daemon)\n",
    "stops itself": "child(lambda: (here(), os.kill(os.getpid(), signal.SIGSTOP)))\n",
    "swaps its group": "child(lambda: (os.setpgid(0, 0), signal.signal(signal.SIGTERM, signal.SIG_IGN)))\n",
    "forks at TERM": (
        "def more(*_):\n"
        "    for _ in range(20):\n"
        "        child(daemon)\n"
        "child(lambda: signal.signal(signal.SIGTERM, more))\n"
    ),
}
# A daemon that has nothing of its program's: neither group, session, parent nor environment.
NAMELESS = """
if os.fork() == 0:
    daemon()
    here()
    os.execve("/bin/sleep", ["sleep", "1000"], {})
"""
# Each process has six children, one after the other, and so has each of these, up to a bound that spares the machine.
FORKS = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def run(depth):
    here()
    for number in range(6 if depth < 3 else 0):
        if os.fork() == 0:
            if number % 3 == 2:
                os.setsid()
            run(depth + 1)
        time.sleep(0.05)  # the tree is still growing while it is being killed
    rest()
run(0)
"""


@pytest.fixture(params=["with cgroups", "without cgroups"])
def either(request, tmp_path):
    """hasup with cgroups, where one can be made, and without."""
    one = Hasup(tmp_path)
    if request.param == "without cgroups":
        one.env["HASUP_NO_CGROUP"] = "1"
    elif not can_make_cgroups():
        pytest.skip("no cgroup can be made here")
    yield one
    assert one.end() == [], "processes were left after hasup stop"


def can_make_cgroups() -> bool:
    made = cgroups.Cgroups(f"test{os.getpid()}", True)
    made.close()
    return made.folder is not None


def stubborn(hasup: Hasup, body: str, options: str = "stop.timeout = '300ms'") -> None:
    (hasup.folder / "app.py").write_text(f"{BEGIN}\n{body}\nhere()\nprint('up', flush=True)\nrest()\n")
    hasup.start(f"[programs.app]\ncommand = '${{HASUP_PYTHON}} -S app.py'\nready.log = 'up'\n{options}\n")


def living(hasup: Hasup, program: str = "app") -> list[int]:
    file = hasup.folder / f"{program}.pids"
    return [pid for pid in map(int, file.read_text().split()) if alive(pid)] if file.exists() else []


def test_nothing_survives_a_stop(either):
    programs, text = {how: f"p{number}" for number, how in enumerate(STUBBORN)}, ""
    for how, name in programs.items():
        (either.folder / f"{name}.py").write_text(f"{BEGIN}\n{STUBBORN[how]}\nhere()\nrest()\n")
        text += (
            f"[programs.{name}]\ncommand = '${{HASUP_PYTHON}} -S {name}.py'\n"
            "ready.after = '10ms'\nstop.timeout = '300ms'\n"
        )
    either.start(text)
    until(lambda: all(len(living(either, name)) >= 2 for name in programs.values()), "all trees are there")
    either.run("stop", *programs.values())
    assert [how for how, name in programs.items() if living(either, name)] == []
    assert {replica["state"] for replica in either.replicas().values()} == {"stopped"}
    either.run("start")
    until(lambda: all(len(living(either, name)) >= 2 for name in programs.values()), "all trees are there again")
    either.run("stop")
    assert [how for how, name in programs.items() if living(either, name)] == []


def test_a_daemon_without_a_name_goes_with_its_cgroup_or_with_hasup(either):
    stubborn(either, NAMELESS)
    until(lambda: len(living(either)) == 2, "the daemon is there")
    either.run("stop", *([] if "HASUP_NO_CGROUP" in either.env else ["app"]))
    assert living(either) == []


def test_nothing_survives_a_stop_at_once(either):
    stubborn(either, STUBBORN["double forked"], "stop.timeout = '1h'")
    until(lambda: len(living(either)) >= 2, "the whole tree is there")
    either.run("stop", "--now")
    assert living(either) == []


def test_what_forks_while_it_is_killed(either):
    (either.folder / "app.py").write_text(BEGIN + FORKS)
    either.start("[programs.app]\ncommand = '${HASUP_PYTHON} -S app.py'\nready.after = '10ms'\nstop.timeout = '50ms'\n")
    until(lambda: len(living(either)) > 20, "it grows")
    either.run("stop")
    assert living(either) == []


def test_a_crash_leaves_nothing_beside_the_next_run(either):
    stubborn(either, STUBBORN["double forked"])
    first = until(lambda: living(either)[:2] if len(living(either)) >= 2 else None, "the whole tree is there")
    os.kill(either.replica("app.1")["pid"], signal.SIGKILL)
    either.wait("app.1", "ready again", lambda r: r["ready"] and r["restarts"] == 1)
    assert not any(map(alive, first))


def test_a_stopped_process_is_continued_to_hear_the_signal(hasup):
    stubborn(hasup, "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(7)))\n", "")
    pid = hasup.replica("app.1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T", "stopped")
    hasup.run("stop", "app")
    assert "bye" in hasup.run("logs", "app").stdout
    assert hasup.replica("app.1")["last"]["exit_code"] == 7


def test_after_the_timeout_it_is_killed(hasup):
    stubborn(hasup, STUBBORN["ignores TERM"], "stop.timeout = '200ms'")
    hasup.run("stop", "app")
    last = hasup.replica("app.1")["last"]
    assert (last["result"], last["signal"]) == ("stop-timeout", "SIGKILL")
    reasons = [event["reason"] for event in hasup.events(replica="app.1", to="stopped")]
    assert reasons == ["stopped by operator (killed, as it did not end in time)"]


def test_the_stop_signal(hasup):
    stubborn(
        hasup,
        "signal.signal(signal.SIGQUIT, lambda *_: (print('quit', flush=True), os._exit(0)))\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))\n",
        "stop.signal = 'QUIT'",
    )
    hasup.run("stop", "app")
    said = hasup.run("logs", "app").stdout
    assert "quit" in said
    assert "term" not in said
    assert hasup.replica("app.1")["last"]["result"] == "operator"


def test_the_stop_command_takes_the_place_of_the_signal(hasup):
    stubborn(
        hasup,
        "signal.signal(signal.SIGTERM, lambda *_: print('term', flush=True))\n"
        "signal.signal(signal.SIGUSR1, lambda *_: (print('asked by command', flush=True), os._exit(0)))\n"
        "open('main.pid', 'w').write(str(os.getpid()))\n",
        "stop.command = \"sh -c 'kill -USR1 $(cat main.pid)'\"",
    )
    hasup.run("stop", "app")
    said = hasup.run("logs", "app").stdout
    assert "asked by command" in said
    assert "term" not in said


def test_a_stop_command_that_does_nothing_is_followed_by_kill(hasup):
    stubborn(hasup, "child(lambda: None)\n", "stop = { command = 'true', timeout = '300ms' }")
    hasup.run("stop", "app")
    assert living(hasup) == []
    assert hasup.replica("app.1")["last"]["result"] == "stop-timeout"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run programs as somebody else")
def test_programs_of_another_user(either):
    shell = "(setsid sh -c 'sleep 1000 & sleep 1000') & trap '' TERM; echo up; sleep 1000; sleep 1000"
    either.start(
        f'[programs.app]\ncommand = ["sh", "-c", "{shell}"]\ndirectory = \'/\'\nuser = \'nobody\'\n'
        "ready.log = 'up'\nstop.timeout = '300ms'\n"
    )
    instance, nobody = either.instance()["instance"], pwd.getpwnam("nobody").pw_uid

    def theirs() -> list[int]:
        return [pid for pid in of_instance(instance) if owner(pid) == nobody]

    seen = until(lambda: theirs() if len(theirs()) >= 5 else None, "the whole tree is there, as nobody")
    either.run("stop", "app")
    assert theirs() == []
    assert not any(map(alive, seen))
    assert either.replica("app.1")["last"]["result"] == "stop-timeout"


def owner(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}").st_uid
    return None
