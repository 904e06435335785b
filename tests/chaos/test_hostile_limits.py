"""A machine that has nothing left: no processes, no descriptors, no memory; and programs that take all they can get."""

import os
import re
import signal
import time

import pytest

from tests.chaos.hostile import (
    STRANGER,
    Faults,
    assert_supervised,
    core_of,
    group,
    needs_pids,
    of_user,
    resident,
    root_only,
)
from tests.e2e.harness import ROOT, Hasup, until

pytestmark = pytest.mark.chaos

QUIET = (
    '[programs.quiet]\ncommand = "sleep 1000"\nready.after = "10ms"\nrestart = { delay = "20ms", max_delay = "1s" }\n'
)


def kill_core(hasup: Hasup) -> None:
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)


@root_only
@needs_pids
def test_no_process_is_left_on_the_machine(hasup):
    """Neither for a program nor for a new core. Both come as soon as there is one."""
    with group("pids") as pids:
        hasup.start(QUIET)
        guardian = hasup.instance()["guardian_pid"]
        (pids / "cgroup.procs").write_text(str(guardian))
        (pids / "pids.max").write_text("1")
        os.kill(hasup.replica("quiet.1")["pid"], signal.SIGKILL)
        hasup.wait("quiet.1", "the cause is shown", lambda r: "no process left" in r["reason"])
        kill_core(hasup)
        errors = hasup.state_dir / "logs" / "guardian.err"
        until(lambda: errors.read_text().count("no process left") >= 2, "the guardian tries again")
        assert core_of(guardian) is None
        (pids / "pids.max").write_text("max")
        until(lambda: hasup.run("status", code=None).returncode == 0, "a core is up")
        hasup.wait("quiet.1", "and so is the program", lambda r: r["ready"])
        hasup.run("stop")


@root_only
def test_no_process_is_left_for_hasups_user(tmp_path):
    with of_user(tmp_path, STRANGER + 1, nproc=12) as hasup:
        hasup.start(QUIET + "replicas = 20\n", code=1)
        failed = [r for r in hasup.replicas().values() if "no process left" in r["reason"]]
        assert failed
        assert any(r["ready"] for r in hasup.replicas().values())
        hasup.run("scale", "quiet=3")
        until(lambda: all(r["ready"] for r in hasup.replicas().values()), "three fit")


def test_no_memory_is_left_for_a_fork(hasup):
    faults = Faults(hasup)
    hasup.start(QUIET)
    faults.begin("no-memory")
    os.kill(hasup.replica("quiet.1")["pid"], signal.SIGKILL)
    hasup.wait("quiet.1", "the cause is shown", lambda r: "no memory left" in r["reason"])
    kill_core(hasup)
    errors = hasup.state_dir / "logs" / "guardian.err"
    until(lambda: errors.read_text().count("no memory left") >= 2, "the guardian tries again")
    faults.end("no-memory")
    until(lambda: hasup.run("status", code=None).returncode == 0, "a core is up")
    hasup.wait("quiet.1", "and so is the program", lambda r: r["ready"])


def test_no_descriptors_are_left(hasup):
    """Some replicas can't be started, and say why; what runs is supervised, and operators are answered."""
    hasup.argv = lambda *words: (
        (["prlimit", "--nofile=100:100"] if words[0] == "start" else []) + Hasup.argv(hasup, *words)
    )
    hasup.start(QUIET + "replicas = 40\n", code=1)
    replicas = hasup.replicas()
    failed = [r for r in replicas.values() if "too many open files" in r["reason"].lower()]
    assert failed, replicas
    assert any(r["ready"] for r in replicas.values())
    assert_supervised(hasup)
    kill_core(hasup)
    until(lambda: hasup.run("status", code=None).returncode == 0, "a new core can do with it")
    hasup.run("scale", "quiet=2")
    until(lambda: [r["ready"] for r in hasup.replicas().values()] == [True, True], "two fit")
    assert_supervised(hasup)


def test_the_program_vanishes_and_comes_back(hasup):
    program = hasup.folder / "program"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    hasup.start(
        '[programs.quiet]\ncommand = "./program"\nready.after = "10ms"\n'
        'restart = { delay = "20ms", max_delay = "1s" }\n'
    )
    program.rename(program.with_name("away"))
    os.kill(hasup.replica("quiet.1")["pid"], signal.SIGKILL)
    hasup.wait("quiet.1", "the cause is shown", lambda r: "program does not exist" in r["reason"] and r["restarts"] > 2)
    program.with_name("away").rename(program)
    hasup.wait("quiet.1", "back", lambda r: r["ready"])


