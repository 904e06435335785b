"""Children that borrow the guardian's memory: that they are made so, and what must not come of it."""

import fcntl
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hasup.guardian import cloning
from hasup.guardian.steps import Plan, plan
from tests.process.guardian.harness import DEADLINE_S, Bench, can_clone, wait_until

FOREVER = ["sleep", "1000"]
needs_library = pytest.mark.skipif(not can_clone(), reason="the library for it is not built here")


@pytest.mark.skipif(platform.machine() != "x86_64" or not shutil.which("cc"), reason="can't be built here")
def test_an_installation_has_the_library() -> None:
    assert can_clone(), "install hasup with pip (-e too): that builds it"


@pytest.mark.parametrize(("name", "value"), [("_LAYOUT", -1), ("__file__", "/nowhere/cloning.py")])
def test_a_library_that_is_missing_or_another_is_not_used(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(cloning, name, value)
    assert cloning._load() == (None, {})


def planned(**order: object) -> Plan:
    lifted: list[int] = []
    try:
        return plan({"argv": FOREVER, **order}, [], None, 2, lifted)
    finally:
        for fd in lifted:
            os.close(fd)


@needs_library
@pytest.mark.parametrize("order", [{"uid": 1}, {"gid": 1}, {"groups": [1]}], ids=str)
def test_one_that_becomes_another_user_is_forked(order: dict[str, object]) -> None:
    """It would share memory with this process as that user."""
    assert cloning.clone(planned(**order), None) is None


@needs_library
@pytest.mark.parametrize(
    "order",
    [
        {"argv": ["a\0b"]},
        {"env": {"A": "a\0b"}},
        {"env": {"A=B": "c"}},
        {"env": {"": "c"}},
        {"rlimits": [["nonsense", 1, 1]]},
        {"rlimits": [["nofile", 1 << 70, 1 << 70]]},
        {"directory": 7},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_left_to_the_forked_one_to_tell(order: dict[str, object]) -> None:
    assert cloning.clone(planned(**order), None) is None


@needs_library
def test_every_byte_of_arguments_and_environment_arrives() -> None:
    script = (
        "import os, sys\nfrom hasup.guardian.spawn import spawn\n"
        "argv = ['python', '-IS', '-c', sys.argv[1], *map(str, range(3000)), '', 'ä\\udc80']\n"
        "argv[0] = sys.executable\n"
        "env = {f'NAME{n}': 'x' * n for n in range(500)}\n"
        "reads, writes = os.pipe()\n"
        "pid, report = spawn({'argv': argv, 'env': env, 'pid_env': ['ME', 'I']}, [(1, writes)], None)\n"
        "assert report._borrowed is not None, 'it was forked'\n"
        "os.close(writes)\nprint(open(reads).read(), end='')\nos.waitpid(pid, 0)\n"
    )
    says = (
        "import os, sys\nassert sys.argv[1:] == [*map(str, range(3000)), '', 'ä\\udc80']\n"
        "assert all(os.environ[f'NAME{n}'] == 'x' * n for n in range(500))\n"
        "assert os.environ['ME'] == os.environ['I'] == str(os.getpid())\nprint('all of it')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, says],
        env={**os.environ, "ME": "inherited"}, capture_output=True, text=True, timeout=DEADLINE_S, check=True,
    )  # fmt: skip
    assert done.stdout == "all of it\n"


@needs_library
def test_a_program_whose_disk_does_not_answer_holds_up_nothing_else(bench: Bench, tmp_path: Path) -> None:
    """As vfork would, which makes the parent wait for the exec. A lease on the program makes the exec wait."""
    program = tmp_path / "sleep"
    shutil.copy(shutil.which("sleep") or "sleep", program)
    broken = signal.signal(signal.SIGIO, lambda *_: None)
    with program.open("rb") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        bench.core.send(bench.order("slow.1", [str(program), "1000"]))
        wait_until(lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_WRLCK, "its exec opens the program")
        quick = bench.spawn("web.1", FOREVER)
        assert [event["slot"] for event in bench.core.events if event["event"] == "spawned"] == ["web.1"]
        os.kill(quick, signal.SIGKILL)
        assert bench.core.wait("exited")["slot"] == "web.1"
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    signal.signal(signal.SIGIO, broken)
    pid = bench.core.wait("spawned", "slow.1")["pid"]
    assert os.readlink(f"/proc/{pid}/exe") == str(program)


@needs_library
def test_a_death_before_its_exec_is_its_own(bench: Bench) -> None:
    """Not that of the memory's owner, whichever signal it is by."""
    for generation in range(1, 61):
        number = (signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM)[generation % 3]
        bench.core.send(
            bench.order("web.1", FOREVER, generation),
            {"op": "signal", "slot": "web.1", "generation": generation, "signal": int(number), "scope": "main"},
        )
        assert bench.core.wait("exited")["signal"] == number
    assert bench.process.poll() is None
    assert bench.errors == ""
