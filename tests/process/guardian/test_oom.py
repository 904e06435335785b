"""A kill for want of memory is told from any other: by the counter of the slot's cgroup, or of hasup's own."""

import signal
from pathlib import Path

import pytest

from hasup.guardian.cgroups import SharedOoms
from hasup.guardian.slot import Slot
from hasup.guardian.spawn import Report
from hasup.guardian.tree import Tree

NOWHERE = SharedOoms(None)


def count(folder: Path, kills: int) -> None:
    """What the kernel writes there."""
    (folder / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 9\noom_kill {kills}\noom_group_kill 0\n")


def slot(folder: Path | None) -> Slot:
    made = Slot("web.1")
    made.begin(1, Tree(2**22 + 1, None if folder is None else str(folder), (), set), Report(-1), [])
    return made


@pytest.mark.parametrize(
    ("status", "kills", "oom"),
    [
        (signal.SIGKILL, 4, True),
        (signal.SIGKILL, 3, False),  # somebody else's KILL
        (signal.SIGTERM, 4, False),  # a helper of it was killed, and it ended by something else
        (1 << 8, 4, False),
    ],
)
def test_by_the_counter_of_its_own_cgroup(tmp_path, status, kills, oom):
    count(tmp_path, 3)
    known = slot(tmp_path)
    count(tmp_path, kills)
    known.end(status, NOWHERE)
    assert known.exit is not None
    assert known.exit["oom"] is oom


def test_by_the_counter_of_hasups_own_cgroup(tmp_path):
    count(tmp_path, 3)
    shared = SharedOoms(str(tmp_path))
    slots = [slot(None) for _ in range(3)]
    count(tmp_path, 5)
    for known in slots:
        known.end(signal.SIGKILL, shared)
    assert [known.exit["oom"] for known in slots] == [True, True, False], (
        "two were killed for that, one for another reason"
    )


def test_a_kill_of_some_helper_is_not_taken_for_a_later_one(tmp_path):
    count(tmp_path, 3)
    shared = SharedOoms(str(tmp_path))
    helped, other = slot(None), slot(None)
    count(tmp_path, 4)
    helped.end(1 << 8, shared)
    other.end(signal.SIGKILL, shared)
    assert other.exit is not None
    assert other.exit["oom"] is False


def test_where_nothing_counts(tmp_path):
    known = slot(tmp_path)
    known.end(signal.SIGKILL, SharedOoms(str(tmp_path)))
    assert known.exit is not None
    assert known.exit["oom"] is False
