"""A child is in its cgroup before it does anything, however the kernel lets it get there."""

import errno
import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from hasup.guardian import cloning, forking
from hasup.guardian.spawn import spawn
if sys.argv[2] != "as ever":
    cloning._spawn, forking._CLONE3 = None, int(sys.argv[2])
reads, writes = os.pipe()
pid, report = spawn({"argv": ["cat", "/proc/self/cgroup"]}, [(0, -1), (1, writes)], sys.argv[1] or None)
os.close(writes)
print(os.read(reads, 4096).decode(), end="")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert report.read() or os.read(report.fd, 1) == b""
print("in it" if report.in_cgroup else "not in it")
"""
# Cloned where that can be; forked by clone3; forked on a kernel, or in a container, that has no such system call.
WAYS = ["as ever", "435", "1000000"]


def child_of(cgroup: str, number: str) -> list[str]:
    """The lines of its /proc/self/cgroup, and what the guardian takes it for."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, cgroup, number], check=True, capture_output=True, text=True, timeout=60
    ).stdout.splitlines()


@pytest.mark.parametrize("number", WAYS)
def test_a_child_is_in_its_cgroup(folder, number):
    *lines, said = child_of(folder, number)
    assert any(line.startswith("0::") and line.endswith(os.path.basename(folder)) for line in lines)
    assert said == "in it"


def test_where_the_kernel_can_it_is_born_there(folder):
    """Not moved there: that takes ten milliseconds."""
    script = (
        "import ctypes, os, sys\nfrom hasup.guardian.forking import fork_into\npid, placed = fork_into(sys.argv[1])\n"
        "if pid == 0: os._exit(0)\nos.waitpid(pid, 0)\nprint(placed, ctypes.get_errno())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, timeout=60, check=True
    )
    placed, number = done.stdout.split()
    if int(number) in (errno.ENOSYS, errno.EPERM):
        pytest.skip("no clone3 here")
    assert placed == "True"


@pytest.mark.parametrize("number", WAYS)
def test_a_child_whose_cgroup_is_gone_lives_without_one(folder, number):
    *lines, said = child_of(f"{folder}/gone", number)
    assert lines
    assert said == "not in it"


@pytest.mark.parametrize("number", WAYS)
def test_a_child_without_a_cgroup_stays_where_its_parent_is(number):
    with open("/proc/self/cgroup", encoding="ascii") as file:
        here = file.read().splitlines()
    assert child_of("", number)[:-1] == here
