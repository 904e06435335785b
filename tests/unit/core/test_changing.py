"""More and fewer replicas, other configurations, rolling restarts: while everything runs."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Health, Ready, Reload, Restart
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

SLOW = Ready(notify=True)
ONE_BY_ONE = Reload(max_unavailable=1)


def ready(driver: Driver, *slots: str) -> None:
    for slot in slots:
        driver.tell(ev.Notified(slot, ready=True))


# --- scaling ----------------------------------------------------------------------------------------------------------
def test_up_and_down():
    driver = Driver(program()).up()
    driver.tell(ev.Scale("web", 3, by="ann"))
    assert driver.asked(act.Spawn) == ["web.2", "web.3"]
    assert driver.told("scale") == ["scaled from 1 to 3 by ann"]
    driver.spawned("web.2", "web.3")
    driver.tell(ev.Scale("web", 1))
    assert driver.states() == {"web.1": "running", "web.2": "stopping", "web.3": "stopping"}
    driver.exits("web.3", 0)
    assert driver.asked(act.Forget) == ["web.3"]
    assert set(driver.core.replicas) == {"web.1", "web.2"}
    assert set(driver.blobs) == {"", "web.1", "web.2"}
    assert driver.core.spec("web.1").replicas == 1


def test_down_and_up_again_at_once():
    driver = Driver(program(replicas=2)).up()
    driver.tell(ev.Scale("web", 1))
    driver.tell(ev.Scale("web", 2))
    driver.exits("web.2", 0)
    assert driver.asked(act.Spawn) == ["web.2"]


@pytest.mark.parametrize("wish", [ev.Start, ev.Restart])
def test_what_is_scaled_away_is_not_called_back(wish):
    driver = Driver(program(replicas=2)).up()
    driver.tell(ev.Scale("web", 1))
    driver.tell(wish(("web.2",)))
    driver.exits("web.2", 0)
    assert set(driver.core.replicas) == {"web.1"}


def test_to_nothing_and_back():
    driver = Driver(program()).up()
    driver.tell(ev.Scale("web", 0))
    driver.exits("web.1", 0)
    assert driver.core.replicas == {}
    driver.tell(ev.Scale("web", 1))
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].generation == 1


def test_what_does_not_run_goes_at_once():
    driver = Driver(program(replicas=2))
    driver.tell(ev.Scale("web", 1))
    assert driver.asked(act.Forget) == ["web.2"]


def test_a_program_that_is_unknown_is_no_fault():
    assert Driver(program()).tell(ev.Scale("nobody", 3)) == []


# --- another configuration --------------------------------------------------------------------------------------------
def test_only_what_differs_is_touched():
    driver = Driver(program("a"), program("b"), program("c")).up()
    driver.reload(program("a"), program("b", env={"X": "1"}), program("d"))
    assert driver.states() == {"a.1": "running", "b.1": "stopping", "c.1": "stopping", "d.1": "starting"}
    assert driver["b.1"].reason == "reloaded by operator: its configuration changed"
    driver.exits("c.1", 0)
    assert driver.asked(act.Forget) == ["c.1"]
    driver.exits("b.1", 0)
    assert driver.asked(act.Spawn) == ["b.1"]


def test_what_needs_no_restart_holds_from_now_on():
    driver = Driver(program()).up()
    driver.reload(program(restart=Restart(policy="never")))
    assert driver.state("web.1") is State.RUNNING
    driver.exits("web.1")
    assert driver.state("web.1") is State.FAILED


@pytest.mark.parametrize("before", [1, 0])
def test_more_replicas_are_started(before):
    driver = Driver(program(replicas=before)).up()
    driver.reload(program(replicas=2))
    assert driver.asked(act.Spawn) == ["web.1", "web.2"][before:]


def test_what_is_stopped_and_what_starts_by_hand_stay_so():
    driver = Driver(program("a"), program("b", autostart=False, replicas=0))
    driver.reload(
        program("a", replicas=2, env={"X": "1"}), program("b", autostart=False), program("c", autostart=False)
    )
    assert driver.asked(act.Spawn) == []


def test_a_number_that_an_operator_asked_for_stays_unless_it_is_configured_anew():
    driver = Driver(program()).up()
    driver.tell(ev.Scale("web", 2))
    driver.spawned("web.2")
    driver.reload(program(nice=1))
    driver.let_it_roll()
    assert len(driver.core.replicas) == 2
    driver.reload(program(nice=1, replicas=3))
    driver.let_it_roll()
    assert driver.core.spec("web.1").replicas == 3


def test_what_waits_for_a_dependency_that_is_gone_starts():
    driver = Driver(program("db", ready=SLOW), program(depends_on={"db": Dependency()})).up()
    assert driver.state("web.1") is State.WAITING
    driver.reload(program("db", ready=SLOW), program())
    assert driver.asked(act.Spawn) == ["web.1"]


def test_what_was_not_ready_by_its_probes_is_so_when_nobody_probes_it_any_more():
    driver = Driver(program(health=Health(tcp="x:1", failures=4))).up()
    for _ in range(2):
        driver.tell(ev.ProbeResult("web.1", 1, "health", False))
    assert not driver["web.1"].ready
    driver.reload(program(health=Health(tcp="x:1", failures=5)))
    assert not driver["web.1"].ready
    driver.reload(program())
    assert driver["web.1"].ready
    assert driver.told("ready") == ["its health is not probed any more"]


# --- rolling ----------------------------------------------------------------------------------------------------------
def rolling(count: int = 3, **options) -> Driver:
    options = {"reload": ONE_BY_ONE} | options
    driver = Driver(program(replicas=count, ready=SLOW, **options)).up()
    ready(driver, *driver.core.replicas)
    driver.tell(ev.Roll(tuple(driver.core.replicas), by="ann"))
    return driver


def replace(driver: Driver, slot: str) -> None:
    driver.exits(slot, 0)
    driver.spawned(slot)


def test_one_by_one_each_when_the_one_before_is_ready():
    driver = rolling()
    for slot in ("web.1", "web.2", "web.3"):
        others = [name for name in driver.core.replicas if name != slot]
        assert driver.state(slot) is State.STOPPING
        assert all(driver[other].ready for other in others)
        replace(driver, slot)
        assert all(driver[other].ready for other in others), "until it is ready"
        ready(driver, slot)
    assert not driver.core.is_rolling(["web"])
    assert driver.told("reloaded") == ["all replicas were replaced, as ann asked"]
    assert driver["web.1"].last.result is Result.RELOAD


def test_it_ends_with_the_first_that_does_not_become_ready():
    driver = rolling()
    driver.exits("web.1", 0)
    driver.tell(ev.SpawnFailed("web.1", 2, "x"))
    assert driver.told("reload-failed") == ["web.1 did not become ready: x; 2 replicas were left as they were"]
    assert not driver.core.is_rolling(["web"])
    assert driver["web.2"].ready
    assert driver["web.3"].ready


def test_one_that_somebody_stops_meanwhile_is_passed_over():
    driver = rolling(2)
    driver.tell(ev.Stop(("web.1",)))
    assert driver.state("web.2") is State.STOPPING
    driver.tell(ev.Stop(("web.2",)))
    assert not driver.core.is_rolling(["web"])


def test_one_that_gave_up_ends_it():
    driver = rolling(2, restart=Restart(policy="never"))
    replace(driver, "web.1")
    driver.exits("web.1", 1)
    assert driver.state("web.1") is State.FAILED
    assert driver.told("reload-failed")


def test_those_that_do_not_run_are_left_alone():
    driver = Driver(program(replicas=2, ready=SLOW, reload=ONE_BY_ONE)).up("web.1")
    ready(driver, "web.1")
    driver.tell(ev.Roll(("web.1", "web.2")))
    replace(driver, "web.1")
    ready(driver, "web.1")
    assert driver.states() == {"web.1": "running", "web.2": "stopped"}
    assert driver.told("reloaded")
