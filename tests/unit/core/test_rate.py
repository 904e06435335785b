"""The most starts a second over all programs."""

import pytest

from hasup.core.rate import Rate
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Restart
from hasup.model.state import State
from tests.unit.core.driver import Driver, program


@pytest.mark.parametrize("per_second", [1, 4, 100])
def test_a_burst_then_one_at_a_time(per_second):
    rate = Rate(per_second)
    turns = [rate.turn(50.0) for _ in range(3 * per_second)]
    assert turns[:per_second] == [50.0] * per_second
    assert turns[per_second:] == pytest.approx([50.0 + (i + 1) / per_second for i in range(2 * per_second)])


def test_the_burst_comes_back_with_time():
    rate = Rate(4)
    assert [rate.turn(0.0) for _ in range(4)] == [0.0] * 4
    assert [rate.turn(0.5) for _ in range(2)] == [0.5] * 2
    assert rate.turn(0.5) == pytest.approx(0.75)


def test_what_was_given_away_stays_given():
    rate = Rate(2)
    rate.taken(10.0)
    assert rate.turn(9.0) == pytest.approx(10.5)
    rate.change(4)
    assert rate.turn(9.0) == pytest.approx(10.75)


def test_all_are_started_each_in_its_turn():
    driver = Driver(program(replicas=5), rate=2)
    driver.tell(ev.Start(tuple(driver.core.replicas)))
    assert driver.asked(act.Spawn) == ["web.1", "web.2"]
    assert driver["web.3"].reason == "waits for its turn: restart_rate is reached"
    driver.wait(0.5)
    assert driver.asked(act.Spawn) == ["web.3"]
    driver.wait(1.0)
    assert driver.asked(act.Spawn) == ["web.4", "web.5"]


@pytest.mark.parametrize("wish", [ev.Start, ev.Restart])
def test_an_operator_does_not_jump_the_queue(wish):
    driver = Driver(program(replicas=3), rate=1)
    driver.tell(ev.Start(tuple(driver.core.replicas)))
    for _ in range(3):
        driver.tell(wish(("web.2", "web.3")))
        assert driver.asked(act.Spawn) == []
    driver.wait(1.0)
    assert driver.asked(act.Spawn) == ["web.2"]


def test_a_turn_that_was_not_taken_is_lost():
    driver = Driver(program(replicas=2), rate=1)
    driver.tell(ev.Start(("web.1", "web.2")))
    driver.tell(ev.Stop(("web.2",)))
    assert not driver["web.2"].admitted
    driver.tell(ev.Start(("web.2",)))
    assert driver.asked(act.Spawn) == []


def test_a_new_core_knows_whose_turn_comes_next():
    driver = Driver(program(replicas=4), rate=1)
    driver.tell(ev.Start(("web.1", "web.2", "web.3")))  # two of them at 101 and 102
    driver.new_core()
    driver.tell(ev.Start(("web.4",)))
    assert driver["web.4"].deadline == pytest.approx(103.0)


def test_a_crash_loop_waits_its_turn_too():
    driver = Driver(program(restart=Restart(delay=0.0)), rate=1).up()
    driver.exits("web.1")
    assert driver.state("web.1") is State.BACKOFF
    assert driver["web.1"].deadline == pytest.approx(101.0)
    driver.wait(1.0)
    assert driver.asked(act.Spawn) == ["web.1"]


# --- fairness between programs ----------------------------------------------------------------------------------------
STORM = Restart(delay=0.0)


def test_a_program_that_crashes_without_pause_does_not_keep_another_one_waiting():
    driver = Driver(program("storm", replicas=50, restart=STORM), program("quiet", restart=STORM), rate=10)
    driver.tell(ev.Start(("quiet.1",)))
    driver.spawned("quiet.1")
    driver.tell(ev.Start(tuple(f"storm.{i}" for i in range(1, 51))))

    def crash_all_that_run(spawned):
        for slot in spawned:
            driver.spawned(slot)
            driver.exits(slot)

    crash_all_that_run(driver.asked(act.Spawn))
    assert all(driver.state(f"storm.{i}") in (State.BACKOFF, State.WAITING) for i in range(1, 51))
    driver.exits("quiet.1")
    order = []
    while "quiet.1" not in order:
        driver.wait(driver.core.next_deadline() - driver.now)
        order += (spawned := driver.asked(act.Spawn))
        crash_all_that_run([slot for slot in spawned if slot != "quiet.1"])
    assert len(order) <= 2, "next in turn, behind one of the storm at most"
    driver.wait(10.0)
    assert len(set(driver.asked(act.Spawn))) == 50, "and all of the storm have theirs"


def test_programs_take_turns():
    driver = Driver(program("a", replicas=4), program("b", replicas=3), program("c"), program("first"), rate=1)
    driver.tell(ev.Start(("first.1", "a.1", "a.2", "a.3", "a.4", "b.1", "b.2", "b.3", "c.1")))
    assert driver.asked(act.Spawn) == ["first.1"]
    order = []
    for _ in range(8):
        driver.wait(1.0)
        order += driver.asked(act.Spawn)
    names = [slot[0] for slot in order]
    assert [sorted(names[:3]), sorted(names[3:5]), sorted(names[5:7]), names[7:]] == [[*"abc"], [*"ab"], [*"ab"], ["a"]]
    assert len(set(order)) == 8


def test_no_more_start_than_the_rate_allows_whoever_overtakes():
    driver = Driver(*(program(name, replicas=5, restart=STORM) for name in "abcdefg"), rate=2)
    driver.tell(ev.Start(tuple(driver.core.replicas)))
    started = [driver.asked(act.Spawn)]
    for _ in range(33):
        driver.wait(0.5)
        started.append(driver.asked(act.Spawn))
    assert [len(slots) for slots in started] == [2] + [1] * 33
    assert len({slot for slots in started for slot in slots}) == 35


def test_a_new_core_keeps_the_order():
    driver = Driver(program("a", replicas=4), program("b", replicas=2), rate=1)
    driver.tell(ev.Start(("a.1", "a.2", "a.3", "a.4")))
    driver.new_core()
    driver.tell(ev.Start(("b.1",)))
    assert driver["b.1"].deadline == pytest.approx(102.0), "after a.2, before a.3"


def test_one_that_is_stopped_leaves_the_queue():
    driver = Driver(program("a", replicas=3), program("b"), rate=1)
    driver.tell(ev.Start(("a.1", "a.2", "a.3")))
    driver.tell(ev.Stop(("a.2", "a.3")))
    driver.tell(ev.Scale("a", 1))
    driver.tell(ev.Start(("b.1",)))
    assert driver["b.1"].deadline == pytest.approx(103.0), "the two turns are lost, and nobody is there to overtake"
