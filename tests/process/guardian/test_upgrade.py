"""The guardian replaces its program while everything goes on."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hasup.version import __version__
from tests.process.guardian.harness import Bench, lives, pids_in, wait_until

FOREVER = ["sleep", "1000"]
Start = Callable[..., Bench]


def upgrade(bench: Bench) -> None:
    bench.core.send({"op": "upgrade", "argv": bench.argv})
    assert bench.core.wait("upgraded")["version"] == __version__
    assert b"resume" in Path(f"/proc/{bench.process.pid}/cmdline").read_bytes()


def test_children_core_and_descriptors_stay(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "kept").open("w") as kept, (tmp_path / "lock").open("w") as lock:
        bench = start(store={"kept": kept.fileno()}, lock_fd=lock.fileno())
    pid, core = bench.spawn("web.1", FOREVER, 3), bench.core.pid
    bench.core.send(blobs={"web.1": "blob"})
    before = descriptors(bench)
    upgrade(bench)
    assert descriptors(bench) == before
    assert lives(pid)
    assert lives(core)
    os.kill(pid, signal.SIGUSR1)
    assert bench.core.wait("exited")["signal"] == signal.SIGUSR1
    os.kill(core, signal.SIGKILL)
    new, slots = bench.next_core()
    assert (slots["web.1"]["generation"], slots["web.1"]["blob"]) == (3, "blob")
    assert (new.events[0]["core_restarts"], list(new.fds)) == (1, ["kept"])
    assert os.readlink(f"/proc/{new.pid}/fd/{new.lock_fd}") == str(tmp_path / "lock")
    bench.core.send({"op": "exit", "code": 5})
    assert bench.process.wait(30) == 5


def descriptors(bench: Bench) -> list[str]:
    """What the guardian has open, apart from numbers that change."""
    folder = f"/proc/{bench.process.pid}/fd"
    return sorted(os.readlink(f"{folder}/{fd}").partition("[")[0] for fd in os.listdir(folder))


def test_it_can_be_done_again_and_again_under_load(bench: Bench) -> None:
    pid = bench.spawn("web.1", FOREVER)
    for turn in range(1, 4):
        jobs = [bench.order(f"job.{number}", ["true"], turn) for number in range(20)]
        bench.core.send(*jobs, {"op": "upgrade", "argv": bench.argv}, bench.order("last.1", ["true"], turn))
        ended = set()
        while len(ended) < 21 or not upgraded(bench, turn):
            event = bench.core.read()
            if event["event"] == "exited":
                ended.add(event["slot"])
    assert lives(pid)


def upgraded(bench: Bench, times: int) -> bool:
    return sum(event["event"] == "upgraded" for event in bench.core.events) == times


def test_a_grace_that_runs_goes_on(either: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    code = (
        f"import os, time\nfd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.write(fd, b'%d\\n' % os.getpid())\n"
        "        time.sleep(1000)\n    os._exit(0)\ntime.sleep(1000)"
    )
    main = either.spawn("web.1", either.python(code))
    [daemon] = pids_in(path, 1)
    either.core.send({"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 1000.0})
    upgrade(either)
    assert lives(main)
    assert lives(daemon)
    either.core.send({"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 0.0})
    assert either.core.wait("emptied")["killed"] == 2
    assert not lives(daemon)


def test_a_kill_that_is_due_comes(bench: Bench) -> None:
    bench.spawn("web.1", FOREVER)
    order = {"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 0.5}
    bench.core.send(order, {"op": "upgrade", "argv": bench.argv})
    kinds = []
    while not {"emptied", "upgraded"} <= set(kinds):
        kinds.append(bench.core.read()["event"])
    assert kinds.count("exited") == kinds.count("emptied") == 1


def test_signals_to_hasup_are_not_lost(bench: Bench) -> None:
    bench.core.send({"op": "upgrade", "argv": bench.argv})
    bench.process.send_signal(signal.SIGHUP)
    kinds = [bench.core.read()["event"] for _ in range(2)]
    assert sorted(kinds) == ["signal", "upgraded"]


def test_a_program_that_is_not_there_or_does_not_understand(bench: Bench) -> None:
    pid = bench.spawn("web.1", FOREVER)
    for argv, cause in (
        (["/no/such"], "/no/such does not exist"),
        (["false"], "the new program does not understand the state of this one"),
        ([sys.executable, "-c", "import hasup.no_such"], "the new program does not understand the state of this one"),
    ):
        bench.core.send({"op": "upgrade", "argv": argv})
        assert bench.core.wait("upgrade-failed")["cause"] == cause
    assert lives(pid)
    upgrade(bench)
    assert lives(pid)


def test_only_one_at_a_time(bench: Bench) -> None:
    bench.core.send({"op": "upgrade", "argv": ["sleep"]}, {"op": "upgrade", "argv": bench.argv})
    causes = [bench.core.wait("upgrade-failed")["cause"] for _ in range(2)]
    assert causes[0] == "another one is under way"
    upgrade(bench)


def test_orphans_are_still_adopted(bench: Bench, tmp_path: Path) -> None:
    upgrade(bench)
    path = tmp_path / "pids"
    code = (
        f"import os, time\nfd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT)\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.write(fd, b'%d\\n' % os.getpid())\n    time.sleep(1000)"
    )
    bench.core.send(bench.order("web.1", bench.python(code)))
    assert bench.core.wait("exited")["empty"] is False
    [daemon] = pids_in(path, 1)
    status = Path(f"/proc/{daemon}/status").read_text()
    assert f"PPid:\t{bench.process.pid}" in status
    bench.core.send({"op": "clear", "slot": "web.1", "generation": 1, "grace_s": 0.0})
    bench.core.wait("emptied")
    wait_until(lambda: not lives(daemon), "its end")


@pytest.mark.long  # ten seconds
def test_a_core_that_stands_by_too_late_goes_on(bench: Bench) -> None:
    bench.core.send({"op": "upgrade", "id": "7", "argv": bench.argv, "core": ["false"], "env": {}})
    bench.core.wait("park")
    assert bench.core.wait("upgrade-failed")["cause"] == "the core did not park"
    bench.core.send({"op": "parked"})
    assert bench.core.wait("hello")["upgrade"] == {"id": "7", "cause": "the core did not park"}
    bench.core.wait("hello-end")
    bench.core.send({"op": "ready"})
    assert lives(bench.spawn("web.1", FOREVER))
