"""Resources of real process trees."""

import os
import signal
import subprocess
import sys

import pytest

from hasup.model.spec import Limit, Limits
from hasup.runtime.proc import Table, usage
from hasup.runtime.sampler import Sampler, interval_for

HOG = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
hoard = bytearray(30 << 20)
files = [open(os.devnull) for _ in range(50)]
os.write(1, b"there\\n")
while True:
    time.sleep(0.001) if sys.argv[1] == "idle" else None
"""


@pytest.fixture
def hog():
    processes = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, "-c", HOG, how], stdout=subprocess.PIPE, start_new_session=True, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["there\n"] * 2
        return process

    yield start
    for process in processes:
        for pid in Table().tree(process.pid, None):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_the_whole_tree_counts_also_a_child_with_a_session_of_its_own(hog):
    process = hog("idle")
    pids = Table().tree(process.pid, None)
    assert len(pids) == 2
    used = usage(pids, files=True)
    assert used.processes == 2
    assert used.memory_bytes > 2 * (30 << 20)
    assert used.open_files is not None
    assert used.open_files >= 100
    assert used.threads == 2


def test_samples_come_for_what_is_watched_and_no_longer(hog, loop):
    process = hog("busy")
    events = []
    sampler = Sampler(loop, events.append)
    sampler.watch("web.1", 4, process.pid, None, Limits(cpu=Limit(above=50, for_=0.1)))
    loop.until(lambda: len(events) >= 2, "samples")
    assert (events[0].slot, events[0].generation) == ("web.1", 4)
    assert events[0].cpu_percent is None, "there was nothing to compare with"
    assert events[1].cpu_percent > 20
    assert events[1].open_files is None, "nobody asked"
    sampler.unwatch("web.1")
    assert loop._patience(123.0) == 123.0, "nothing wakes the loop any more"


def test_on_demand(hog, loop):
    process = hog("busy")
    sampler = Sampler(loop, lambda _event: None)
    first = sampler.measure({"web.1": (process.pid, None)})["web.1"]
    assert first.cpu_percent is not None, "over its whole life"
    assert first.memory_bytes > 2 * (30 << 20)
    assert sampler.measure({}) == {}


def test_gone_processes_are_no_error():
    assert usage([2**22 + 1]).processes == 0


@pytest.mark.parametrize(
    ("limits", "interval"),
    [
        (Limits(), 5.0),
        (Limits(memory=Limit(above=1)), 1.0),
        (Limits(cpu=Limit(above=1, for_=30)), 5.0),
        (Limits(cpu=Limit(above=1, for_=6), memory=Limit(above=1, for_=60)), 2.0),
        (Limits(cpu=Limit(above=1, for_=0.1)), 0.5),
    ],
)
def test_how_often(limits, interval):
    assert interval_for(limits) == interval
