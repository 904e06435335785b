"""Programs that share a fate."""

import pytest

from hasup.core.groups import over_limit, taken_along
from hasup.model import events as ev
from hasup.model.spec import Group, Restart
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

ABC = ("a", "b", "c")


@pytest.mark.parametrize(
    ("strategy", "along"), [("one-for-one", ()), ("one-for-all", ("a", "c")), ("rest-for-one", ("c",))]
)
def test_whom_a_failure_takes_along(strategy, along):
    assert taken_along(Group(name="g", programs=ABC, strategy=strategy), "b") == along


def test_the_budget_of_a_group_is_a_sliding_window_and_bounded():
    group = Group(name="g", programs=ABC, limit=2, window=10.0)
    history, results = [], []
    for now in (0.0, 1.0, 2.0, 13.0, 14.0, 15.0):
        history, too_many = over_limit(group, history, now)
        results.append(too_many)
        assert len(history) <= 3
    assert results == [False, False, True, False, False, True]


def group(**options) -> Driver:
    restart = options.pop("restart", Restart(jitter=0.0))
    programs = [program(name, restart=restart) for name in ABC]
    return Driver(*programs, groups=(Group(name="g", programs=ABC, **options),)).up()


@pytest.mark.parametrize("delay", [0.0, 1.0])
@pytest.mark.parametrize(
    ("strategy", "stopping"), [("one-for-one", []), ("one-for-all", ["a", "c"]), ("rest-for-one", ["c"])]
)
def test_those_taken_along_are_restarted(strategy, stopping, delay):
    driver = group(strategy=strategy, restart=Restart(delay=delay, jitter=0.0))
    driver.exits("b.1")
    assert [name for name in ABC if driver.state(f"{name}.1") is State.STOPPING] == stopping
    for name in stopping:
        assert driver[f"{name}.1"].reason == f"restarted with b.1 ({strategy} of g)"
    for name in stopping:
        driver.exits(f"{name}.1", 0)
    assert [driver.state(f"{name}.1") for name in stopping] == [State.STARTING] * len(stopping)
    driver.wait(2.0)
    assert driver.state("b.1") in (State.STARTING, State.RUNNING)


def test_an_operators_restart_takes_nobody_of_the_group_along():
    driver = group(strategy="one-for-all", limit=1, on_limit="fail")
    for _ in range(3):
        driver.tell(ev.Restart(("b.1",)))
        driver.exits("b.1", 0)
        driver.spawned("b.1")
    assert set(driver.states().values()) == {"running"}


def test_what_is_stopped_stays_so():
    driver = group(strategy="one-for-all")
    driver.tell(ev.Stop(("c.1",)))
    driver.exits("c.1", 0)
    driver.exits("b.1")
    assert driver.states() == {"a.1": "stopping", "b.1": "backoff", "c.1": "stopped"}


def crash(driver: Driver, slot: str) -> None:
    driver.exits(slot)
    driver.wait(1.0)
    if driver[slot].spawning:
        driver.spawned(slot)


def test_a_group_gives_up_as_one():
    driver = group(limit=2, on_limit="fail")
    crash(driver, "a.1")
    crash(driver, "b.1")
    driver.tell(ev.Stop(("c.1",)))
    driver.exits("c.1", 0)
    driver.exits("a.1")
    assert driver.states() == {"a.1": "failed", "b.1": "stopping", "c.1": "stopped"}
    driver.exits("b.1", 0)
    assert driver.state("b.1") is State.FAILED
    for slot in ("a.1", "b.1"):
        assert driver[slot].last.result is Result.LIMIT
        assert driver[slot].reason == "gave up: group g had more than 2 restarts within 300 s"
    assert driver.core.next_deadline() is None
    driver.tell(ev.Start(("a.1",)))
    driver.spawned("a.1")
    crash(driver, "a.1")
    assert driver.state("a.1") is State.RUNNING, "whoever starts it again begins anew"


def test_a_group_that_shuts_down():
    driver = group(limit=1, on_limit="shutdown")
    crash(driver, "a.1")
    driver.exits("b.1")
    assert driver.core.stopping
    assert driver.told("shutdown") == ["gave up: group g had more than 1 restarts within 300 s"]
    for name in ("a", "c"):
        driver.exits(f"{name}.1", 0)
    assert driver.exit_codes() == [1]


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_group_over_its_limit_that_goes_on_does_so_slowly(delay):
    driver = group(limit=1, on_limit="retry", restart=Restart(delay=delay, jitter=0.0, max_delay=30.0))
    crash(driver, "a.1")
    driver.exits("b.1")
    assert driver["b.1"].deadline == pytest.approx(driver.now + 30.0)
    assert "its group is over its limit: next try in 30.0 s" in driver["b.1"].reason
