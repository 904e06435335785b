"""Replicas behind a dispatcher are told to end when the connections to them have ended."""

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model import spec
from hasup.model.state import State
from tests.unit.core.driver import Driver, program

DRAIN_S = 30.0


def served(**options: object) -> Driver:
    listen = spec.Listen(address="127.0.0.1:1", mode="proxy", drain_timeout=DRAIN_S)
    driver = Driver(
        program("web", replicas=2, listen=listen, **options),
        program("web:dispatcher", internal=True, owner="web"),
    )
    driver.tell(ev.Start(("web.1", "web.2", "web:dispatcher.1")))
    for slot in list(driver.core.replicas):
        driver.tell(ev.Spawned(slot, 1, 100 + len(slot)))
    driver.wait(1.0)
    assert set(driver.states().values()) == {"running"}
    return driver


def told_to_end(actions: list[act.Action]) -> list[str]:
    return [action.slot for action in actions if isinstance(action, act.Signal)]


def test_a_stop_and_a_scale_wait_for_the_connections():
    for wish in (ev.Stop(("web.2",)), ev.Scale("web", 1)):
        driver = served()
        assert told_to_end(driver.tell(wish)) == []
        assert (driver.state("web.2"), driver["web.2"].draining) == (State.STOPPING, True)
        assert told_to_end(driver.tell(ev.Drained("web.2"))) == ["web.2"]
        assert driver["web.2"].deadline == driver.now + 10.0


def test_they_wait_no_longer_than_the_drain_may_take():
    driver = served()
    driver.tell(ev.Stop(("web.2",)))
    assert told_to_end(driver.wait(DRAIN_S - 0.1)) == []
    assert told_to_end(driver.wait(0.2)) == ["web.2"]


def test_when_the_dispatcher_dies_nobody_is_waited_for():
    driver = served()
    driver.tell(ev.Stop(("web.2",)))
    assert told_to_end(driver.tell(ev.Exited("web:dispatcher.1", 1, signal=9))) == ["web.2"]


def test_without_a_dispatcher_it_is_told_at_once():
    driver = served()
    driver.tell(ev.Exited("web:dispatcher.1", 1, signal=9))
    assert told_to_end(driver.tell(ev.Stop(("web.2",)))) == ["web.2"]


def test_hasups_own_end_goes_on_when_the_dispatcher_has_ended():
    driver = served()
    driver.tell(ev.Stop(("web.2",)))
    assert told_to_end(driver.tell(ev.Shutdown("the end"))) == ["web:dispatcher.1"]
    assert set(told_to_end(driver.tell(ev.Exited("web:dispatcher.1", 1, exit_code=0)))) == {"web.1", "web.2"}
