"""Reloads in which somebody stands in: the new one first, and going back when it does not become ready."""

import pytest

from hasup.core.rolling import beside_itself, stands_in
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Group, Listen, Ready, Reload, Restart
from hasup.model.state import State
from tests.unit.core.driver import Driver, program

SLOW = Ready(notify=True)
PROXY = Listen(address="127.0.0.1:1", drain_timeout=30.0)
ALL = ("web.1", "web.2", "web.3")


def running(**options) -> Driver:
    driver = Driver(program(replicas=3, ready=SLOW, **options)).up()
    ready(driver, *ALL)
    return driver


def rolling(**options) -> Driver:
    driver = running(**options)
    driver.tell(ev.Roll(ALL, by="ann"))
    return driver


def ready(driver: Driver, *slots: str) -> None:
    for slot in slots:
        driver.tell(ev.Notified(slot, ready=True))


def up(driver: Driver, slot: str) -> None:
    driver.spawned(slot)
    ready(driver, slot)


# --- who can --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "count", "able"),
    [
        ({"port": "auto"}, 1, True),
        ({"port": "auto", "listen": PROXY}, 1, True),
        ({"listen": Listen(address="127.0.0.1:1", mode="share")}, 1, True),
        ({}, 2, True),
        ({}, 1, False),
        ({"port": 80}, 3, False),
        ({"listen": PROXY}, 3, False),
        ({"kind": "task"}, 3, False),
        ({"internal": True}, 3, False),
    ],
)
def test_who_can_run_beside_itself(options, count, able):
    assert beside_itself(program(**options), count) is able
    assert stands_in(program(reload=Reload(max_unavailable=1), **options), count) is False


# --- the new one first ----------------------------------------------------------------------------------------------
def test_nobody_is_ended_before_the_new_one_is_ready():
    driver = rolling()
    assert driver.asked(act.Spawn) == ["web.4"]
    assert driver["web.4"].reason == "started by ann, to stand in while web is reloaded"
    driver.spawned("web.4")
    assert all(driver[slot].ready for slot in ALL)
    ready(driver, "web.4")
    for slot in ALL:
        assert driver.state(slot) is State.STOPPING
        driver.exits(slot, 0)
        assert sum(r.ready for r in driver.core.replicas.values()) == 3
        up(driver, slot)
    assert driver.told("reloaded") == ["all replicas were replaced, as ann asked"]
    assert driver.state("web.4") is State.STOPPING
    assert driver.core.is_rolling(["web"]), "until it has gone"
    driver.exits("web.4", 0)
    assert driver.asked(act.Forget) == ["web.4"]
    assert not driver.core.is_rolling(["web"])


def test_one_that_does_not_become_ready_is_removed_and_nothing_else_touched():
    driver = rolling()
    driver.spawned("web.4")
    driver.exits("web.4", 3)
    why = "web.4 did not become ready: exited with code 3"
    assert driver.told("reload-failed") == [f"{why}; 3 replicas were left as they were"]
    assert driver.asked(act.Forget) == ["web.4"]
    assert driver.core.not_reloaded(["web"]) == {"web": why}
    assert all(driver[slot].ready and driver[slot].generation == 1 for slot in ALL)
    driver.tell(ev.Roll(ALL))
    assert driver.core.not_reloaded(["web"]) == {}


def test_its_failure_ends_with_it():
    """Neither hasup, nor its group, nor those restarted with it are concerned."""
    shutdown = Restart(limit=1, on_limit="shutdown", delay=0.0)
    group = Group(name="g", programs=("web", "other"), strategy="one-for-all", limit=1, on_limit="shutdown")
    web = program(replicas=2, ready=SLOW, essential=True, restart=shutdown, reload=Reload(rollback=False))
    other = program("other", depends_on={"web": Dependency(restart=True)})
    driver = Driver(web, other, groups=(group,)).up()
    ready(driver, "web.1", "web.2")
    driver.spawned("other.1")
    driver.tell(ev.Roll(("web.1", "web.2")))
    for _ in range(4):
        driver.spawned("web.3")
        driver.exits("web.3", 1)
    assert driver.state("web.3") is State.STARTING
    assert driver.state("other.1") is State.RUNNING
    assert not driver.core.stopping


