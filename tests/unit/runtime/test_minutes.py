"""What replicas used in a minute, out of the samples that were taken anyway."""

from collections.abc import Iterator

import pytest

from hasup.journal.samples import Minute, Row
from hasup.loop import Loop
from hasup.model.events import Sampled
from hasup.runtime.minutes import Minutes
from hasup.runtime.trail import Trail

MB = 1_000_000


class World:
    """A loop by a clock of its own, and what would have been written."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.loop = Loop(lambda: self.now)
        self.used = (10 * MB, 0, 3)
        self.looks = 0
        self.written: list[Minute] = []
        self.trail = Trail(self.loop, self._look)
        minutes = Minutes(self.loop, self.trail.samples, self.written.append, lambda: self.now + 5000.0)
        self.trail.on_minute = minutes.over

    def _look(self, _pid: int) -> tuple[int, int, int]:
        self.looks += 1
        return self.used

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.5)
            self.loop.turn(0)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.loop.close()


def test_a_row_a_minute_and_no_look_more_than_there_was(world: World) -> None:
    world.trail.watch("web.1", 7, sampled=False)
    world.wait(30)
    world.used = (30 * MB, 100, 4)
    world.wait(40)
    (minute,) = world.written
    assert minute.at == pytest.approx(6000, abs=1)
    (row,) = minute.rows
    assert row.replica == "web.1"
    assert row.memory_most == 30 * MB
    assert 10 * MB < row.memory < 30 * MB
    assert row.cpu is not None
    assert 0 < row.cpu < (row.cpu_most or 0)
    assert (row.threads, row.processes, row.open_files) == (4, None, None)
    assert world.looks == 4, "it did nothing for a while"
    world.wait(60)
    assert world.written[1].rows == [Row("web.1", 0.0, 0.0, 30 * MB, 30 * MB, 4, None, None)]


def test_a_tree_that_is_sampled_for_its_limits(world: World) -> None:
    world.trail.watch("web.1", 7, sampled=True)
    for second in range(61):
        world.trail.note(
            Sampled("web.1", 1, memory_bytes=second * MB, cpu_percent=50.0, processes=4, threads=9, open_files=None)
        )
        world.wait(1)
    row = world.written[0].rows[0]
    assert (row.cpu, row.cpu_most, row.threads, row.processes, row.open_files) == (50.0, 50.0, 9, 4, None)
    assert row.memory_most >= 58 * MB
    assert world.looks == 0


def test_more_than_one_turn_takes(world: World) -> None:
    for number in range(450):
        world.trail.watch(f"web.{number}", number, sampled=False)
    world.wait(70)
    assert [len(minute.rows) for minute in world.written] == [450]


def test_nothing_lives(world: World) -> None:
    world.trail.watch("web.1", 7, sampled=False)
    world.wait(5)
    world.trail.unwatch("web.1")
    world.wait(200)
    assert world.written == []
    assert world.loop._patience(123.0) == 123.0, "nothing wakes the loop any more"
