"""Programs that are scaled by their load: what is done with a decision, and when none is taken."""

from typing import Any

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Autoscale, Dependency, Ready, Reload
from tests.unit.core.driver import Driver, program

CPU = Autoscale(min=1, max=4, target_cpu=60.0, smoothing=2.0, cooldown=10.0)
SLOW = Ready(notify=True)


def web(bounds: Autoscale | None = CPU, **options: Any):
    return program(autoscale=bounds, **({"replicas": bounds.min if bounds is not None else 1} | options))


def load(driver: Driver, percent: float, seconds: int = 1, *, only: tuple[str, ...] = ()) -> list[act.Action]:
    """Every replica (or ``only`` these) uses so much for so many seconds, a look each second."""
    done = []
    for _ in range(seconds):
        driver.wait(1)
        names = only or tuple(driver.core.replicas)
        done += driver.tell(ev.LoadMeasured("web", cpu=dict.fromkeys(names, percent)))
    driver.actions = done
    return done


def test_more_at_once_and_fewer_after_the_cooldown_with_the_reason_in_the_journal():
    driver = Driver(web()).up()
    load(driver, 100, 3)
    assert driver.told("scale") == ["cpu 100% of a core per replica, over the target of 60%: 1 to 2"]
    note = next(a for a in driver.actions if isinstance(a, act.Note))
    assert (note.program, note.detail) == ("web", {"from": 1, "to": 2})
    assert driver.asked(act.Spawn) == ["web.2"]
    assert driver["web.2"].reason == "started by hasup, for its load"
    driver.spawned("web.2")
    load(driver, 5, 15)
    assert driver.told("scale") == ["cpu 5% of a core per replica, under the target of 60% for 10 s: 2 to 1"]
    assert driver["web.2"].reason == "stopped by hasup, for its load, which scaled web to 1"
    driver.exits("web.2", 0)
    assert set(driver.core.replicas) == {"web.1"}


def test_what_starts_is_not_judged():
    driver = Driver(web(ready=SLOW)).up()
    driver.tell(ev.Notified("web.1", ready=True))
    load(driver, 100, 3)
    driver.spawned("web.2")
    load(driver, 100, 20)
    assert set(driver.core.replicas) == {"web.1", "web.2"}, "the use of the one that starts is no load"
    driver.tell(ev.Notified("web.2", ready=True))
    load(driver, 100, 10)
    assert "web.4" in driver.core.replicas


def test_while_an_operator_holds_the_number_the_load_changes_nothing():
    driver = Driver(web()).up()
    driver.tell(ev.Scale("web", 2, by="ann"))
    assert driver.told("scale") == ["scaled from 1 to 2 by ann; held there until: hasup scale web=auto"]
    driver.spawned("web.2")
    assert not load(driver, 100, 30)
    driver.tell(ev.Scale("web", 6, by="ann"))
    driver.spawned("web.3", "web.4", "web.5", "web.6")
    driver.new_core()
    assert len(driver.core.replicas) == 6
    assert not load(driver, 1, 30)
    driver.tell(ev.Scale("web", None, by="ann"))
    assert driver.told("scale") == ["scaled by its load again, from 6, as ann asked"]
    driver.let_it_roll()
    assert len(driver.core.replicas) == 4, "within its bounds"
    load(driver, 1, 30)
    driver.let_it_roll()
    assert len(driver.core.replicas) == 1
    driver.tell(ev.Scale("web", 0, by="ann"))
    driver.let_it_roll()
    driver.tell(ev.Scale("web", None, by="ann"))
    driver.let_it_roll()
    assert driver.states() == {"web.1": "running"}


def test_nobody_can_leave_a_fixed_number_to_the_load():
    driver = Driver(program(replicas=2)).up()
    driver.tell(ev.Scale("web", 3))
    driver.let_it_roll()
    assert driver.tell(ev.Scale("web", None)) == []
    assert driver.tell(ev.LoadMeasured("web", cpu={"web.1": 900.0})) == []
    assert len(driver.core.replicas) == 3


def test_another_core_keeps_the_number_and_decides_on_nothing_it_has_not_seen_itself():
    driver = Driver(web()).up()
    load(driver, 100, 3)
    driver.spawned("web.2")
    driver.new_core()
    driver.wait(0.1)
    assert set(driver.core.replicas) == {"web.1", "web.2"}
    driver.wait(600)
    assert set(driver.core.replicas) == {"web.1", "web.2"}, "no data, no change"
    load(driver, 5, 10)
    assert set(driver.core.replicas) == {"web.1", "web.2"}, "the cooldown begins anew"
    load(driver, 5, 2)
    driver.let_it_roll()
    assert set(driver.core.replicas) == {"web.1"}


def test_another_core_goes_on_with_a_number_that_was_decided_on_and_not_come_to():
    driver = Driver(web(ready=SLOW)).up()
    driver.tell(ev.Notified("web.1", ready=True))
    load(driver, 100, 3)
    kept = {slot: blob for slot, blob in driver.blobs.items() if slot != "web.2"}
    driver.new_core(kept)
    assert "web.2" in driver.core.replicas


