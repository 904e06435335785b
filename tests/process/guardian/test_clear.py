"""Whole process trees are brought to their end, with and without cgroups, and nobody else with them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.guardian.harness import SOURCE, Bench, can_make_cgroups, lives, pids_in, state_of, wait_until

FOREVER = ["sleep", "1000"]


def tree(path: Path, body: str) -> str:
    """Python that runs ``body``, in which ``say()`` adds the process's pid to a file."""
    return (
        "import os, signal, sys, time\n"
        f"fd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "say = lambda: os.write(fd, b'%d\\n' % os.getpid())\n"
        f"{body}"
    )


ESCAPES = """
def stay():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say()
    while True:
        time.sleep(1000)
if os.fork() == 0:                        # in the group
    stay()
if os.fork() == 0:                        # a session of its own
    os.setsid()
    stay()
if os.fork() == 0:                        # a daemon: a session of its own, and an orphan
    os.setsid()
    if os.fork() == 0:
        stay()
    os._exit(0)
if os.fork() == 0:                        # stopped
    say()
    os.kill(os.getpid(), signal.SIGSTOP)
"""
NAMELESS = """                            # a daemon that also lost its environment
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        say()
        os.execve('/bin/sleep', ['sleep', '1000'], {})
    os._exit(0)
"""


def clear(slot: str, generation: int = 1, grace_s: float = 0.0) -> dict[str, object]:
    return {"op": "clear", "slot": slot, "generation": generation, "grace_s": grace_s}


def escaping(bench: Bench, path: Path) -> tuple[int, list[int]]:
    """Starts a tree that does all it can to get away."""
    pid = bench.spawn("web.1", bench.python(tree(path, ESCAPES + "time.sleep(1000)")))
    return pid, pids_in(path, 4)


def test_a_tree_whose_main_process_lives(either: Bench, tmp_path: Path) -> None:
    other = either.spawn("web.2", FOREVER)
    main, others = escaping(either, tmp_path / "pids")
    either.core.send(clear("web.1"))
    exited, emptied = either.core.wait("exited"), either.core.wait("emptied")
    assert (exited["slot"], exited["signal"]) == ("web.1", signal.SIGKILL)
    assert emptied["generation"] == 1
    assert emptied["killed"] >= 5  # the main process is one
    assert not [pid for pid in (main, *others) if lives(pid)]
    assert lives(other)
    assert lives(either.core.pid)


def test_a_tree_whose_main_process_ended(either: Bench, tmp_path: Path) -> None:
    """The signal that it is asked to end by is when those that slip away are looked at."""
    _, others = escaping(either, tmp_path / "pids")
    either.core.send({"op": "signal", "slot": "web.1", "generation": 1, "signal": 15, "scope": "group", "cont": True})
    exited = either.core.wait("exited")
    assert (exited["signal"], exited["empty"]) == (signal.SIGTERM, False)
    assert any(lives(pid) for pid in others)
    either.core.send(clear("web.1"))
    either.core.wait("emptied")
    assert not [pid for pid in others if lives(pid)]