def test_it_stays_while_one_that_was_replaced_is_not_ready():
    driver = rolling(restart=Restart(delay=1.0))
    up(driver, "web.4")
    driver.exits("web.1", 0)
    driver.spawned("web.1")
    driver.exits("web.1", 3)
    assert driver.told("reload-failed") == [
        "web.1 did not become ready: exited with code 3; 2 replicas were left as they were"
    ]
    assert driver["web.4"].ready, "it makes up for web.1"
    assert not driver.core.is_rolling(["web"]), "whoever asked is told"
    driver.wait(2.0)
    up(driver, "web.1")
    assert driver.state("web.4") is State.STOPPING


def test_one_that_fails_after_it_was_ready_counts_as_well():
    driver = rolling()
    up(driver, "web.4")
    driver.exits("web.1", 0)
    up(driver, "web.1")
    driver.exits("web.1", 3)
    assert driver.told("reload-failed")[0].startswith("web.1 failed after it was replaced")


def test_it_is_drained_before_it_is_told_to_end():
    driver = rolling(port="auto", listen=PROXY)
    up(driver, "web.4")
    assert driver["web.1"].draining
    assert driver.asked(act.Signal) == []
    driver.tell(ev.Drained("web.1"))
    assert driver.asked(act.Signal) == ["web.1"]
    driver.tell(ev.Drained("web.1"))
    assert driver.asked(act.Signal) == [], "told once"
    driver.tell(ev.Drained("web.2"))
    assert driver["web.2"].ready, "nobody drains that"


def test_a_drain_has_its_end():
    driver = rolling(port="auto", listen=PROXY)
    up(driver, "web.4")
    assert [type(a) for a in driver.wait(30.0) if getattr(a, "slot", "") == "web.1"] == [act.Signal]
    assert [a.slot for a in driver.wait(10.0) if isinstance(a, act.ClearTree)] == ["web.1"]


def test_without_rollback_it_goes_on_trying():
    driver = rolling(reload=Reload(rollback=False), restart=Restart(delay=1.0))
    driver.spawned("web.4")
    driver.exits("web.4", 3)
    assert driver.told("reload-failed") == ["web.4 did not become ready: exited with code 3; it goes on trying"]
    assert not driver.core.is_rolling(["web"]), "whoever asked is told"
    driver.wait(2.0)
    up(driver, "web.4")
    assert driver.state("web.1") is State.STOPPING


def test_somebody_stops_who_stands_in():
    driver = rolling()
    up(driver, "web.4")
    driver.exits("web.1", 0)
    up(driver, "web.1")
    driver.tell(ev.Stop(("web.4",)))
    assert driver.core.not_reloaded(["web"]) == {"web": "web.4, which stood in, was stopped"}


def test_everything_is_stopped_meanwhile():
    driver = rolling()
    driver.spawned("web.4")
    driver.tell(ev.Stop(tuple(driver.core.replicas)))
    driver.let_it_roll()
    assert driver.states() == dict.fromkeys(ALL, "stopped")


def test_scaled_up_meanwhile_it_is_a_replica_like_others():
    driver = rolling()
    up(driver, "web.4")
    driver.tell(ev.Scale("web", 4))
    assert "web.5" in driver.core.replicas, "another one stands in"
    up(driver, "web.5")
    for slot in ALL:
        driver.exits(slot, 0)
        up(driver, slot)
    driver.exits("web.5", 0)
    assert set(driver.core.replicas) == {*ALL, "web.4"}
    assert driver["web.4"].generation == 1


def test_asked_again_it_begins_anew():
    driver = rolling()
    up(driver, "web.4")
    driver.exits("web.1", 0)
    up(driver, "web.1")
    driver.tell(ev.Roll(ALL))
    assert driver.asked(act.Spawn) == ["web.5"], "the one that stands in may be older than the code by now"
    assert driver["web.4"].ready


@pytest.mark.parametrize("passed", [False, True])
def test_a_new_core_goes_on(passed):
    driver = rolling()
    driver.spawned("web.4")
    if passed:
        ready(driver, "web.4")
    driver.new_core()
    driver.tell(ev.Due())
    assert driver.core.is_rolling(["web"])
    if not passed:
        ready(driver, "web.4")
    assert driver.state("web.1") is State.STOPPING
    driver.exits("web.1", 0)
    up(driver, "web.1")
    assert driver.state("web.2") is State.STOPPING


# --- another configuration ------------------------------------------------------------------------------------------
def changed(driver: Driver, **options) -> None:
    driver.reload(program(**({"replicas": 3, "ready": SLOW, "env": {"X": "1"}} | options)))


