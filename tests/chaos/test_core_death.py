"""SIGKILL of the core: at each boundary of what it does, and at random moments under load. Nothing is lost."""

import contextlib
import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path

import pytest

from hasup.control.client import ConnectionLost, ControlClient, NoAnswer
from tests.e2e.harness import Hasup, free_port, get, of_instance, until

pytestmark = pytest.mark.chaos

COUNTING = """
[programs.counter]
command = ["sh", "-c", "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.002; done"]
ready.after = "10ms"
logs.max_size = "20kB"
logs.keep = 1000
logs.compress = false
"""
SCENARIO = (
    COUNTING
    + """
[programs.web]
command = "sleep 1000"
replicas = 2
ready.after = "20ms"
restart = { delay = "20ms", jitter = 0 }
stop.timeout = "2s"
[programs.stubborn]
command = ["sh", "-c", "trap '' TERM; sleep 1002 & while :; do sleep 0.1; done"]
ready.after = "200ms"
stop.timeout = "300ms"
restart.delay = "20ms"
[programs.job]
command = "true"
kind = "task"
depends_on = ["web"]
"""
)


def running_copies(instance: str) -> Counter[str]:
    """How many main processes each replica has: those that hasup itself forked."""
    found: Counter[str] = Counter()
    for pid in of_instance(instance):
        with contextlib.suppress(OSError):
            env = dict(
                entry.split("=", 1) for entry in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in entry
            )
            session = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
            if session == pid and "HASUP_PROGRAM" in env:
                found[f"{env['HASUP_PROGRAM']}.{env['HASUP_REPLICA']}"] += 1
    return found


def lines_of(hasup: Hasup, name: str) -> list[str]:
    """All that a replica wrote, the oldest first."""
    logs = hasup.state_dir / "logs"
    rotated = sorted(logs.glob(f"{name}.log.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
    return "".join(path.read_text() for path in (*rotated, logs / f"{name}.log")).splitlines()


def assert_counted_through(hasup: Hasup) -> None:
    """The counter's lines are all there, once each, in order."""
    lines = lines_of(hasup, "counter.1")
    assert lines == [f"line {number}" for number in range(len(lines))]
    assert len(lines) > 10


def drive(hasup: Hasup) -> None:
    """A history that covers each kind of deed. A command that loses its core is simply given again."""

    def again(*arguments: str) -> None:
        until(lambda: hasup.run(*arguments, code=None).returncode == 0, " ".join(arguments))

    again("scale", "web=3")
    os.kill(hasup.replica("web.1")["pid"] or 0, signal.SIGKILL)
    again("restart", "web.2")
    again("signal", "web", "CONT")
    again("stop", "stubborn")
    again("start", "stubborn")
    again("scale", "web=2")
    again("reload", "web")


def supervisor(hasup: Hasup) -> dict:
    """What the core says of itself, without the time that a command takes to start."""
    while True:
        with contextlib.suppress(ConnectionLost, NoAnswer), ControlClient(str(hasup.state_dir)) as client:
            return client.call("status", timeout=60)["supervisor"]


def settled(hasup: Hasup) -> bool:
    states = {name: replica["state"] for name, replica in hasup.replicas().items()}
    return states == {
        "counter.1": "running", "web.1": "running", "web.2": "running", "stubborn.1": "running", "job.1": "completed",
    }  # fmt: skip


def start_dying(hasup: Hasup, text: str, k: int) -> Path:
    """Start it, with a core that dies at its k-th boundary; the file that says that it has."""
    died = hasup.folder / "died"
    hasup.env["PYTHONPATH"] = f"{Path(__file__).parent / 'dying'}:{hasup.env['PYTHONPATH']}"
    hasup.env["HASUP_TEST_DIE"] = f"{k}:{died}"
    hasup.start(text, code=None)
    until(lambda: hasup.run("status", code=None).returncode == 0, "it is up")
    return died


BOUNDARIES = [1, 2, 3, 5, 8, 12, 17, 23, 30, 38, 47, 57]
LONG = [k for k in range(1, 160) if k not in BOUNDARIES]


@pytest.mark.parametrize("k", [*BOUNDARIES, *(pytest.param(k, marks=pytest.mark.long) for k in LONG)])
def test_killed_at_the_kth_boundary(hasup, k):
    died = start_dying(hasup, SCENARIO, k)
    hasup.wait("counter.1", "counts", lambda r: r["ready"])
    before = hasup.replica("counter.1")
    drive(hasup)
    until(lambda: settled(hasup), "all as asked for")
    copies = running_copies(hasup.instance()["instance"])
    assert max(copies.values()) == 1, copies
    after = hasup.replica("counter.1")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0), "it was never touched"
    # Looking at it is a boundary too: the core may die of the answer.
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == (1 if died.exists() else 0), "counted")
    hasup.run("stop")
    assert_counted_through(hasup)


