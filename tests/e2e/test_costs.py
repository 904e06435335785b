"""What a crash and a command cost, in counts that no machine changes: system calls and imports. Never in time."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Hasup, until

HEAVY = {
    "asyncio", "click", "dataclasses", "datetime", "inspect", "logging", "msgspec", "pathlib", "psutil", "rich",
    "sqlite3", "structlog", "subprocess", "tempfile", "tomli", "unittest", "urllib",
}  # fmt: skip
MOST_MODULES = 20  # of hasup's own, for `hasup status`
MOST_CALLS = {"guardian": 50, "core": 56}
UNCOUNTED = {"epoll_wait", "futex", "restart_syscall", "sched_yield"}  # how often one sleeps is a matter of chance
CRASHING = """
[defaults]
restart = { delay = "0s" }
ready.after = "0s"
"""


def imported(hasup: Hasup, *arguments: str) -> set[str]:
    """The modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hasup", *arguments],
        cwd=hasup.folder, env=hasup.env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_status_imports_next_to_nothing(hasup):
    hasup.start("[programs.a]\ncommand = 'sleep 1000'\n")
    modules = imported(hasup, "status")
    assert "hasup.cli.statusview" in modules
    assert not {name for name in modules if name.partition(".")[0] in HEAVY}
    assert len([name for name in modules if name.partition(".")[0] == "hasup"]) <= MOST_MODULES


def test_start_imports_no_decisions(hasup):
    """They are the core's; what the command needs is the configuration."""
    hasup.start("[programs.a]\ncommand = 'sleep 1000'\n")
    hasup.run("stop")
    modules = imported(hasup, "start", "-d")
    hasup.run("stop")
    assert "hasup.config.loading" in modules
    assert not {name for name in modules if name.startswith(("hasup.core", "hasup.journal", "hasup.dispatch"))}
    assert not modules & {"click", "sqlite3", "psutil", "structlog", "asyncio"}


def calls(hasup: Hasup, slot: str, trace: Path) -> dict[str, int]:
    """System calls of guardian and core (their main threads) for one crash and the start that follows."""
    own = hasup.status()["supervisor"]
    pids = {"guardian": own["guardian_pid"], "core": own["core_pid"]}
    before = hasup.replica(slot)["pid"]
    attach = [word for pid in pids.values() for word in ("-p", str(pid))]
    log = hasup.state_dir / "logs" / "hasup.log"
    runs = log.read_text().count('"to": "running"')
    strace = subprocess.Popen(["strace", "-f", "-o", str(trace), *attach], stderr=subprocess.PIPE, text=True)
    try:
        assert strace.stderr is not None
        attached = [strace.stderr.readline() for _ in pids]
        if not all("attached" in line for line in attached):
            pytest.skip(f"strace may not look here: {attached[0].strip()}")
        os.kill(before, signal.SIGKILL)
        until(lambda: log.read_text().count('"to": "running"') > runs, "it runs again")
    finally:
        strace.terminate()
        strace.communicate(timeout=60)
    counted = dict.fromkeys(pids, 0)
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        for name, pid in pids.items():
            counted[name] += found is not None and int(found[1]) == pid and found[2] not in UNCOUNTED
    return counted


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_crash_costs_few_system_calls_and_no_more_among_many(hasup, tmp_path):
    found = {}
    for count in (2, 60):
        hasup.start(CRASHING + "".join(f"[programs.of{count}-{n}]\ncommand = 'sleep 1000'\n" for n in range(count)))
        runs = [calls(hasup, f"of{count}-0.1", tmp_path / f"{count}.{number}") for number in range(3)]
        found[count] = {name: min(run[name] for run in runs) for name in MOST_CALLS}
        hasup.run("stop")
    for name, most in MOST_CALLS.items():
        assert found[60][name] <= most
        assert found[60][name] <= found[2][name] + 6, "it grows with the number of programs"
