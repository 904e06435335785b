"""What a child is given before its exec, and the words when there is none."""

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from tests.process.guardian.harness import Bench, Benches, can_clone

FOREVER = ["sleep", "1000"]


@pytest.fixture(params=["cloned", "forked"])
def bench(request: pytest.FixtureRequest, start: Benches) -> Bench:
    """A guardian that starts children in the one way, and one that does so in the other."""
    if request.param == "cloned" and not can_clone():
        pytest.skip("the library for it is not built here")
    return start(patience={"cloning._spawn": None} if request.param == "forked" else None)


def script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "odd-script"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_program_runs_and_its_exit_code_is_told(bench: Bench) -> None:
    bench.core.send(bench.order("web.1", ["sh", "-c", "exit 7"]))
    spawned, exited = bench.core.wait("spawned"), bench.core.wait("exited")
    assert (spawned["slot"], spawned["generation"], spawned["cgroup"]) == ("web.1", 1, None)
    assert exited == {
        "event": "exited", "slot": "web.1", "generation": 1, "pid": spawned["pid"], "exit_code": 7, "signal": None,
        "core_dump": False, "oom": False, "empty": True,
    }  # fmt: skip


def test_death_by_signal_is_told(bench: Bench) -> None:
    pid = bench.spawn("web.1", FOREVER)
    os.kill(pid, signal.SIGUSR1)
    exited = bench.core.wait("exited")
    assert (exited["exit_code"], exited["signal"]) == (None, signal.SIGUSR1)


@pytest.mark.parametrize(
    ("argv", "more", "cause"),
    [
        (["no-such-program"], {}, "command 'no-such-program' was not found in PATH"),
        (["sh"], {"env": {"PATH": "/nowhere"}}, "command 'sh' was not found in PATH"),
        (["/no/such"], {}, "/no/such does not exist"),
        (["/etc"], {}, "/etc: permission denied"),
        (["sh"], {"directory": "/no/such"}, "directory /no/such does not exist"),
        (["sh"], {"directory": "/etc/passwd"}, "cannot enter directory /etc/passwd: not a directory"),
        (["sh"], {"rlimits": [["nofile", 10, 5]]}, "cannot set limits"),
        (["a\0b"], {}, "embedded null"),
        (["sh"], {"fds": [[0, "lost"]]}, "hasup lost a descriptor: lost"),
    ],
)
def test_causes_of_failure(bench: Bench, argv: list[str], more: dict[str, object], cause: str) -> None:
    assert cause in bench.failure(argv, **more)
    assert bench.process.poll() is None