def test_a_daemon_without_a_name_goes_with_its_cgroup_or_with_hasup(either: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    either.core.send(either.order("web.1", either.python(tree(path, NAMELESS))))
    folder = either.core.wait("spawned")["cgroup"]
    [daemon] = pids_in(path, 1)
    either.core.wait("exited")
    either.core.send(clear("web.1"))
    either.core.wait("emptied")
    if folder is not None:  # without one it is found now only if it was seen before it slipped away
        assert not lives(daemon)
    either.core.send({"op": "exit", "code": 0})
    assert either.process.wait(30) == 0
    assert not lives(daemon)


def test_a_crash_leaves_orphans_that_are_known_by_their_environment(either: Bench, tmp_path: Path) -> None:
    daemon = "if os.fork() == 0:\n    os.setsid()\n    say()\n    time.sleep(1000)\n"
    path = tmp_path / "pids"
    either.spawn("web.1", either.python(tree(path, daemon + "while True: time.sleep(1000)")))
    orphan = pids_in(path, 1)[0]
    either.spawn("web.2", either.python(tree(tmp_path / "other", daemon + "os._exit(0)")))
    stranger = pids_in(tmp_path / "other", 1)[0]
    os.kill(int(parent(orphan)), signal.SIGKILL)
    assert either.core.wait("exited", "web.1")["empty"] is False
    either.core.send(clear("web.1"))
    assert either.core.wait("emptied")["killed"] == 1
    assert not lives(orphan)
    assert lives(stranger)


def parent(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]


def test_nothing_is_spawned_beside_what_is_left(either: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    body = "if os.fork() == 0:\n    os.setsid()\n    say()\n    time.sleep(1000)\n"
    either.core.send(either.order("web.1", either.python(tree(path, body))))
    assert either.core.wait("exited")["empty"] is False
    orphan = pids_in(path, 1)[0]
    either.core.send(either.order("web.1", FOREVER, generation=2))
    assert either.core.wait("spawn-failed")["cause"] == "something of its last run still lives"
    assert either.core.wait("emptied")["generation"] == 2
    assert not lives(orphan)
    assert either.spawn("web.1", FOREVER, generation=3)


def test_grace_is_granted(either: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(5)))\nsay()\nwhile True: time.sleep(1000)"
    )
    either.spawn("web.1", either.python(tree(path, code)))
    pids_in(path, 1)
    asked = {"op": "signal", "slot": "web.1", "generation": 1, "signal": 15, "scope": "group"}
    either.core.send(asked, clear("web.1", grace_s=60.0))
    exited, emptied = either.core.wait("exited"), either.core.wait("emptied")
    assert (exited["exit_code"], exited["empty"], emptied["killed"]) == (5, True, 0)


def test_grace_is_over_at_its_time_and_may_be_shortened(either: Bench) -> None:
    either.spawn("web.1", FOREVER)
    either.spawn("web.2", FOREVER)
    either.core.send(clear("web.1", grace_s=0.2), clear("web.2", grace_s=1000.0))
    assert either.core.wait("emptied")["slot"] == "web.1"
    either.core.send(clear("web.2", grace_s=0.0))
    assert either.core.wait("emptied")["slot"] == "web.2"


def test_a_fork_bomb(either: Bench, tmp_path: Path) -> None:
    """Every process lives for a moment and leaves two behind, up to a bound that spares the machine."""
    bomb = tmp_path / "bomb"
    bomb.mkdir()
    code = f"""
import os, time
end = time.monotonic() + 60
while time.monotonic() < end:
    if len(os.listdir({str(bomb)!r})) < 40 and os.fork() == 0:
        os.setsid()
    mine = f'{bomb}/{{os.getpid()}}'
    open(mine, 'w').close()
    time.sleep(0.001)
    if os.getpid() % 3 and os.fork() != 0:
        os.unlink(mine)
        os._exit(0)
"""
    either.spawn("web.1", either.python(code))
    wait_until(lambda: len(os.listdir(bomb)) > 20, "the bomb to spread")
    either.core.send(clear("web.1"))
    either.core.wait("emptied")
    assert not [pid for pid in map(int, os.listdir(bomb)) if lives(pid)]
    assert not processes_with(f"HASUP_INSTANCE={either.instance}") - {either.core.pid}
    assert either.spawn("web.1", FOREVER, generation=2)


def processes_with(entry: str) -> set[int]:
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if entry.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(int(pid))
        except OSError:
            continue
    return found


def test_clear_is_always_answered(bench: Bench) -> None:
    bench.core.send(clear("never.1", generation=4))
    assert bench.core.wait("emptied") == {
        "event": "emptied", "slot": "never.1", "generation": 4, "killed": 0,
    }  # fmt: skip
    bench.core.send(bench.order("web.1", ["true"]))
    bench.core.wait("exited")
    bench.core.send(clear("web.1"))
    assert bench.core.wait("emptied")["killed"] == 0
    pid = bench.spawn("web.1", FOREVER, generation=2)
    bench.core.send(clear("web.1", generation=1))
    assert bench.core.wait("emptied")["generation"] == 1
    assert lives(pid)