MANY = "".join(f"[programs.p{n}]\ncommand = 'sleep 1000'\nready.after = '1ms'\n" for n in range(70))


@pytest.mark.parametrize("k", [2, 5, *(pytest.param(k, marks=pytest.mark.long) for k in (3, 4, 6, 7, 8, 9, 10, 11))])
def test_killed_while_it_starts_many(hasup, k):
    """Their orders leave in several packets: the next core starts those of whom the guardian has heard nothing."""
    died = start_dying(hasup, MANY, k)
    until(lambda: all(replica["ready"] for replica in hasup.replicas().values()), "all run")
    assert died.exists()
    assert running_copies(hasup.instance()["instance"]) == Counter({f"p{n}.1": 1 for n in range(70)})


@pytest.mark.parametrize("kills", [25, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_killed_at_random_moments_under_load(hasup, kills):
    """Children, output, counters and connections do not notice; figures are printed."""
    port = free_port()
    hasup.start(
        COUNTING + '[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nport = "auto"\nreplicas = 2\n'
        f'listen = "127.0.0.1:{port}"\nready.notify = true\n'
        '[programs.crasher]\ncommand = "sh -c \'sleep 0.2; exit 7\'"\nready.after = "10ms"\n'
        'restart = { delay = "50ms", factor = 1, jitter = 0 }\n',
        code=None,  # on a slow machine the crasher has crashed before it was looked at
    )
    for name in ("web.1", "web.2", "counter.1"):
        hasup.wait(name, "is ready", lambda r: r["ready"])
    before = hasup.replicas()
    seed = int(os.environ.get("HASUP_TEST_SEED", "1"))
    chance, stop = random.Random(seed), threading.Event()
    answers, refused = [0], []

    def ask() -> None:
        while not stop.is_set():
            try:
                get(f"http://127.0.0.1:{port}/")
                answers[0] += 1
            except (OSError, HTTPException) as error:
                refused.append(repr(error))

    client = threading.Thread(target=ask)
    client.start()
    resumed = []
    try:
        for number in range(kills):
            core = supervisor(hasup)["core_pid"]
            time.sleep(chance.uniform(0, 0.1))  # the random moment
            began = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(core, signal.SIGKILL)
            until(lambda n=number: supervisor(hasup)["core_restarts"] == n + 1, "a new core")
            resumed.append(time.monotonic() - began)
    finally:
        stop.set()
        client.join()
    after = hasup.replicas()
    assert {n: after[n]["pid"] for n in ("web.1", "web.2", "counter.1")} == {
        n: before[n]["pid"] for n in ("web.1", "web.2", "counter.1")
    }
    assert after["crasher.1"]["last"]["exit_code"] == 7, "exit codes are right"
    assert after["crasher.1"]["restarts"] > before["crasher.1"]["restarts"], "counters go on"
    assert refused == []
    assert max(running_copies(hasup.instance()["instance"]).values()) == 1
    hasup.run("stop")
    assert_counted_through(hasup)
    resumed.sort()
    print(
        f"\n{kills} kills (seed {seed}), {answers[0]} requests answered, 0 refused; the next core answered after "
        f"p50 {statistics.median(resumed):.3f} s, p99 {resumed[int(len(resumed) * 0.99) - 1]:.3f} s"
    )


def test_a_core_that_hangs_is_replaced(hasup):
    hasup.start(COUNTING)
    before = hasup.replica("counter.1")
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGSTOP)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "replaced")
    assert hasup.replica("counter.1")["pid"] == before["pid"]
    hasup.run("stop")
    assert_counted_through(hasup)