def test_causes_that_lie_in_a_script(bench: Bench, tmp_path: Path) -> None:
    path = script(tmp_path, "#!/bin/sh\n", 0o644)
    assert bench.failure([path]).startswith(f"{path}: permission denied (is it executable")
    path = script(tmp_path, "#!/no/such -x\n")
    assert bench.failure([path]) == f"{path}: bad interpreter: /no/such does not exist (in its first line)"
    in_path = {"PATH": f"/nowhere:{tmp_path}:/usr/bin"}
    assert (
        bench.failure(["odd-script"], env=in_path)
        == f"{path}: bad interpreter: /no/such does not exist (in its first line)"
    )
    path = script(tmp_path, "echo no first line\n")
    assert bench.failure([path]).startswith(f"{path}: not an executable format")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_a_user_that_may_not_enter(bench: Bench, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert "permission denied" in bench.failure(["sh"], uid=65534, directory=str(tmp_path))


def test_no_descriptor_left_is_a_failed_spawn(bench: Bench) -> None:
    before = resource.prlimit(bench.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(bench.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    cause = bench.failure(FOREVER)
    resource.prlimit(bench.process.pid, resource.RLIMIT_NOFILE, before)
    assert "too many open files" in cause
    assert bench.spawn("web.1", FOREVER)


def test_a_failed_exec_leaves_a_free_slot(bench: Bench) -> None:
    bench.core.send(bench.order("web.1", ["/no/such"]))
    assert bench.core.wait("spawn-failed")["generation"] == 1
    assert bench.spawn("web.1", FOREVER, generation=2)


def test_environment(bench: Bench) -> None:
    code = "import os, json; print(json.dumps(dict(os.environ) | {'pid': str(os.getpid())}))"
    env = {"A": "ä\udc80", "PYTHONPATH": None, "HASUP_REPLICA": "4"}
    seen = json.loads(bench.output(bench.python(code), env=env, pid_env=["LISTEN_PID"]))
    assert seen["A"] == "ä\udc80"
    assert "PYTHONPATH" not in seen
    assert seen["HASUP_REPLICA"] == "4"
    assert seen["HASUP_INSTANCE"] == bench.instance
    assert seen["HASUP_SLOT"].startswith("say.")
    assert seen["LISTEN_PID"] == seen["pid"]
    assert seen["PATH"] == os.environ["PATH"]
    assert not {"HASUP_GUARDIAN_FD", "HASUP_LOCK_FD"} & seen.keys()


def test_directory_umask_nice_and_limits(bench: Bench, tmp_path: Path) -> None:
    code = (
        "import os, resource as r, json; print(json.dumps([os.getcwd(), os.umask(0), os.nice(0),"
        " r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE), os.getsid(0) == os.getpid() == os.getpgid(0)]))"
    )
    seen = json.loads(
        bench.output(
            bench.python(code),
            directory=str(tmp_path),
            umask=0o027,
            nice=5,
            rlimits=[["nofile", 64, 64], ["core", 0, 0]],
        )
    )
    assert seen == [str(tmp_path), 0o027, 5, [64, 64], [0, 0], True]


def test_children_have_the_file_limit_that_hasup_was_started_with(bench: Bench) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert resource.prlimit(bench.process.pid, resource.RLIMIT_NOFILE)[0] == hard
    code = "import resource as r; print(*r.getrlimit(r.RLIMIT_NOFILE))"
    assert bench.output(bench.python(code)).split() == [str(soft), str(hard)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_user_and_groups(bench: Bench) -> None:
    text = bench.output(["cat", "/proc/self/status"], uid=12345, gid=54321, groups=[54321, 7])
    status = {line.split(":")[0]: line.split()[1:] for line in text.splitlines()}
    assert (status["Uid"], status["Gid"], status["Groups"]) == (["12345"] * 4, ["54321"] * 4, ["7", "54321"])


def test_signals_are_as_if_nobody_had_touched_them(bench: Bench) -> None:
    text = bench.output(["cat", "/proc/self/status"])
    status = {line.split(":")[0]: line.split()[1:] for line in text.splitlines()}
    assert [int(status[name][0], 16) for name in ("SigIgn", "SigBlk", "SigCgt")] == [0, 0, 0]


def test_a_signal_before_exec_is_the_childs_and_nobody_elses(bench: Bench) -> None:
    for generation in range(1, 60):
        bench.core.send(
            bench.order("web.1", FOREVER, generation),
            {"op": "signal", "slot": "web.1", "generation": generation, "signal": 15, "scope": "group"},
        )
        assert bench.core.wait("exited")["signal"] == signal.SIGTERM
    assert not [event for event in bench.core.events if event["event"] == "signal"]


def test_descriptors_are_these_and_no_others(bench: Bench, tmp_path: Path) -> None:
    """Also where targets are the numbers of other sources."""
    files = [(tmp_path / f"file{number}").open("w+") for number in range(6)]
    names = [f"n{number}" for number in range(6)]
    bench.core.send({"op": "keep", "names": names}, fds=[file.fileno() for file in files])
    targets = [30, 3, 4, 5, 7, 8]
    code = (
        "import os, json\nfds = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
        "print(json.dumps({os.path.basename(fd): os.readlink(fd) for fd in fds if os.path.exists(fd)}))"
    )
    texts = json.loads(bench.output(bench.python(code), fds=[[0, "null"], *zip(targets, names, strict=True)]))
    for file in files:
        file.close()
    assert {int(fd): os.path.basename(path) for fd, path in texts.items() if int(fd) > 2} == {
        target: f"file{number}" for number, target in enumerate(targets)
    }
    assert texts["0"] == texts["2"] == "/dev/null"


def test_the_lock_is_the_cores_and_not_the_replicas(start: object, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        bench: Bench = start(lock_fd=lock.fileno())  # type: ignore[operator]
    fd = bench.core.lock_fd
    assert os.readlink(f"/proc/{bench.core.pid}/fd/{fd}") == str(tmp_path / "lock")
    pid = bench.spawn("web.1", FOREVER)
    assert not [link for link in links(pid) if link.endswith("lock")]


def links(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]


def test_a_generation_is_spawned_once(bench: Bench) -> None:
    order = bench.order("web.1", FOREVER)
    bench.core.send(order, order)
    first = bench.core.wait("spawned")["pid"]
    bench.core.send(order, bench.order("mark.1", FOREVER))
    assert bench.core.wait("spawned")["slot"] == "mark.1"
    assert [event["pid"] for event in bench.core.events if event.get("slot") == "web.1"] == [first]


def test_never_two(bench: Bench) -> None:
    bench.spawn("web.1", FOREVER)
    bench.core.send(bench.order("web.1", FOREVER, generation=2))
    failed = bench.core.wait("spawn-failed")
    assert (failed["generation"], failed["cause"]) == (2, "something of its last run still lives")
    os.kill(bench.core.pid, signal.SIGKILL)
    core, slots = bench.next_core()
    assert (slots["web.1"]["phase"], slots["web.1"]["generation"]) == ("running", 1)
    assert core.wait("spawn-failed")["generation"] == 2
