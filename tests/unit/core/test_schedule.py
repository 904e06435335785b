"""Tasks on a schedule. The wall clock is the monotonic one plus what an event said; a run is due each hour."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Hooks, Restart
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

HOUR = 3600.0


def task(schedule: str = "15", **options):
    rule = options.pop("restart", Restart(policy="never"))
    return program("job", **({"kind": "task", "schedule": schedule, "restart": rule} | options))


def scheduled(*programs, offset: float = 0.0) -> Driver:
    """At 100 s of the monotonic clock; the first run is due at 900 s of the wall clock."""
    driver = Driver(*(programs or (task(),)))
    driver.tell(ev.WallClock(offset))
    driver.tell(ev.Start(("job.1",), by="hasup"))
    return driver


def spawned(driver: Driver) -> list[str]:
    return driver.asked(act.Spawn)


def run_once(driver: Driver, code: int = 0) -> None:
    driver.spawned("job.1")
    driver.exits("job.1", code)


def test_it_waits_for_its_time():
    driver = scheduled()
    known = driver["job.1"]
    assert (known.state, known.reason, known.settled) == (State.WAITING, "next run at 15 min", True)
    assert driver.core.settled()
    driver.wait(799.0)
    assert driver.state("job.1") is State.WAITING
    done = driver.wait(1.0)
    assert [a.slot for a in done if isinstance(a, act.Spawn)] == ["job.1"]
    assert driver["job.1"].reason == "its time has come: 15 min"


def test_after_a_run_comes_the_next():
    driver = scheduled()
    driver.wait(800.0)
    run_once(driver)
    known = driver["job.1"]
    assert (known.state, known.reason) == (State.WAITING, "exited with code 0; next run at 75 min")
    assert known.last is not None
    assert known.last.result is Result.SUCCESS
    driver.wait(HOUR)
    assert (driver["job.1"].generation, driver.state("job.1")) == (2, State.STARTING)


def test_a_run_that_is_not_over_is_not_doubled():
    driver = scheduled()
    driver.wait(800.0)
    driver.spawned("job.1")
    done = driver.wait(2 * HOUR)
    assert [a.reason for a in done if isinstance(a, act.Changed) and a.event == "skipped"] == [
        "the run of 75 min is left out: the one before is not over",
        "the run of 135 min is left out: the one before is not over",
    ]
    assert [a for a in done if isinstance(a, act.Spawn)] == []
    driver.exits("job.1", 0)
    assert driver["job.1"].reason.endswith("next run at 195 min")


def test_a_failure_follows_the_restart_policy():
    driver = scheduled(task(restart=Restart(delay=1.0, jitter=0.0, limit=1, on_limit="fail")))
    driver.wait(800.0)
    run_once(driver, 3)
    assert driver.state("job.1") is State.BACKOFF
    driver.wait(1.0)
    assert driver["job.1"].generation == 2
    run_once(driver, 3)
    known = driver["job.1"]
    assert (known.state, known.run_at, known.deadline) == (State.FAILED, None, None), "it gave up, as it was told to"
    driver.wait(3 * HOUR)
    assert driver["job.1"].generation == 2
    driver.tell(ev.Start(("job.1",)))
    assert driver.state("job.1") is State.WAITING


def test_a_failure_that_is_not_tried_again_waits_for_the_next_run():
    driver = scheduled(task(hooks=Hooks(on_failed=("x",))))
    driver.wait(800.0)
    run_once(driver, 3)
    known = driver["job.1"]
    assert known.last is not None
    assert (known.state, known.last.result) == (State.WAITING, Result.EXIT_CODE)
    assert [a.hook for a in driver.actions if isinstance(a, act.RunHook)] == ["on_failed"]


def test_a_start_by_name_runs_it_now_and_leaves_the_schedule_alone():
    driver = scheduled()
    driver.tell(ev.Start(("job.1",), at_once=True))
    assert spawned(driver) == ["job.1"]
    assert not driver.core.settled()
    run_once(driver)
    assert driver["job.1"].reason.endswith("next run at 15 min")
    assert driver.core.settled()
    driver.tell(ev.Start(("job.1",)))
    assert spawned(driver) == []
    driver.tell(ev.Restart(("job.1",)))
    assert spawned(driver) == ["job.1"]


def test_a_stop_ends_the_waiting():
    driver = scheduled()
    driver.tell(ev.Stop(("job.1",)))
    assert (driver.state("job.1"), driver.core.next_deadline()) == (State.STOPPED, None)


def test_what_it_depends_on_comes_first():
    driver = Driver(program("db"), task(depends_on={"db": Dependency()}))
    driver.tell(ev.Start(("job.1",)))
    driver.tell(ev.Stop(("db.1",)))
    driver.exits("db.1", None, signal=15)
    driver.wait(800.0)
    assert driver["job.1"].reason == "waits for db to be ready"
    done = driver.wait(HOUR)
    assert [a.event for a in done if isinstance(a, act.Changed)] == ["skipped"]
    driver.up("db.1")
    assert driver["job.1"].generation == 1


# --- the wall clock ---------------------------------------------------------------------------------------------------
def test_the_wall_clock_is_what_counts():
    driver = scheduled(offset=600.0)  # it is 700 s now
    driver.wait(199.0)
    assert driver.state("job.1") is State.WAITING
    driver.wait(1.0)
    assert driver.state("job.1") is State.STARTING


@pytest.mark.parametrize(("jump", "wait"), [(300.0, 500.0), (-300.0, 1100.0), (-2 * HOUR, 800.0 + 2 * HOUR)])
def test_a_clock_that_is_set_brings_the_run_nearer_or_puts_it_off(jump, wait):
    driver = scheduled()
    driver.tell(ev.WallClock(jump))
    assert driver["job.1"].deadline == pytest.approx(driver.now + wait)
    driver.wait(wait)
    assert driver.state("job.1") is State.STARTING


def test_a_clock_that_is_set_back_repeats_nothing_unless_it_had_been_wrong():
    driver = scheduled()
    driver.wait(800.0)
    run_once(driver)
    driver.tell(ev.WallClock(-HOUR))
    assert driver["job.1"].run_at == 75 * 60
    driver.tell(ev.WallClock(-HOUR - 30 * HOUR))
    assert driver["job.1"].run_at == 15 * 60 - 31 * HOUR + HOUR


def test_a_run_that_was_missed_is_not_made_up_for():
    driver = scheduled()
    driver.tell(ev.WallClock(HOUR))
    assert driver.told("missed") == ["the run of 15 min was missed, and is not made up for"]
    assert driver["job.1"].reason == "next run at 75 min"
    driver.now += HOUR  # the loop stood still
    driver.tell(ev.Due())
    assert driver.told("missed") == ["the run of 75 min was missed, and is not made up for"]
    assert spawned(driver) == []


def test_a_run_that_is_a_little_late_is_no_missed_one():
    driver = scheduled()
    driver.now += 830.0
    driver.tell(ev.Due())
    assert spawned(driver) == ["job.1"]


def test_nothing_else_goes_by_the_wall_clock():
    driver = Driver(program("web"), program("x", restart=Restart(delay=5.0)))
    driver.up()
    driver.exits("x.1", 1)
    before = dict(driver.core.replicas)
    for offset in (1e9, -1e9, 0.0):
        assert driver.tell(ev.WallClock(offset)) == []
    assert dict(driver.core.replicas) == before


def test_a_new_core_goes_on_and_knows_what_was_missed_meanwhile():
    driver = scheduled()
    driver.new_core()
    driver.tell(ev.WallClock(0.0))
    assert (driver["job.1"].reason, driver["job.1"].deadline) == ("next run at 15 min", 900.0)
    driver.now += HOUR
    driver.new_core()
    driver.tell(ev.WallClock(0.0))
    assert driver.told("missed") == ["the run of 15 min was missed, and is not made up for"]


# --- another configuration --------------------------------------------------------------------------------------------
def test_another_schedule_holds_from_now_on():
    driver = scheduled()
    driver.reload(task("5"))
    assert driver["job.1"].reason == "next run at 5 min"
    driver.reload(task("5", command=("y",)))
    assert spawned(driver) == [], "what does not run is not restarted"
    assert driver["job.1"].reason == "next run at 5 min"


def test_a_schedule_that_comes_and_goes():
    driver = Driver(program("job", kind="task"))
    driver.tell(ev.WallClock(0.0))
    driver.up("job.1").exits("job.1", 0)
    assert driver.state("job.1") is State.COMPLETED
    driver.reload(task())
    assert driver["job.1"].reason == "exited with code 0; next run at 15 min"
    driver.reload(program("job", kind="task"))
    assert spawned(driver) == ["job.1"]
    assert driver["job.1"].run_at is None