def test_heartbeats_have_grace_after_a_new_core(hasup):
    hasup.start(
        '[programs.a]\ncommand = "${HASUP_PYTHON} -m hasup.demo.worker --hang-after 10000"\nready.notify = true\n'
        'heartbeat.timeout = "2s"\n'
    )
    pid = hasup.replica("a.1")["pid"]
    for _ in range(5):
        core = hasup.status()["supervisor"]["core_pid"]
        os.kill(core, signal.SIGKILL)
        until(lambda core=core: hasup.status()["supervisor"]["core_pid"] != core, "a new core")
    replica = hasup.replica("a.1")
    assert (replica["pid"], replica["restarts"]) == (pid, 0)
    os.kill(pid, signal.SIGSTOP)
    hasup.wait("a.1", "its hang is found by the new core", lambda r: r["restarts"] == 1)


def test_the_whole_tree_stopped_and_continued_is_no_hang(hasup):
    """As a machine that was suspended: nobody could send a sign of life meanwhile."""
    hasup.start(
        '[programs.a]\ncommand = "${HASUP_PYTHON} -m hasup.demo.worker --hang-after 10000"\nready.notify = true\n'
        'heartbeat.timeout = "1s"\n'
    )
    supervisor, worker = hasup.status()["supervisor"], hasup.replica("a.1")["pid"]
    tree = [supervisor["guardian_pid"], supervisor["core_pid"], worker]
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(6)  # the suspension: longer than the heartbeat's and the core's timeouts
    for pid in tree:
        os.kill(pid, signal.SIGCONT)
    # Judged late or not at all: two more heartbeat timeouts would have shown it.
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert hasup.replica("a.1")["pid"] == worker
    after = hasup.status()["supervisor"]
    assert after["core_pid"] == supervisor["core_pid"], "nor is the core called hung"


def test_the_guardian_dies_and_the_core_stops_everything(hasup):
    hasup.start(SCENARIO)
    instance = hasup.instance()["instance"]
    os.kill(hasup.instance()["guardian_pid"], signal.SIGKILL)
    until(lambda: of_instance(instance) == [], "nothing is left")
    hasup.run("status", code=3)


def test_both_die_and_the_next_start_ends_what_was_left(hasup):
    hasup.start(SCENARIO)
    supervisor = hasup.status()["supervisor"]
    old = hasup.instance()["instance"]
    for pid in (supervisor["core_pid"], supervisor["guardian_pid"]):
        os.kill(pid, signal.SIGSTOP)  # so that neither sees the other die
    for pid in (supervisor["core_pid"], supervisor["guardian_pid"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(of_instance(old)) >= 4, "programs are left alone")
    done = hasup.start()
    assert "that an earlier hasup had left" in done.stderr
    assert of_instance(old) == []
    assert max(running_copies(hasup.instance()["instance"]).values()) == 1


def test_a_race_of_twenty_starts(hasup):
    hasup.write(SCENARIO)
    starts = [
        subprocess.Popen(
            hasup.argv("start", "-d"), cwd=hasup.folder, env=hasup.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(20)
    ]
    outputs = [(one.communicate(timeout=110)[0], one.returncode) for one in starts]
    assert [code for _, code in outputs] == [0] * 20, outputs
    guardians = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{name}/cmdline").read_text()
            if "hasup.guardian" in command and str(hasup.state_dir) in command:
                guardians.append(name)
    assert len(guardians) == 1
    assert max(running_copies(hasup.instance()["instance"]).values()) == 1