@pytest.mark.long  # tests/e2e/test_crowd.py shows it with three hundred
def test_five_hundred_children_exit_at_once(hasup):
    hasup.start(QUIET + 'replicas = 500\nlogs = { stdout = "null", stderr = "null" }\n')
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    assert len(before) == 500
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(r["ready"] and r["pid"] != before[n] for n, r in hasup.replicas().items()), "all are back", 120)
    assert {r["restarts"] for r in hasup.replicas().values()} == {1}
    assert {r["last"]["signal"] for r in hasup.replicas().values()} == {"SIGKILL"}


@pytest.mark.parametrize(
    ("programs", "restarts"),
    [(40, 400), pytest.param(200, 10_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])],
)
def test_many_crash_loops(hasup, programs, restarts):
    """Bounded by restart_rate; memory stays flat, operators are answered."""
    hasup.start(
        f'[supervisor]\nrestart_rate = 300\n[programs.crash]\ncommand = "false"\nreplicas = {programs}\n'
        'restart = { delay = "10ms", factor = 1, jitter = 0, max_delay = "10ms" }\n' + QUIET,
        code=1,
    )
    quiet = hasup.replica("quiet.1")

    def done() -> int:
        return sum(r["restarts"] for r in hasup.replicas().values())

    until(lambda: done() > restarts // 3, "crashes", 300)
    supervisor = hasup.status()["supervisor"]
    parts = {name: supervisor[f"{name}_pid"] for name in ("guardian", "core")}
    first = {name: resident(pid) for name, pid in parts.items()}
    began = time.monotonic()
    so_far = done()
    until(lambda: done() > restarts, "crashes more", 600)
    count = done() - so_far
    elapsed = time.monotonic() - began
    second = {name: resident(pid) for name, pid in parts.items()}
    print(
        f"\n{done()} restarts, {count / elapsed:.0f} a second, own memory in kB at a third {first}, at the end {second}"
    )
    assert count <= 300 * elapsed + 300, "restart_rate holds, with one burst at the most"
    assert second["guardian"] < first["guardian"] + 2_000
    assert second["core"] < first["core"] * 1.5 + 8_000
    after = hasup.replica("quiet.1")
    assert (after["pid"], after["restarts"]) == (quiet["pid"], 0)
    assert hasup.status()["supervisor"]["core_restarts"] == 0


def test_the_wall_clock_jumps_by_hours_both_ways(hasup):
    faults = Faults(hasup)
    hasup.start(
        '[programs.a]\ncommand = "${HASUP_PYTHON} -m hasup.demo.worker --hang-after 10000"\nready.notify = true\n'
        'heartbeat.timeout = "2s"\n' + QUIET.replace("quiet", "later").replace("20ms", "1s")
    )
    before = hasup.replicas()
    for hours in (5, -50_000):
        faults.begin("clock", str(hours * 3600))
        os.kill(hasup.replica("later.1")["pid"], signal.SIGKILL)
        shown = hasup.wait("later.1", "waits", lambda r: r["state"] == "backoff")
        assert 0 < shown["next_start_s"] <= 2.5
        hasup.wait("later.1", "is started by the other clock", lambda r: r["ready"])
    after = hasup.replicas()
    assert (after["a.1"]["pid"], after["a.1"]["restarts"]) == (before["a.1"]["pid"], 0)
    assert after["a.1"]["uptime_s"] < 1000


SHOWN_ONLY = {  # where the time of day is only written down, or is what the operator asked for
    "runtime/record.py", "runtime/evidence.py", "runtime/statusdoc.py", "journal/writer.py", "logs/own.py",
    "logs/formats.py", "runtime/wallclock.py", "runtime/minutes.py",
}  # fmt: skip


def test_no_decision_reads_the_wall_clock():
    reads = re.compile(
        r"time\.time\b|time_ns\(\)|datetime\.(now|utcnow|today)|CLOCK_REALTIME|import .*\btime\b.* from time"
    )
    package = ROOT / "supervisor" / "hasup"
    found = {
        str(path.relative_to(package))
        for part in ("core", "guardian", "runtime", "dispatch", "protocol", "control", "journal", "logs", "loop.py")
        for path in ([package / part] if part.endswith(".py") else (package / part).rglob("*.py"))
        if reads.search(path.read_text())
    }
    assert found <= SHOWN_ONLY
