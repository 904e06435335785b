"""From events to timelines: written by hand, and as the decision core tells them."""

import pytest

from hasup.model import events as ev
from hasup.model.spec import Group, Heartbeat, Limit, Limits, Ready, Restart
from hasup.report.model import LOST
from hasup.report.timeline import read
from tests.unit.core.driver import program
from tests.unit.report.lives import Told, happening, modes, seconds, timeline

START = [happening(0, "a.1", "stopped>starting"), happening(10, "a.1", "starting>running")]


def test_a_crash_is_an_outage_in_three_parts():
    found = timeline(
        *START,
        happening(40, "a.1", "running>backoff", result="exit-code", reason="exited with code 3; restart in 1.0 s"),
        happening(41, "a.1", "backoff>starting"),
        happening(44, "a.1", "starting>running"),
    )
    assert modes(found) == [(0, "starting"), (10, "up"), (40, "down"), (44, "up")]
    first, crash = found.outages
    assert first.planned
    assert (crash.start, crash.end, crash.repaired, crash.planned) == (40, 44, True, False)
    assert (crash.result, crash.reason) == ("exit-code", "exited with code 3")
    assert dict(crash.phases) == {"delay": 1.0, "start": 3.0}


def test_a_failed_start_belongs_to_the_same_outage():
    found = timeline(
        *START,
        happening(40, "a.1", "running>backoff", result="signal"),
        happening(41, "a.1", "backoff>starting"),
        happening(43, "a.1", "starting>backoff", result="exit-code"),
        happening(45, "a.1", "backoff>starting"),
        happening(50, "a.1", "starting>running"),
    )
    crash = found.outages[1]
    assert (crash.start, crash.end, crash.starts, crash.result) == (40, 50, 1, "signal")
    assert dict(crash.phases) == {"delay": 3.0, "start": 7.0}


def test_a_hang_counts_from_its_last_sign_of_life():
    events = [
        *START,
        happening(40, "a.1", "running>aborting"),
        happening(42, "a.1", "aborting>backoff", result="heartbeat"),
        happening(43, "a.1", "backoff>starting"),
        happening(47, "a.1", "starting>running"),
    ]
    found = timeline(*events, silence_s=lambda _: 5.0)
    assert modes(found) == [(0, "starting"), (10, "up"), (35, "down"), (47, "up")]
    assert dict(found.outages[1].phases) == {"detect": 5.0, "end": 2.0, "delay": 1.0, "start": 4.0}
    assert modes(timeline(*events, silence_s=lambda _: 90.0))[1] == (10, "down"), "never before it was ready"


def test_not_ready_for_a_while_and_slow_for_a_while():
    running = {"event": "not-ready", "ready": False}
    found = timeline(
        *START,
        happening(20, "a.1", "running>running", **running),
        happening(25, "a.1", "running>running", event="ready"),
        happening(30, "a.1", "running>running", event="degraded"),
        happening(31, "a.1", "running>running", event="limit"),
        happening(35, "a.1", "running>running", event="restored"),
    )
    assert modes(found)[1:] == [(10, "up"), (20, "down"), (25, "up"), (30, "degraded"), (35, "up")]
    assert dict(found.outages[1].phases) == {"detect": 5.0}


@pytest.mark.parametrize(
    ("result", "mode"), [("operator", "starting"), ("reload", "starting"), ("age", "starting"), ("memory", "down")]
)
def test_what_a_stop_was_for_is_known_when_it_has_ended(result, mode):
    found = timeline(
        *START,
        happening(20, "a.1", "running>stopping"),
        happening(25, "a.1", "stopping>starting", result=result),
        happening(30, "a.1", "starting>running"),
    )
    assert modes(found)[2:] == [(20, mode), (30, "up")]


def test_a_stop_without_a_word_on_its_result_was_planned_when_a_start_follows():
    stop = [*START, happening(20, "a.1", "running>stopping")]
    assert modes(timeline(*stop, happening(25, "a.1", "stopping>starting")))[2:] == [(20, "starting")]
    assert modes(timeline(*stop, happening(25, "a.1", "stopping>backoff")))[2:] == [(20, "down")]


def test_a_planned_restart_whose_start_fails_is_a_failure_from_there_on():
    found = timeline(
        *START,
        happening(20, "a.1", "running>stopping"),
        happening(25, "a.1", "stopping>starting", result="operator"),
        happening(30, "a.1", "starting>backoff", result="exit-code"),
        happening(50, "a.1", "backoff>stopped"),
    )
    assert modes(found)[2:] == [(20, "starting"), (30, "down"), (50, "stopped")]
    assert [one.repaired for one in found.outages] == [True, False, False]


def test_what_ended_for_good_is_stopped_or_down():
    ended = {"result": "success"}
    assert modes(timeline(*START, happening(20, "a.1", "running>completed", **ended)))[2:] == [(20, "stopped")]
    assert modes(timeline(*START, happening(20, "a.1", "running>failed", result="limit")))[2:] == [(20, "down")]
    stopping = [happening(20, "a.1", "running>stopping", **ended), happening(22, "a.1", "stopping>completed")]
    assert modes(timeline(*START, *stopping))[2:] == [(20, "starting"), (22, "stopped")]