def test_a_job_beside_a_replica_takes_none_of_its_daemons_along(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    body = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        say()
        time.sleep(1000)
    os._exit(0)
time.sleep(1000)
"""
    bench.spawn("web.1", bench.python(tree(path, body)))
    daemon_pid = pids_in(path, 1)[0]
    bench.core.send(bench.order("web.1/probe", ["true"], env={"HASUP_PROGRAM": "web", "HASUP_REPLICA": "1"}))
    assert bench.core.wait("exited", "web.1/probe")["empty"] is True
    bench.core.send(clear("web.1/probe"))
    bench.core.wait("emptied", "web.1/probe")
    assert lives(daemon_pid)


@pytest.mark.parametrize(("scope", "reached"), [("main", 1), ("group", 2), ("tree", 3)])
def test_scopes_of_a_signal(either: Bench, tmp_path: Path, scope: str, reached: int) -> None:
    path = tmp_path / "pids"
    body = """
signal.signal(signal.SIGUSR1, lambda *_: say())
if os.fork() != 0 and os.fork() == 0:
    os.setsid()
say()
while True:
    signal.pause()
"""
    either.spawn("web.1", either.python(tree(path, body)))
    before = pids_in(path, 3)
    either.core.send(
        {"op": "signal", "slot": "web.1", "generation": 1, "signal": signal.SIGUSR1, "scope": scope, "cont": False}
    )
    after = pids_in(path, 3 + reached)[3:]
    assert len(set(after)) == reached
    assert set(after) <= set(before)


def test_a_stopped_group_is_continued(bench: Bench) -> None:
    pid = bench.spawn("web.1", FOREVER)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: state_of(pid) == "T", "the stop")
    order = {"op": "signal", "slot": "web.1", "generation": 1, "signal": 15, "scope": "group", "cont": True}
    bench.core.send(order)
    assert bench.core.wait("exited")["signal"] == signal.SIGTERM


def test_signals_to_an_older_generation_reach_nobody(bench: Bench) -> None:
    bench.core.send(bench.order("web.1", ["true"]))
    bench.core.wait("exited")
    pid = bench.spawn("web.1", FOREVER, generation=2)
    order = {"op": "signal", "slot": "web.1", "signal": 9, "scope": "tree"}
    bench.core.send({**order, "generation": 1}, {**order, "generation": 3}, bench.order("mark.1", ["true"]))
    bench.core.wait("exited", "mark.1")
    assert lives(pid)


def test_cgroup_folders_come_and_go(either: Bench) -> None:
    either.core.send(either.order("web:odd name.1", FOREVER))
    folder = either.core.wait("spawned")["cgroup"]
    if folder is None:
        return
    assert os.path.isdir(folder)
    either.core.send(clear("web:odd name.1"))
    either.core.wait("emptied")
    either.core.send({"op": "forget", "slot": "web:odd name.1"})
    wait_until(lambda: not os.path.exists(folder), "the folder to go")
    either.core.send({"op": "exit", "code": 0})
    assert either.process.wait(30) == 0
    assert not os.path.exists(os.path.dirname(folder))


def test_bounds_that_cannot_be_set_are_named_also_to_the_next_core(either: Bench) -> None:
    either.core.send(either.order("web.1", ["sleep", "1000"], bounds={"no.such": "1"}))
    assert either.core.wait("spawned")["unbound"] == ["no.such"]
    os.kill(either.core.pid, signal.SIGKILL)
    _, slots = either.next_core()
    assert slots["web.1"]["unbound"] == ["no.such"]
    either.core.send({"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 0.0})
    either.core.wait("emptied")
    either.spawn("web.1", ["sleep", "1000"], 2)
    assert either.core.events[-1]["unbound"] == []


def test_a_slot_finds_nothing_of_what_its_last_run_made_of_its_cgroup(start: Callable[..., Bench]) -> None:
    if not can_make_cgroups():
        pytest.skip("no cgroup v2 folder may be made here")
    bench = start(cgroup=True)
    bench.core.send(bench.order("web.1", ["sleep", "1000"]))
    folder = Path(bench.core.wait("spawned")["cgroup"])
    (folder / "below").mkdir()
    bench.core.send({"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 0.0})
    bench.core.wait("emptied")
    bench.spawn("web.1", ["sleep", "1000"], 2)
    assert folder.is_dir()
    assert not (folder / "below").exists()


def test_a_child_that_may_not_enter_its_cgroup_is_known_to_be_outside(tmp_path: Path) -> None:
    code = f"""
import os, signal
from hasup.guardian.spawn import spawn
for folder in (None, {str(tmp_path / "nowhere")!r}):
    pid, report = spawn({{"argv": ["true"]}}, [(0, -1), (1, 1), (2, 2)], folder)
    _, status = os.waitpid(pid, 0)
    print(report.read(), report.in_cgroup, repr(report.cause), status)
"""
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == ["True True '' 0", "True False '' 0"], said.stderr
