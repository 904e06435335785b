"""Evidence is bounded in number, in time and in size, and a disk that fails harms nobody."""

import os
import time

import pytest

from hasup.loop import Loop
from hasup.model.events import Sampled
from hasup.model.spec import Program
from hasup.model.state import LastRun, Replica, Result, State
from hasup.runtime import evidence, records
from hasup.runtime.evidence import Evidence
from hasup.runtime.trail import KEPT, SPACING_S, Trail, main_process

PROGRAM = Program(name="web", command=("web", "--password", "hunter2"))


class Sinks:
    lines = ("one", "two")

    def drain(self, slot):
        pass

    def mark(self, slot):
        pass

    def tail(self, slot, lines, max_bytes, *, of_this_run):
        return list(self.lines)


class Ward:
    def __init__(self, folder):
        self.now = 1000.0
        self.folder = str(folder)
        self.loop = Loop(lambda: self.now)
        self.troubles = []
        self.sinks = Sinks()
        self.trail = Trail(self.loop)
        self.evidence = Evidence(
            self.loop, self.folder, self.sinks, self.trail, lambda key, text: self.troubles.append((key, text))
        )

    def crashes(self, slot, generation=1):
        last = LastRun(Result.EXIT_CODE, exit_code=3)
        replica = Replica(name=slot, program="web", index=1, generation=generation, last=last)
        self.evidence.of_ended(replica, generation, PROGRAM, {"HOME": "/x"}, self.evidence.last_words(slot))

    def wait(self, seconds):
        self.now += seconds
        self.loop.turn(0)

    def written(self):
        return sum(len(records.generations(self.folder, slot)) for slot in records.slots(self.folder))


@pytest.fixture
def ward(tmp_path):
    one = Ward(tmp_path)
    yield one
    one.loop.close()


def test_a_storm_of_crashes_is_written_down_bit_by_bit(ward):
    for number in range(120):
        ward.crashes(f"web.{number}")
    assert ward.written() == 50
    ward.wait(1.0)
    assert ward.written() == 100
    ward.wait(1.0)
    assert ward.written() == 120
    ward.wait(1.0)
    assert ward.loop._patience(123.0) == 123.0, "nothing wakes the loop any more"


def test_at_the_end_everything_is_written(ward):
    for number in range(120):
        ward.crashes(f"web.{number}")
    ward.evidence.flush()
    assert ward.written() == 120


def test_of_one_replica_the_newest_few_are_kept(ward):
    for generation in range(1, 13):
        ward.crashes("web.1", generation)
    assert records.generations(ward.folder, "web.1") == [8, 9, 10, 11, 12]


def test_what_is_as_old_as_the_journal_gets_is_dropped_at_the_next_start(ward):
    ward.crashes("web.1")
    ward.crashes("web.2")
    month_ago = time.time() - 31 * 86_400
    os.utime(os.path.join(ward.folder, records.FOLDER, "web.1"), (month_ago, month_ago))
    Evidence(ward.loop, ward.folder, ward.sinks, ward.trail, lambda _key, _text: None)
    assert records.slots(ward.folder) == ["web.2"]


def test_a_record_that_is_too_large_loses_its_parts(ward):
    record = {"output": ["x" * 1000] * 100, "samples": [{"ago_s": 1.0}] * 1000, "end": {"result": "signal"}}
    records.write(ward.folder, "web.1", 1, record)
    assert os.path.getsize(records.path(ward.folder, "web.1", 1)) <= records.MOST_BYTES
    assert records.read(ward.folder, "web.1", 1) == {"end": {"result": "signal"}, "cut": True}


def test_a_disk_that_fails_is_said_once_it_is_over_too(ward):
    blocked = os.path.join(ward.folder, records.FOLDER)
    with open(blocked, "w"):
        pass
    ward.crashes("web.1")
    assert ward.troubles == [("evidence", "evidence cannot be written: not a directory")]
    os.unlink(blocked)
    ward.crashes("web.1")
    assert ward.troubles[-1] == ("evidence", None)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"instance": "another"}'])