def test_nobody_saw_it():
    assert modes(timeline(*START, since=-10.0))[0] == (-10, "unobserved")
    events = [*START, happening(50, "a.1", "running>backoff", result="signal")]
    assert modes(timeline(*events, seen_until=50.0)) == [(0, "starting"), (10, "up"), (50, "unobserved")]


def test_while_hasup_does_not_run_nothing_is_seen():
    orderly = [happening(0, None, "hasup-started"), *START, happening(60, None, "hasup-stopped")]
    assert modes(timeline(*orderly))[-1] == (60, "unobserved")
    again = [happening(70, None, "hasup-started"), happening(71, "a.1", "stopped>starting")]
    assert modes(timeline(*orderly, *again))[2:] == [(60, "unobserved"), (70, "stopped"), (71, "starting")]
    died = [happening(0, None, "hasup-started"), *START, *again]
    assert modes(timeline(*died))[1:] == [(10, "unobserved"), (70, "stopped"), (71, "starting")]


def test_where_events_were_lost_nothing_is_known_until_the_next():
    events = [*START, happening(30, "b.1", "stopped>waiting"), happening(50, None, LOST)]
    found = read([*events, happening(60, "a.1", "starting>running")], 0.0, 100.0).replicas["a.1"]
    assert modes(found)[1:] == [(10, "up"), (30, "unobserved"), (60, "up")]


def test_an_outage_whose_beginning_nobody_saw():
    found = timeline(happening(20, "a.1", "backoff>starting"), happening(30, "a.1", "starting>running"))
    assert modes(found) == [(0, "unobserved"), (20, "down"), (30, "up")]
    assert not found.outages[0].seen


def test_a_clock_that_is_set_back():
    found = timeline(*START, happening(5, "a.1", "running>backoff", result="signal"))
    assert modes(found) == [(0, "starting"), (10, "down")]


def test_what_was_before_the_time_that_is_asked_about():
    events = [
        *START,
        happening(40, "a.1", "running>backoff", result="signal"),
        happening(60, "a.1", "backoff>starting"),
    ]
    found = timeline(*events, happening(70, "a.1", "starting>running"), since=50.0, until=65.0)
    assert modes(found) == [(50, "down")]
    assert found.outages[0].start == 40


# --- as the decision core tells it ------------------------------------------------------------------------------------
def test_a_restart_that_somebody_asked_for_is_planned():
    core = Told(program("a", ready=Ready(after=1.0))).up()
    core.wait(10)
    core.tell(ev.Restart(("a.1",)))
    core.wait(2)
    core.exits("a.1", 0)
    core.spawned("a.1")
    core.wait(10)
    found = core.history().replicas["a.1"]
    assert seconds(found) == {"starting": 4.0, "up": 18.0}
    assert all(one.planned for one in found.outages)


def test_a_restart_for_a_limit_is_a_failure():
    limits = Limits(memory=Limit(above=100.0))
    core = Told(program("a", limits=limits)).up()
    core.wait(10)
    core.tell(ev.Sampled("a.1", 1, 200, None, 1, 1, None))
    core.wait(2)
    core.exits("a.1", None, signal=15)
    core.wait(1)
    core.spawned("a.1")
    core.wait(5)
    found = core.history().replicas["a.1"]
    assert found.outages[-1].result == "memory"
    assert not found.outages[-1].planned
    assert seconds(found) == {"up": 15.0, "down": 3.0}


@pytest.mark.parametrize("failure", [True, False])
def test_what_is_restarted_with_another_fails_with_it(failure):
    pair = (program("a", restart=Restart(jitter=0.0)), program("b", depends_on={}))
    core = Told(*pair, groups=(Group(name="g", programs=("a", "b"), strategy="one-for-all"),)).up()
    core.wait(10)
    if failure:
        core.exits("a.1", 1)
    else:
        core.tell(ev.Restart(("b.1",)))
    core.wait(1)
    core.exits("b.1", None, signal=15)
    core.wait(1)
    core.spawned("b.1")
    core.wait(5)
    last = core.history().replicas["b.1"].outages[-1]
    assert (last.planned, last.repaired) == (not failure, True)


def test_a_start_that_takes_too_long_is_a_failure():
    core = Told(program("a", ready=Ready(notify=True, timeout=5.0))).up()
    core.wait(6)
    core.exits("a.1", None, signal=15)
    core.wait(1)
    core.spawned("a.1")
    core.wait(1)
    core.tell(ev.Notified("a.1", ready=True))
    core.wait(10)
    found = core.history().replicas["a.1"]
    assert seconds(found) == {"starting": 6.0, "down": 2.0, "up": 10.0}


def test_a_hang_as_the_core_tells_it():
    core = Told(program("a", heartbeat=Heartbeat(timeout=4.0), restart=Restart(jitter=0.0))).up()
    core.wait(2)
    core.tell(ev.Beat("a.1"))
    core.wait(5)
    assert core.state("a.1") == "aborting"
    core.exits("a.1", None, signal=6)
    core.wait(1)
    core.spawned("a.1")
    core.wait(1)
    found = core.history(silence_s=lambda _: 4.0).replicas["a.1"]
    assert modes(found) == [(100, "up"), (102, "down"), (108, "up")]
    parts = dict(found.outages[-1].phases)
    assert parts["detect"] == 4.0
    assert sum(parts.values()) == pytest.approx(6.0)
