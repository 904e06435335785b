"""Cases of Kubernetes' CrashLoopBackOff, in meaning: how it grows, where it ends, what resets it, whom it concerns."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Restart
from hasup.model.state import State
from tests.unit.core.driver import Driver, program

KUBELET = Restart(delay=10.0, factor=2.0, max_delay=300.0, jitter=0.0, reset_after=600.0)


def pods(restart: Restart = KUBELET, **options) -> Driver:
    return Driver(program(restart=restart, **options)).up()


def crash(driver: Driver, slot: str = "web.1", lived: float = 1.0, code: int = 1) -> float:
    """It lives for so long, and ends; the delay that follows, which is waited for."""
    driver.wait(lived)
    driver.exits(slot, code)
    assert driver.state(slot) is State.BACKOFF
    delay = driver[slot].deadline - driver.now
    driver.wait(delay - 0.001)
    assert driver.asked(act.Spawn) == []
    driver.wait(0.002)
    assert driver.asked(act.Spawn) == [slot]
    driver.spawned(slot)
    return round(delay, 3)


def test_it_doubles_up_to_its_cap():
    driver = pods()
    assert [crash(driver) for _ in range(8)] == [10, 20, 40, 80, 160, 300, 300, 300]


def test_it_stays_at_its_cap_for_a_month():
    driver = pods()
    began = driver.now
    while driver.now - began < 30 * 86400:
        assert crash(driver) <= 300
    assert crash(driver) == 300


@pytest.mark.parametrize(("lived", "following"), [(599.0, 80), (600.0, 10), (86400.0, 10)])
def test_it_is_reset_after_ten_minutes_of_running(lived, following):
    driver = pods()
    for _ in range(3):
        crash(driver)
    assert crash(driver, lived=lived) == following


def test_ten_minutes_in_all_are_no_reset():
    """They count in one go: many short lives never add up to one."""
    driver = pods()
    assert [crash(driver, lived=300.0) for _ in range(6)] == [10, 20, 40, 80, 160, 300]


def test_the_time_spent_in_back_off_is_no_running():
    driver = pods()
    for _ in range(7):
        crash(driver)
    assert crash(driver, lived=500.0) == 300, "300 s of back-off and 500 s of life are no ten minutes"


def test_restart_policy_always_backs_off_from_success_too():
    driver = pods()
    assert [crash(driver, code=0) for _ in range(3)] == [10, 20, 40]


@pytest.mark.parametrize(("policy", "code", "state"), [
    ("on-failure", 0, State.COMPLETED), ("on-failure", 1, State.BACKOFF), ("never", 0, State.COMPLETED),
    ("never", 1, State.FAILED),
])  # fmt: skip
def test_the_other_restart_policies(policy, code, state):
    driver = pods(Restart(policy=policy))
    driver.exits("web.1", code)
    assert driver.state("web.1") is state


def test_each_container_has_its_own():
    driver = pods(replicas=2)
    for _ in range(4):
        crash(driver, "web.1")
    assert crash(driver, "web.2") == 10
    assert crash(driver, "web.1") == 160


def test_a_liveness_failure_and_an_end_by_itself_are_counted_together():
    driver = pods()
    crash(driver)
    driver.tell(ev.Notified("web.1", watchdog_trigger=True))
    driver.exits("web.1", None, signal=6)
    assert driver["web.1"].deadline - driver.now == pytest.approx(20.0)


def test_it_is_reset_by_an_update():
    """Another command is another container: it is tried at once, and its failures are counted from one."""
    driver = pods()
    for _ in range(5):
        crash(driver)
    driver.exits("web.1")
    driver.reload(program(restart=KUBELET, command=("y",)))
    assert driver.asked(act.Spawn) == ["web.1"]
    driver.spawned("web.1")
    assert crash(driver) == 10


def test_it_is_reset_by_an_operator_who_starts_it():
    driver = pods()
    for _ in range(5):
        crash(driver)
    driver.exits("web.1")
    driver.tell(ev.Start(("web.1",)))
    driver.spawned("web.1")
    assert crash(driver) == 10


def test_it_outlives_the_kubelet():
    """Unlike there: a new core knows how often it failed."""
    driver = pods()
    for _ in range(3):
        crash(driver)
    driver.new_core()
    driver.wait(0.0)
    assert crash(driver) == 80


def test_a_lower_cap_holds_from_the_next_failure_on():
    driver = pods()
    for _ in range(6):
        crash(driver)
    driver.reload(program(restart=Restart(delay=1.0, factor=2.0, max_delay=60.0, jitter=0.0, reset_after=600.0)))
    assert crash(driver) == 60