def test_each_has_what_it_was_started_with():
    driver = running()
    changed(driver)
    assert [driver.core.spec(slot).env for slot in (*ALL, "web.4")] == [{}, {}, {}, {"X": "1"}]
    up(driver, "web.4")
    assert driver.core.spec("web.1").env == {}, "it is only about to end"
    driver.exits("web.1", 0)
    assert driver.core.spec("web.1").env == {"X": "1"}
    driver.exits("web.2", 1)
    driver.wait(1.0)
    assert driver["web.2"].generation == 2
    assert driver.core.spec("web.2").env == {}, "it is started again as it was"


def test_the_number_of_replicas_changes_at_the_end():
    driver = running()
    changed(driver, replicas=4)
    assert set(driver.core.replicas) == {*ALL, "web.4"}
    assert driver.core.stands_in("web.4")
    up(driver, "web.4")
    for slot in ALL:
        driver.exits(slot, 0)
        up(driver, slot)
    assert not driver.core.stands_in("web.4"), "it is the fourth now"
    assert driver["web.4"].ready
    assert not driver.core.is_rolling(["web"])


def test_back_before_anything_was_replaced():
    driver = running()
    changed(driver, replicas=2)
    driver.spawned("web.4")
    driver.exits("web.4", 3)
    assert [a.program for a in driver.actions if isinstance(a, act.Revert)] == ["web"]
    assert driver.core.configured("web").env == {}
    assert set(driver.core.replicas) == set(ALL)
    assert all(driver[slot].ready and driver[slot].generation == 1 for slot in ALL)


def test_back_when_some_were_replaced():
    driver = running()
    changed(driver)
    up(driver, "web.4")
    driver.exits("web.1", 0)
    up(driver, "web.1")
    driver.exits("web.2", 0)
    driver.spawned("web.2")
    driver.exits("web.2", 3)
    why = "web.2 did not become ready: exited with code 3"
    assert driver.told("reload-failed") == [f"{why}; rolled back to the configuration before"]
    assert driver["web.1"].ready, "web.2 is missing, and web.4 makes up for that one only"
    driver.spawned("web.2")
    assert driver.core.spec("web.2").env == {}
    ready(driver, "web.2")
    assert driver["web.1"].reason == f"rolled back: {why}"
    driver.exits("web.1", 0)
    up(driver, "web.1")
    assert driver.told("rolled-back")
    driver.exits("web.4", 0)
    assert [driver.core.spec(slot).env for slot in ALL] == [{}, {}, {}]
    assert [driver[slot].generation for slot in ALL] == [3, 3, 1]


def test_a_third_configuration_while_the_second_is_on_its_way_goes_back_to_the_first():
    driver = running()
    changed(driver)
    up(driver, "web.4")
    driver.exits("web.1", 0)
    up(driver, "web.1")
    changed(driver, env={"X": "2"})
    slots = (*ALL, "web.4", "web.5")
    assert [driver.core.spec(slot).env.get("X") for slot in slots] == ["1", None, None, "1", "2"]
    driver.spawned("web.5")
    driver.exits("web.5", 3)
    assert driver.core.configured("web").env == {}
    driver.let_it_roll()
    ready(driver, "web.1", "web.2")
    driver.let_it_roll()
    assert [driver.core.spec(slot).env for slot in ALL] == [{}, {}, {}]


def test_what_it_goes_back_to_may_depend_on_what_is_gone():
    driver = Driver(program("db"), program(replicas=2, ready=SLOW, depends_on={"db": Dependency()}), program("a")).up()
    driver.spawned(*[name for name, r in driver.core.replicas.items() if r.spawning])
    ready(driver, "web.1", "web.2")
    driver.reload(program(replicas=2, ready=SLOW, env={"X": "1"}), program("a"))
    driver.exits("db.1", 0)
    driver.spawned("web.3")
    driver.exits("web.3", 3)
    assert driver.core.configured("web").depends_on == {}
    driver.exits("web.1", 1)
    driver.wait(1.0)
    assert driver.state("web.1") is State.STARTING


def test_a_request_is_known_again():
    driver = running()
    driver.tell(ev.Roll(ALL, token="abc"))
    driver.new_core()
    assert driver.core.was_asked("abc")
    assert not driver.core.was_asked("abd")
    assert not driver.core.was_asked("")