def test_a_file_that_is_damaged_or_anothers_is_begun_anew(ward, text):
    os.makedirs(os.path.join(ward.folder, records.FOLDER, "web.1"))
    with open(records.path(ward.folder, "web.1", 1), "w") as file:
        file.write(text)
    last = LastRun(Result.SIGNAL, signal="SIGKILL")
    replica = Replica(name="web.1", program="web", index=1, last=last)
    ward.evidence.of_ended(replica, 1, PROGRAM, {"HASUP_INSTANCE": "mine"}, ([], []))
    found = records.read(ward.folder, "web.1", 1)
    assert found is not None
    assert (found["instance"], found["command"]) == ("mine", ["web", "--password", "***"])


def test_when_many_hang_at_once_the_looks_at_them_are_cut_short(ward, monkeypatch):
    allowed = []
    monkeypatch.setattr(evidence, "look", lambda pid, within: allowed.append(within) or {"pid": pid})
    ward.evidence._time_to_look = 0.01
    replica = Replica(name="web.1", program="web", index=1, pid=1, state=State.ABORTING)
    ward.evidence.of_living(replica, PROGRAM, "why", {})
    ward.evidence._time_to_look = -0.01
    ward.evidence.of_living(replica, PROGRAM, "why", {})
    ward.wait(1.0)
    ward.evidence.of_living(replica, PROGRAM, "why", {})
    assert allowed == [0.01, -0.01, 0.05]
    found = records.read(ward.folder, "web.1", 0)
    assert found is not None
    assert len(found["looks"]) == 3


# --- the last minutes -------------------------------------------------------------------------------------------------
def test_samples_are_thinned_and_the_newest_is_among_them(ward):
    ward.trail.watch("web.1", 1, sampled=True)
    for second in range(100):
        ward.now = 1000.0 + second
        ward.trail.note(Sampled("web.1", 1, second, 1.5, 1, 2, None))
    found = ward.trail.of("web.1")
    assert [sample["memory_bytes"] for sample in found] == list(range(0, 100, 9)), "just under ten seconds apart"
    assert found[-1] == {"ago_s": 0.0, "memory_bytes": 99, "cpu_percent": 1.5, "threads": 2, "processes": 1}


def test_samples_are_bounded_and_a_new_process_begins_anew(ward):
    ward.trail.watch("web.1", 1, sampled=True)
    for _ in range(1000):
        ward.now += SPACING_S
        ward.trail.note(Sampled("web.1", 1, 1, 1.0, 1, 1, 1))
    assert len(ward.trail.of("web.1")) == KEPT
    ward.trail.watch("web.1", 1, sampled=True)
    assert len(ward.trail.of("web.1")) == KEPT, "the same process in another state"
    ward.trail.watch("web.1", 2, sampled=True)
    assert ward.trail.of("web.1") == []
    ward.trail.unwatch("web.1")
    ward.trail.note(Sampled("web.1", 1, 1, 1.0, 1, 1, 1))
    assert ward.trail.of("web.1") == []


def test_those_without_limits_are_read_now_and_then(tmp_path):
    ward, looks = Ward(tmp_path), []
    trail = Trail(ward.loop, lambda pid: looks.append(pid) or (pid * 100, 50 * len(looks), 3))
    for number in range(250):
        trail.watch(f"web.{number}", number, sampled=number == 0)
    ward.wait(SPACING_S)
    assert looks == list(range(1, 201)), "not all in one turn of the loop"
    ward.wait(0.01)
    assert looks == list(range(1, 250))
    assert trail.of("web.7") == [{"ago_s": 0.0, "memory_bytes": 700, "threads": 3}]
    for number in range(250):
        trail.unwatch(f"web.{number}")
    assert ward.loop._patience(123.0) == 123.0
    ward.loop.close()


def test_one_that_does_nothing_is_looked_at_less_often(tmp_path):
    ward, looks, used = Ward(tmp_path), [], [(100, 50, 3)]
    trail = Trail(ward.loop, lambda pid: looks.append(ward.now) or used[0])
    trail.watch("web.1", 1, sampled=False)
    began = ward.now
    for _ in range(8):
        ward.wait(SPACING_S)
    assert [look - began for look in looks] == [10, 20, 50, 80]
    used[0] = (100, 51, 3)  # it did something
    for _ in range(5):
        ward.wait(SPACING_S)
    used[0] = (200, 51, 3)
    ward.wait(SPACING_S)
    assert [look - began for look in looks[4:]] == [110, 120]
    ward.loop.close()


def test_a_real_process_is_read():
    found = main_process(os.getpid())
    assert found is not None
    assert found[0] > 0
    assert found[2] >= 1
    assert main_process(2**22 + 1) is None
