"""Hooks: which comes when, what it gates, what it is told."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Hooks, Ready, Restart, Stop
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

ALL = Hooks(before_start=("x",), before_restart=("x",), on_ready=("x",), on_failed=("x",), timeout=5.0)


def hooked(hooks: Hooks = ALL, **options) -> Driver:
    driver = Driver(program(hooks=hooks, restart=Restart(delay=1.0, jitter=0.0), **options))
    driver.tell(ev.Start(("web.1",)))
    return driver


def ran(driver: Driver) -> list[str]:
    return [action.hook for action in driver.actions if isinstance(action, act.RunHook)]


def ends(driver: Driver, code: int | None = 0, cause: str = "") -> None:
    known = driver["web.1"]
    driver.tell(ev.HookEnded("web.1", known.generation, known.hook or "", exit_code=code, cause=cause))


def running(driver: Driver) -> Driver:
    ends(driver)
    driver.spawned("web.1")
    return driver


def test_the_process_comes_after_the_hook():
    driver = hooked()
    assert (ran(driver), driver.asked(act.Spawn)) == (["before_start"], [])
    assert driver.state("web.1") is State.STARTING
    assert driver["web.1"].reason.endswith("its before_start hook runs")
    assert (driver["web.1"].pid, driver["web.1"].tree_empty) == (None, True)
    ends(driver)
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].deadline == driver.now + Ready().timeout
    driver.spawned("web.1")
    assert ran(driver) == ["on_ready"]


def test_recovery_comes_before_the_start_and_only_after_a_failure():
    driver = running(hooked())
    driver.exits("web.1", 1)
    assert ran(driver) == ["on_failed"]
    driver.wait(1.0)
    assert driver["web.1"].hook == "before_restart"
    ends(driver)
    assert (ran(driver), driver.asked(act.Spawn)) == (["before_start"], [])
    assert driver["web.1"].deadline == driver.now + 5.0
    ends(driver)
    assert driver.asked(act.Spawn) == ["web.1"]
    driver.spawned("web.1")
    driver.tell(ev.Restart(("web.1",)))
    driver.exits("web.1", 0)
    assert ran(driver) == ["before_start"], "what an operator asks for is no failure"


def test_a_clean_exit_is_no_failure():
    driver = running(hooked())
    driver.exits("web.1", 0)
    assert ran(driver) == []
    driver.wait(1.0)
    assert driver["web.1"].hook == "before_start"


def test_a_stop_forgets_the_failure():
    driver = running(hooked())
    driver.exits("web.1", 1)
    driver.tell(ev.Stop(("web.1",)))
    driver.tell(ev.Start(("web.1",)))
    assert ran(driver) == ["before_start"]


def test_who_gave_up_recovers_when_it_is_started():
    driver = Driver(program(hooks=ALL, restart=Restart(policy="never")))
    driver.tell(ev.Start(("web.1",)))
    running(driver).exits("web.1", 1)
    assert (driver.state("web.1"), ran(driver)) == (State.FAILED, ["on_failed"])
    driver.tell(ev.Start(("web.1",)))
    assert ran(driver) == ["before_restart"]


def test_a_hook_that_fails_is_a_failed_start():
    driver = hooked()
    ends(driver, 7, "exit code 7: no luck")
    known = driver["web.1"]
    assert (known.state, known.pid, known.hook) == (State.BACKOFF, None, None)
    assert known.reason.startswith("its before_start hook failed: exit code 7: no luck; restart in")
    assert known.last is not None
    assert (known.last.result, known.last.exit_code) == (Result.HOOK_FAILED, 7)
    assert ran(driver) == ["on_failed"]
    driver.wait(1.0)
    assert (driver["web.1"].hook, driver["web.1"].generation) == ("before_restart", 2)


def test_a_hook_that_takes_too_long_is_killed_first():
    driver = hooked()
    driver.wait(5.0)
    ended = [action for action in driver.actions if isinstance(action, act.EndHook)]
    assert [(action.hook, action.grace_s) for action in ended] == [("before_start", 0.0)]
    assert (driver.state("web.1"), driver["web.1"].hook) == (State.STOPPING, "before_start")
    ends(driver, 0)  # too late
    known = driver["web.1"]
    assert known.last is not None
    assert (known.state, known.last.result) == (State.BACKOFF, Result.HOOK_FAILED)
    assert "its before_start hook took longer than 5 s" in known.reason


def test_a_stop_asks_the_hook_to_end_then_kills_it():
    driver = hooked(stop=Stop(timeout=3.0))
    driver.tell(ev.Stop(("web.1",)))
    assert [a.grace_s for a in driver.actions if isinstance(a, act.EndHook)] == [3.0]
    assert driver.asked(act.Signal) == []
    driver.wait(3.0)
    assert [a.grace_s for a in driver.actions if isinstance(a, act.EndHook)] == [0.0]
    ends(driver, 0)
    assert (driver.state("web.1"), driver.asked(act.Spawn)) == (State.STOPPED, [])


@pytest.mark.parametrize("again", [ev.Start, ev.Restart])
def test_a_start_meanwhile_begins_with_the_hook_again(again):
    driver = hooked()
    if again is ev.Start:
        driver.tell(ev.Stop(("web.1",)))
    driver.tell(again(("web.1",)))
    assert driver.state("web.1") is State.STOPPING
    ends(driver, None, "it was ended")
    assert (ran(driver), driver["web.1"].generation) == (["before_start"], 2)


def test_news_of_another_hook_or_start_changes_nothing():
    driver = hooked()
    before = driver["web.1"]
    driver.tell(ev.HookEnded("web.1", 0, "before_start", exit_code=0))
    driver.tell(ev.HookEnded("web.1", 1, "before_restart", exit_code=0))
    assert driver["web.1"] == before
    ends(driver)
    driver.spawned("web.1")
    driver.tell(ev.HookEnded("web.1", 1, "before_start", exit_code=1, cause="told twice"))
    assert driver.state("web.1") is State.RUNNING


def test_a_new_core_goes_on_waiting():
    driver = hooked()
    driver.new_core()
    driver.wait(1.0)
    assert (driver["web.1"].hook, driver.actions) == ("before_start", [])
    ends(driver)
    assert driver.asked(act.Spawn) == ["web.1"]


def test_nothing_is_started_by_a_hook_that_ends_while_everything_is_stopped():
    driver = Driver(program("db", hooks=ALL), program("web"))
    driver.tell(ev.Start(("db.1", "web.1")))
    driver.spawned("web.1")
    driver.tell(ev.Shutdown("the end"))
    driver.tell(ev.HookEnded("db.1", 1, "before_start", exit_code=0))
    assert (driver.state("db.1"), driver.asked(act.Spawn)) == (State.STOPPED, [])


def test_it_is_told_what_happened():
    driver = running(hooked())
    driver.exits("web.1", None, signal=9)
    told = [action.facts for action in driver.actions if isinstance(action, act.RunHook)]
    assert told == [
        {
            "HASUP_EVENT": "on_failed",
            "HASUP_STATE": "backoff",
            "HASUP_REASON": "killed by SIGKILL; restart in 1.0 s",
            "HASUP_RESTARTS": "1",
            "HASUP_RESULT": "signal",
            "HASUP_EXIT_CODE": "",
            "HASUP_SIGNAL": "SIGKILL",
        }
    ]