def test_a_program_that_is_stopped_or_reloaded_is_left_alone():
    driver = Driver(web(replicas=2, port="auto", ready=SLOW, reload=Reload(max_unavailable=0))).up()
    for slot in ("web.1", "web.2"):
        driver.tell(ev.Notified(slot, ready=True))
    driver.tell(ev.Roll(("web.1", "web.2")))
    assert "web.3" in driver.core.replicas
    assert not load(driver, 300, 30, only=("web.1", "web.2"))
    driver.tell(ev.Stop(("web.1", "web.2", "web.3")))
    driver.let_it_roll()
    assert not load(driver, 300, 30)
    driver.tell(ev.Start(("web.1", "web.2")))
    driver.let_it_roll()
    assert set(driver.core.replicas) == {"web.1", "web.2"}


def test_while_hasup_stops_everything_nothing_is_scaled():
    driver = Driver(web()).up()
    load(driver, 100, 1)
    driver.tell(ev.Shutdown("the end"))
    assert not load(driver, 300, 8)


def test_nor_what_others_still_need_while_hasup_stops():
    driver = Driver(web(), program("api", depends_on={"web": Dependency()})).up()
    load(driver, 10, 3)
    driver.tell(ev.Shutdown("the end"))
    assert driver.states() == {"web.1": "running", "api.1": "stopping"}
    assert not load(driver, 300, 8, only=("web.1",))


def test_what_is_to_stop_once_its_connections_have_ended_is_left_alone():
    driver = Driver(web(), program("web:dispatcher", internal=True, owner="web")).up()
    load(driver, 10, 3)
    driver.tell(ev.Stop(("web.1", "web:dispatcher.1")))
    assert driver["web.1"].ready
    assert not load(driver, 300, 8, only=("web.1",))
    assert set(driver.core.replicas) == {"web.1", "web:dispatcher.1"}


def test_one_that_an_operator_stopped_is_made_up_for_and_stays_stopped():
    driver = Driver(web(Autoscale(min=2, max=4, target_cpu=60.0, smoothing=2.0, cooldown=10.0))).up()
    driver.tell(ev.Stop(("web.2",)))
    driver.exits("web.2", 0)
    load(driver, 100, 3, only=("web.1",))
    driver.let_it_roll()
    assert driver.states() == {"web.1": "running", "web.2": "stopped", "web.3": "running"}


def test_that_max_is_too_few_is_an_event_of_its_own():
    driver = Driver(web(Autoscale(max=1, target_cpu=60.0, smoothing=2.0))).up()
    load(driver, 200, 30)
    assert driver.told("scale-limited") == [
        "cpu 200% of a core per replica, over the target of 60%: 4 would be needed, and max is 1"
    ]


# --- another configuration ----------------------------------------------------------------------------------------
def test_from_a_number_to_a_table_and_back():
    driver = Driver(program(replicas=3)).up()
    driver.reload(web(Autoscale(max=2, target_cpu=60.0)))
    driver.let_it_roll()
    assert set(driver.core.replicas) == {"web.1", "web.2"}, "what runs, within the bounds"
    driver.new_core()
    assert set(driver.core.replicas) == {"web.1", "web.2"}
    driver.reload(program(replicas=4))
    driver.let_it_roll()
    assert len(driver.core.replicas) == 4


def test_other_bounds_hold_from_now_on_and_end_what_an_operator_held():
    driver = Driver(web()).up()
    driver.tell(ev.Scale("web", 4))
    driver.let_it_roll()
    driver.reload(web(Autoscale(min=2, max=3, target_cpu=60.0, smoothing=2.0, cooldown=10.0)))
    driver.let_it_roll()
    assert len(driver.core.replicas) == 3
    load(driver, 1, 12)
    driver.let_it_roll()
    assert len(driver.core.replicas) == 2


def test_a_reload_of_something_else_keeps_the_number():
    driver = Driver(web(), program("db")).up()
    load(driver, 100, 3)
    driver.let_it_roll()
    driver.reload(web(), program("db", command=("y",)))
    driver.let_it_roll()
    assert {"web.1", "web.2"} <= set(driver.core.replicas)
    driver.reload(web(port="auto", ready=SLOW), program("db", command=("y",)))
    assert "web.3" in driver.core.replicas, "reloaded one by one, with one that stands in"
    for slot in ("web.3", "web.1", "web.2"):
        driver.let_it_roll()
        driver.tell(ev.Notified(slot, ready=True))
    driver.let_it_roll()
    assert {"web.1", "web.2", "db.1"} == set(driver.core.replicas)


def test_from_a_number_to_a_table_together_with_a_rolling_reload():
    driver = Driver(program(replicas=3, port="auto")).up()
    driver.reload(web(Autoscale(max=2, target_cpu=60.0), port="auto", command=("y",)))
    driver.let_it_roll()
    assert set(driver.core.replicas) == {"web.1", "web.2"}
    driver.new_core()
    assert set(driver.core.replicas) == {"web.1", "web.2"}
