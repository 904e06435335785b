"""Heartbeats, messages, probes and samples."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Health, Heartbeat, Limit, Limits, Ready, Restart, Stop
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program


def running(**options) -> Driver:
    return Driver(program(**options)).up()


def notify(driver: Driver, **fields) -> list[act.Action]:
    return driver.tell(ev.Notified("web.1", **fields))


# --- heartbeats -------------------------------------------------------------------------------------------------------
def test_each_beat_gives_a_timeout_more():
    driver = running(heartbeat=Heartbeat(timeout=2.0))
    for _ in range(5):
        driver.wait(1.9)
        driver.tell(ev.Beat("web.1"))
    assert driver.state("web.1") is State.RUNNING
    driver.wait(2.0)
    assert driver.state("web.1") is State.ABORTING


def test_beats_begin_to_count_when_it_is_ready():
    driver = running(heartbeat=Heartbeat(timeout=2.0), ready=Ready(notify=True, timeout=60.0))
    driver.wait(30.0)
    assert driver.state("web.1") is State.STARTING
    notify(driver, ready=True)
    assert driver["web.1"].heartbeat_due == driver.now + 2.0


def test_beats_of_those_who_owe_none_change_nothing():
    driver = running()
    driver.tell(ev.Beat("web.1"))
    driver.tell(ev.Beat("nobody.1"))
    assert driver["web.1"].heartbeat_due is None


def test_a_beat_is_not_worth_a_word_to_the_guardian():
    driver = running(heartbeat=Heartbeat(timeout=2.0))
    driver.core.handle(ev.Beat("web.1"), driver.now + 1)
    assert driver.core.take_blobs() == {}


def test_it_may_change_its_timeout_and_a_new_core_knows():
    driver = running(heartbeat=Heartbeat(timeout=2.0))
    notify(driver, watchdog_usec=30_000_000)
    assert driver["web.1"].heartbeat_due == driver.now + 30.0
    driver.new_core()
    driver.wait(29.0)
    assert driver.state("web.1") is State.RUNNING
    notify(driver, watchdog_usec=1_000_000)
    driver.wait(1.0)
    assert driver.state("web.1") is State.ABORTING
    driver.exits("web.1", None, signal=6)
    driver.wait(1.0)
    assert driver["web.1"].watchdog_s is None, "the next run begins anew"


def test_it_may_ask_to_be_aborted():
    driver = running()
    notify(driver, watchdog_trigger=True)
    assert (driver.state("web.1"), driver["web.1"].failing) == (State.ABORTING, Result.HEARTBEAT)


# --- extensions -------------------------------------------------------------------------------------------------------
def extend(driver: Driver, seconds: float) -> None:
    notify(driver, extend_timeout_usec=int(seconds * 1e6))


def test_a_start_may_be_extended_up_to_ten_times():
    driver = running(ready=Ready(notify=True, timeout=5.0))
    extend(driver, 20.0)
    assert driver["web.1"].deadline == driver.now + 20.0
    extend(driver, 3.0)
    assert driver["web.1"].deadline == driver.now + 20.0, "it is never shortened"
    extend(driver, 1000.0)
    assert driver["web.1"].deadline == driver.now + 50.0
    driver.wait(40.0)
    extend(driver, 1000.0)
    assert driver["web.1"].deadline == driver.now + 10.0, "ten times in all, not from now"


def test_a_stop_may_be_extended_until_the_kill():
    driver = running(stop=Stop(timeout=2.0))
    driver.tell(ev.Stop(("web.1",)))
    extend(driver, 1000.0)
    assert driver["web.1"].deadline == driver.now + 20.0
    driver.wait(20.0)
    assert driver.asked(act.ClearTree) == ["web.1"]
    extend(driver, 1000.0)
    assert driver["web.1"].deadline is None


def test_a_heartbeat_may_be_extended_up_to_ten_times():
    driver = running(heartbeat=Heartbeat(timeout=2.0))
    extend(driver, 1000.0)
    assert driver["web.1"].heartbeat_due == driver.now + 20.0
    driver.wait(15.0)
    extend(driver, 1000.0)
    assert driver["web.1"].heartbeat_due == driver.now + 5.0, "ten times in all, not from now"
    driver.tell(ev.Beat("web.1"))
    extend(driver, 1000.0)
    assert driver["web.1"].heartbeat_due == driver.now + 20.0, "a sign of life, and it may ask again"


def test_being_alive_for_a_while_cannot_be_extended():
    driver = running(ready=Ready(after=1.0))
    extend(driver, 1000.0)
    driver.wait(1.0)
    assert driver.state("web.1") is State.RUNNING


# --- messages ---------------------------------------------------------------------------------------------------------
def test_its_status_is_kept_and_not_told():
    driver = running()
    assert notify(driver, status="42 requests") == []
    assert driver["web.1"].status_text == "42 requests"


def test_a_message_from_what_does_not_live_is_ignored():
    driver = Driver(program())
    assert notify(driver, ready=True, status="x") == []
    assert driver["web.1"].status_text == ""


def test_another_main_process_is_told_and_not_followed():
    driver = running()
    notify(driver, main_pid=99)
    assert "its main process is 99; hasup watches 1000" in driver.told("notify")[0]
    assert driver["web.1"].pid == 1000


def test_what_says_that_it_is_stopping_gets_no_work_until_it_says_otherwise():
    driver = running(health=Health(tcp="x:1"))
    notify(driver, stopping=True)
    assert (driver.state("web.1"), driver["web.1"].ready) == (State.RUNNING, False)
    driver.tell(ev.ProbeResult("web.1", 1, "health", True))
    assert not driver["web.1"].ready, "whatever its probes say"
    notify(driver, ready=True)
    assert driver["web.1"].ready


# --- probes -----------------------------------------------------------------------------------------------------------
def probe(driver: Driver, *answers: bool, latency: float = 0.0) -> None:
    for ok in answers:
        driver.tell(ev.ProbeResult("web.1", driver["web.1"].generation, "health", ok, latency, "no answer"))


@pytest.mark.parametrize(("failures", "unready_after"), [(1, None), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_of_the_failures_cost_its_readiness_and_all_its_life(failures, unready_after):
    driver = running(health=Health(tcp="x:1", failures=failures))
    for count in range(1, failures):
        probe(driver, False)
        assert driver.state("web.1") is State.RUNNING
        assert driver["web.1"].ready == (unready_after is None or count < unready_after)
    probe(driver, False)
    assert driver.state("web.1") is State.ABORTING
    assert driver["web.1"].reason == f"hung: {failures} health probes in a row failed: no answer"


def test_only_failures_in_a_row_count():
    driver = running(health=Health(tcp="x:1", failures=3))
    probe(driver, False, False, True, False, False, True)
    assert (driver.state("web.1"), driver["web.1"].ready) == (State.RUNNING, True)


def test_it_takes_some_successes_to_come_back():
    driver = running(health=Health(tcp="x:1", failures=4, successes=2))
    probe(driver, False, False)
    assert driver.told("not-ready") == ["2 of 4 health probes failed: no answer"]
    probe(driver, True)
    assert not driver["web.1"].ready
    probe(driver, True)
    assert driver.told("ready") == ["its health probe succeeds again"]
    assert driver["web.1"].ready


def test_slow_answers_degrade_it_once():
    driver = running(health=Health(tcp="x:1", slow=0.5))
    probe(driver, True, latency=0.6)
    assert driver.told("degraded") == ["slow: its health probe took 0.600 s, more than 0.5 s"]
    probe(driver, True, latency=0.7)
    assert driver.actions == []
    probe(driver, True, latency=0.1)
    assert driver.told("restored")
    assert not driver["web.1"].degraded


def test_a_hang_after_a_long_readiness_is_a_first_failure():
    rule = Restart(reset_after=60.0, delay=1.0, jitter=0.0)
    driver = running(health=Health(tcp="x:1", failures=2), restart=rule)
    for lived, failures in ((10.0, 1), (10.0, 2), (61.0, 1)):
        driver.wait(lived)
        probe(driver, False)
        driver.wait(100.0)  # not ready any more: this does not count
        probe(driver, False)
        driver.exits("web.1", None, signal=6)
        assert driver["web.1"].failures == failures
        driver.wait(failures)
        driver.spawned("web.1")


# --- samples ----------------------------------------------------------------------------------------------------------
def sample(driver: Driver, slot: str, value: float) -> list[act.Action]:
    generation = driver[slot].generation
    return driver.tell(ev.Sampled(slot, generation, int(value), value, int(value), int(value), int(value)))


@pytest.mark.parametrize(
    ("action", "state", "wanted"),
    [("restart", State.STOPPING, True), ("stop", State.STOPPING, False), ("warn", State.RUNNING, True)],
)
def test_what_a_limit_does(action, state, wanted):
    driver = running(limits=Limits(threads=Limit(above=10.0, action=action)))
    sample(driver, "web.1", 11)
    assert (driver.state("web.1"), driver["web.1"].wanted) == (state, wanted)
    assert driver.told("limit") == ["threads 11, above 10"]
    if action != "warn":
        driver.exits("web.1", 0)
        assert driver["web.1"].last.result is Result.THREADS
        assert driver.state("web.1") is (State.BACKOFF if wanted else State.STOPPED)


def test_a_limit_may_signal():
    driver = running(limits=Limits(memory=Limit(above=10.0, action="signal:USR1")))
    sample(driver, "web.1", 11)
    assert [(a.signal, a.scope) for a in driver.actions if isinstance(a, act.Signal)] == [(10, "main")]
    assert driver.state("web.1") is State.RUNNING


def test_an_old_sample_says_nothing():
    driver = running(limits=Limits(memory=Limit(above=10.0)))
    driver.tell(ev.Sampled("web.1", 0, 99, 0.0, 1, 1, 1))
    assert driver.state("web.1") is State.RUNNING


@pytest.mark.parametrize("limit", ["memory", "cpu", "open_files", "threads", "processes", "age"])
def test_replicas_over_a_limit_are_replaced_one_by_one(limit):
    ready = Ready(notify=True)
    rule = Restart(delay=1.0, jitter=0.0)
    driver = Driver(program(replicas=3, ready=ready, restart=rule, limits=Limits(**{limit: Limit(above=10.0)}))).up()
    slots = ["web.1", "web.2", "web.3"]
    for slot in slots:
        driver.tell(ev.Notified(slot, ready=True))
    driver.wait(11.0)
    for turn, slot in enumerate(slots):
        for other in slots[turn:]:
            sample(driver, other, 11)
        assert [name for name in slots if driver.state(name) is State.STOPPING] == [slot]
        driver.exits(slot, 0)
        for other in slots[turn + 1 :]:
            sample(driver, other, 11)
            assert driver.state(other) is State.RUNNING, "while the one before is away"
        driver.wait(1.0)
        driver.spawned(slot)
        for other in slots[turn + 1 :]:
            sample(driver, other, 11)
            assert driver.state(other) is State.RUNNING, "until it is ready"
        driver.tell(ev.Notified(slot, ready=True))
