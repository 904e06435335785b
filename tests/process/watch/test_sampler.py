"""Resources of real process trees."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

from hasup.guardian import cgroups
from hasup.loop import Loop
from hasup.model.spec import Limit, Limits
from hasup.runtime import sampler as sampling
from hasup.runtime.proc import Table, Usage, cpu_percent, proportional, usage
from hasup.runtime.sampler import Sampler, interval_for
from tests.process.guardian.harness import can_make_cgroups

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


FAMILY = """
import os, subprocess, time
hoard = bytearray(os.urandom(1 << 20)) * 64
for _ in range(3):
    if os.fork() == 0:
        time.sleep(1000)
ended = [subprocess.Popen(["true"]) for _ in range(5)]
for each in ended:
    os.waitid(os.P_PID, each.pid, os.WEXITED | os.WNOWAIT)
os.write(1, b"there\\n")
time.sleep(1000)
"""


@pytest.fixture
def family():
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    yield process
    for pid in Table().tree(process.pid, None):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_what_forked_processes_share_counts_once_when_it_matters(family, loop):
    events = []
    sampler = Sampler(loop, events.append)
    sampler.watch("low.1", 1, family.pid, None, Limits(memory=Limit(above=100 << 20)))
    sampler.watch("high.1", 1, family.pid, None, Limits(memory=Limit(above=1 << 30)))
    loop.until(lambda: len(events) >= 4, "samples")
    by_slot = {event.slot: event.memory_bytes for event in events}
    assert by_slot["high.1"] > 4 * (64 << 20), "far from its limit: the cheap sum"
    assert (64 << 20) < by_slot["low.1"] < 2 * (64 << 20)
    assert proportional([family.pid]) is not None
    assert proportional([2**22 + 1]) == 0
    for slot in ("low.1", "high.1"):
        sampler.unwatch(slot)


def test_children_that_nobody_waited_for_count_as_processes(family, loop):
    events = []
    sampler = Sampler(loop, events.append)
    sampler.watch("web.1", 1, family.pid, None, Limits(processes=Limit(above=1, for_=0.1)))
    loop.until(lambda: events, "a sample")
    assert events[0].processes == 1 + 3 + 5
    sampler.unwatch("web.1")


def test_out_of_descriptors(hog, loop, no_room):
    """No sample rather than a wrong one, and the next comes when there is room again."""
    process = hog("idle")
    events, table = [], Table()
    sampler = Sampler(loop, events.append)
    sampler.watch("web.1", 4, process.pid, None, Limits(open_files=Limit(above=1, for_=0.1)))
    rounds = loop.turns
    with no_room():
        loop.until(lambda: loop.turns > rounds + 20, "some rounds")
        measured = sampler.measure({"web.1": (process.pid, None)})
        with pytest.raises(OSError, match="Too many open files"):
            table.tree(process.pid, None)
        during = list(events)
    assert (during, measured) == ([], {})
    assert len(table.tree(process.pid, None)) == 2, "a look that failed is not taken for an empty table"
    loop.until(lambda: events, "a sample")
    assert events[0].processes == 2
    sampler.unwatch("web.1")


def test_replicas_that_start_one_after_another_are_looked_at_together(monkeypatch):
    now, looks = [1000.0], []
    monkeypatch.setattr(sampling, "Table", lambda: looks.append(1) or Table())
    monkeypatch.setattr(sampling, "usage", lambda *_, **__: Usage(1, 1, None, {(1, 1): 1}))
    loop, events = Loop(lambda: now[0]), []
    sampler = Sampler(loop, events.append)
    for index in range(100):
        now[0] += 0.037
        sampler.watch(f"web.{index}", 1, os.getpid(), "/none", Limits(memory=Limit(above=1, for_=60)))
    monkeypatch.setattr(Table, "tree", lambda *_: [])
    while now[0] < 1030:
        now[0] += 0.01
        loop.turn(0)
    for index in range(100):
        sampler.unwatch(f"web.{index}")
    loop.close()
    assert len(events) >= 5 * 100
    assert len(looks) <= 31


@pytest.mark.parametrize("interval", [0.5, 0.7, 1.0, 2.0, 3.3, 5.0])
def test_the_next_look_is_later_than_now_and_no_later_than_an_interval(interval):
    for step in range(5000):
        now = 1234.0 + step * 0.0137
        assert now < sampling._next_due(now, interval) <= now + interval


def test_processor_time_of_processes_that_come_and_go_is_never_negative():
    before = Usage(0, 0, None, {(1, 1): 500, (2, 1): 9000, (3, 1): 50})
    after = Usage(0, 0, None, {(1, 1): 600, (3, 7): 20})  # 2 went; another 3 came
    tick = os.sysconf("SC_CLK_TCK")
    assert cpu_percent(before, after, 2.0) == round(100 * 120 / tick / 2, 1)
    assert cpu_percent(after, Usage(0, 0, None, {(1, 1): 590}), 1.0) == 0.0
    assert cpu_percent(before, after, 0.0) is None


def test_a_cgroup_knows_of_the_time_of_those_that_have_gone():
    """A loop of short commands: none of them lives at both looks."""
    if not can_make_cgroups():
        pytest.skip("no cgroup v2 folder may be made here")
    own = cgroups.Cgroups(uuid.uuid4().hex, True)
    folder = own.of("web.1")
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = (
        "import subprocess, sys\nopen(sys.argv[1], 'w').write('0')\nprint('in', flush=True)\ninput()\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\nprint('burnt', flush=True)\ninput()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{folder}/cgroup.procs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "in\n"
        before = usage([process.pid], cgroup=folder)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "burnt\n"
        after = usage([process.pid], cgroup=folder)
    finally:
        process.kill()
        process.communicate()
        own.close()
    assert cpu_percent(before, after, 1.0) >= 30.0
    alone = [used._replace(cpu_s=None) for used in (before, after)]
    assert cpu_percent(*alone, 1.0) < 30.0, "the table of processes does not tell"


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
        (Limits(age=Limit(above=86400)), 5.0),
        (Limits(age=Limit(above=10)), 1.0),
    ],
)
def test_how_often(limits, interval):
    assert interval_for(limits) == interval
