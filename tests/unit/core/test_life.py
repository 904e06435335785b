"""The life of a replica: starts, ends, stops, and what becomes of it."""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Abort, Heartbeat, Ready, Restart, Stop
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

TERM, ABRT = 15, 6


def signals(driver: Driver) -> list[int]:
    return [action.signal for action in driver.actions if isinstance(action, act.Signal)]


# --- becoming ready ---------------------------------------------------------------------------------------------------
def starting(**ready) -> Driver:
    driver = Driver(program(ready=Ready(**ready)))
    driver.tell(ev.Start(("web.1",)))
    driver.now += 0.5
    driver.spawned("web.1")
    return driver


def test_alive_for_a_while_is_ready():
    driver = starting(after=1.0)
    driver.wait(0.9)
    assert driver.state("web.1") is State.STARTING
    driver.wait(0.2)
    assert (driver.state("web.1"), driver["web.1"].ready, driver["web.1"].settled) == (State.RUNNING, True, True)
    assert driver["web.1"].reason == "ready: alive for 1 s"


@pytest.mark.parametrize(
    ("ready", "sign", "reason"),
    [
        ({"notify": True}, ev.Notified("web.1", ready=True), "ready: it said so (READY=1)"),
        ({"log": "up"}, ev.LogMatched("web.1", 1, "up!"), "ready: it wrote 'up!'"),
        ({"http": "http://x"}, ev.ProbeResult("web.1", 1, "ready", True), "ready: its probe succeeded after 2.0 s"),
        ({"tcp": "x:1"}, ev.ProbeResult("web.1", 1, "ready", True), "ready: its probe succeeded after 2.0 s"),
        ({"exec": ("x",)}, ev.ProbeResult("web.1", 1, "ready", True), "ready: its probe succeeded after 2.0 s"),
    ],
)
def test_a_sign_makes_it_ready(ready, sign, reason):
    driver = starting(**ready)
    driver.wait(2.0)
    assert driver.state("web.1") is State.STARTING
    driver.tell(sign)
    assert (driver.state("web.1"), driver["web.1"].reason) == (State.RUNNING, reason)


@pytest.mark.parametrize(
    "sign", [ev.Notified("web.1", ready=True), ev.LogMatched("web.1", 1, "x"), ev.LogMatched("web.1", 0, "x")]
)
def test_a_sign_that_was_not_asked_for_makes_nobody_ready(sign):
    driver = starting(tcp="x:1")
    driver.tell(sign)
    assert driver.state("web.1") is State.STARTING


def test_not_ready_in_time_is_a_failure_that_says_what_the_probe_saw():
    driver = starting(tcp="x:1", timeout=5.0)
    driver.tell(ev.ProbeResult("web.1", 1, "ready", False, detail="connection refused"))
    driver.wait(5.0)
    assert driver.state("web.1") is State.STOPPING
    assert driver["web.1"].reason == "start timeout: not ready within 5 s (connection refused)"
    assert driver.asked(act.Collect) == ["web.1"]
    assert signals(driver) == [TERM]
    driver.exits("web.1", 0)
    assert (driver.state("web.1"), driver["web.1"].last.result) == (State.BACKOFF, Result.START_TIMEOUT)
    assert driver["web.1"].settled


def test_the_timeout_counts_from_the_exec_and_a_guardian_that_is_behind_costs_nothing():
    driver = Driver(program(ready=Ready(notify=True, timeout=5.0)))
    driver.tell(ev.Start(("web.1",)))
    driver.wait(12.0)
    assert driver.state("web.1") is State.STARTING
    driver.spawned("web.1")
    driver.wait(4.9)
    assert driver.state("web.1") is State.STARTING
    driver.wait(0.2)
    assert driver.state("web.1") is State.STOPPING


# --- ends -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("how", "result", "words"),
    [
        ({"code": 0}, Result.SUCCESS, "exited with code 0"),
        ({"code": 3}, Result.EXIT_CODE, "exited with code 3"),
        ({"code": None, "signal": 9}, Result.SIGNAL, "killed by SIGKILL"),
        ({"code": None, "signal": 40}, Result.SIGNAL, "killed by SIG40"),
        ({"code": None, "signal": 11, "core_dump": True}, Result.CORE_DUMP, "killed by SIGSEGV (core dumped)"),
        ({"code": None, "signal": 9, "oom": True}, Result.OOM_KILL, "killed by the kernel for want of memory"),
    ],
)
def test_how_it_ended_is_told(how, result, words):
    driver = Driver(program(restart=Restart(jitter=0.0))).up()
    driver.exits("web.1", **how)
    assert driver["web.1"].last.result is result
    assert driver["web.1"].reason == f"{words}; restart in 0.1 s"
    assert driver["web.1"].last.exit_code == how["code"]
    driver.wait(0.1)
    assert driver["web.1"].reason == f"started again after: {words}"
    assert (driver["web.1"].generation, driver["web.1"].restarts) == (2, 1)


def test_a_spawn_that_fails_is_a_failure_like_any():
    driver = Driver(program(restart=Restart(limit=1, on_limit="fail", delay=0.0)))
    driver.tell(ev.Start(("web.1",)))
    driver.tell(ev.SpawnFailed("web.1", 1, "no such file: x"))
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].last.result is Result.SPAWN_FAILED
    driver.tell(ev.SpawnFailed("web.1", 2, "no such file: x"))
    assert driver.state("web.1") is State.FAILED
    assert driver["web.1"].reason.startswith("could not be started: no such file: x; gave up")


@pytest.mark.parametrize(
    "news",
    [
        ev.Exited("web.1", 1, exit_code=1),
        ev.SpawnFailed("web.1", 1, "x"),
        ev.Emptied("web.1", 1),
        ev.Stuck("web.1", 1, (7,)),
        ev.Spawned("web.1", 1, 7),
        ev.ProbeResult("web.1", 1, "health", False),
        ev.LogMatched("web.1", 1, "x"),
        ev.Spawned("web.1", 2, 8),  # told twice
        ev.Emptied("web.1", 2),  # it lives
        ev.Exited("nobody.1", 1, exit_code=1),
    ],
)
def test_old_news_change_nothing(news):
    driver = Driver(program(restart=Restart(delay=0.0))).up()
    driver.exits("web.1")
    driver.spawned("web.1")
    before = driver["web.1"]
    assert driver.tell(news) == []
    assert driver["web.1"] == before


def test_an_end_told_twice_counts_once():
    driver = Driver(program()).up()
    driver.exits("web.1")
    before = driver["web.1"]
    assert driver.exits("web.1") == []
    assert driver["web.1"] is before


def test_nothing_is_started_before_the_last_run_is_gone():
    driver = Driver(program(restart=Restart(delay=0.0))).up()
    driver.exits("web.1", empty=False)
    assert driver.asked(act.ClearTree) == ["web.1"]
    assert driver.asked(act.Spawn) == []
    assert driver["web.1"].reason == "waits until nothing is left of its last run"
    driver.tell(ev.Stuck("web.1", 1, (7, 8)))
    assert "KILL does not end 7, 8" in driver["web.1"].reason
    driver.tell(ev.Start(("web.1",)))
    assert driver.asked(act.Spawn) == []
    driver.emptied("web.1")
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].stuck == ()


def test_the_delay_runs_while_the_rest_is_cleared():
    driver = Driver(program(restart=Restart(delay=5.0, jitter=0.0))).up()
    driver.exits("web.1", empty=False)
    driver.wait(2.0)
    driver.emptied("web.1")
    assert driver.asked(act.Spawn) == []
    driver.wait(2.9)
    assert driver.state("web.1") is State.BACKOFF
    driver.wait(0.2)
    assert driver.asked(act.Spawn) == ["web.1"]


# --- ends for good ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "code", "state"),
    [
        ({"kind": "task"}, 0, State.COMPLETED),
        ({"kind": "task"}, 1, State.BACKOFF),
        ({"kind": "task", "restart": Restart(policy="never")}, 1, State.FAILED),
        ({"kind": "task", "restart": Restart(policy="always")}, 0, State.BACKOFF),
        ({"restart": Restart(policy="on-failure")}, 0, State.COMPLETED),
        ({"restart": Restart(policy="on-failure", success_exit_codes=(0, 3))}, 3, State.COMPLETED),
        ({"restart": Restart(policy="never")}, 0, State.COMPLETED),
        ({}, 0, State.BACKOFF),
    ],
)
@pytest.mark.parametrize("empty", [True, False])
def test_what_becomes_of_it(options, code, state, empty):
    driver = Driver(program(**options)).up()
    driver.exits("web.1", code, empty=empty)
    if not empty and state is not State.BACKOFF:
        assert driver.state("web.1") is State.STOPPING, "what is at rest has left nothing"
        assert "what it left is being cleared" in driver["web.1"].reason
        driver.emptied("web.1")
    assert driver.state("web.1") is state
    assert driver["web.1"].wanted


@pytest.mark.parametrize(
    ("on_limit", "state", "exit_code"),
    [("retry", State.BACKOFF, None), ("fail", State.FAILED, None), ("shutdown", State.FAILED, 1)],
)
def test_the_limit(on_limit, state, exit_code):
    rule = Restart(limit=1, on_limit=on_limit, delay=0.0, max_delay=30.0, jitter=0.0)
    driver = Driver(program(restart=rule)).up()
    driver.exits("web.1")
    driver.spawned("web.1")
    driver.exits("web.1")
    assert driver.state("web.1") is state
    assert driver.exit_codes() == ([] if exit_code is None else [exit_code])
    if state is State.BACKOFF:
        assert driver["web.1"].deadline == driver.now + 30.0
    else:
        assert driver["web.1"].last.result is Result.LIMIT
        assert driver["web.1"].last.exit_code == 1


def test_a_failed_one_is_started_with_a_new_budget():
    driver = Driver(program(restart=Restart(limit=1, on_limit="fail", delay=0.0))).up()
    for _ in range(2):
        driver.exits("web.1")
        driver.tell(ev.Spawned("web.1", driver["web.1"].generation, 7))
    assert driver.state("web.1") is State.FAILED
    driver.tell(ev.Start(("web.1",), by="ann"))
    assert (driver["web.1"].reason, driver["web.1"].history) == ("started by ann", ())
    driver.spawned("web.1")
    driver.exits("web.1")
    assert driver.state("web.1") is State.STARTING


@pytest.mark.parametrize(("kind", "code", "ends"), [("service", 0, False), ("task", 0, True), ("task", 1, False)])
def test_an_essential_program_that_ends_for_good_ends_everything(kind, code, ends):
    driver = Driver(program(kind=kind, essential=True), program("db")).up()
    driver.exits("web.1", code)
    assert driver.core.stopping == ends
    if ends:
        assert driver.told("shutdown") == [
            "web.1 is essential: exited with code 0; not restarted: restart policy on-failure"
        ]
        driver.exits("db.1", 0)
        assert driver.exit_codes() == [1]


def test_an_operator_may_stop_what_is_essential():
    driver = Driver(program(essential=True)).up()
    driver.tell(ev.Stop(("web.1",)))
    driver.exits("web.1", 0)
    assert not driver.core.stopping


# --- stops ------------------------------------------------------------------------------------------------------------
def test_a_stop_asks_then_kills():
    driver = Driver(program(stop=Stop(signal="INT", timeout=3.0))).up()
    driver.tell(ev.Stop(("web.1",), by="ann"))
    signal = next(a for a in driver.actions if isinstance(a, act.Signal))
    assert (signal.signal, signal.scope, signal.cont) == (2, "group", True)
    driver.wait(2.9)
    assert driver.asked(act.ClearTree) == []
    driver.wait(0.2)
    assert driver.asked(act.ClearTree) == ["web.1"]
    driver.exits("web.1", None, signal=9)
    assert driver.state("web.1") is State.STOPPED
    assert driver["web.1"].reason == "stopped by ann (killed, as it did not end in time)"
    assert driver["web.1"].last.result is Result.STOP_TIMEOUT


def test_what_it_leaves_gets_the_rest_of_its_time():
    driver = Driver(program(stop=Stop(timeout=10.0))).up()
    driver.tell(ev.Stop(("web.1",)))
    driver.wait(4.0)
    driver.exits("web.1", 0, empty=False)
    assert [a.grace_s for a in driver.actions if isinstance(a, act.ClearTree)] == [pytest.approx(6.0)]
    assert driver.state("web.1") is State.STOPPING
    driver.emptied("web.1")
    assert (driver.state("web.1"), driver["web.1"].last.result) == (State.STOPPED, Result.OPERATOR)


def test_a_stop_command_instead_of_a_signal():
    driver = Driver(program(stop=Stop(command=("bye",)))).up()
    driver.tell(ev.Stop(("web.1",)))
    assert driver.asked(act.RunStopCommand) == ["web.1"]
    assert signals(driver) == []


def test_a_stop_while_the_spawn_is_under_way():
    driver = Driver(program(stop=Stop(command=("bye",))))
    driver.tell(ev.Start(("web.1",)))
    driver.tell(ev.Stop(("web.1",)))
    assert signals(driver) == [TERM], "there is no pid for a command yet"
    driver.spawned("web.1")
    assert (driver.state("web.1"), driver["web.1"].pid) == (State.STOPPING, 1000)
    driver.exits("web.1", None, signal=15)
    assert driver.state("web.1") is State.STOPPED


@pytest.mark.parametrize("then", ["fails", "start"])
def test_a_stop_and_a_spawn_that_fails(then):
    driver = Driver(program())
    driver.tell(ev.Start(("web.1",)))
    driver.tell(ev.Stop(("web.1",)))
    if then == "start":
        driver.tell(ev.Start(("web.1",)))
    driver.tell(ev.SpawnFailed("web.1", 1, "x"))
    assert driver.state("web.1") is (State.STOPPED if then == "fails" else State.STARTING)


def test_a_stop_in_backoff():
    driver = Driver(program()).up()
    driver.exits("web.1")
    driver.tell(ev.Stop(("web.1",)))
    assert driver.state("web.1") is State.STOPPED
    assert driver.wait(100.0) == []


def test_a_stop_in_backoff_while_something_is_left():
    driver = Driver(program()).up()
    driver.exits("web.1", empty=False)
    driver.tell(ev.Stop(("web.1",)))
    assert driver.state("web.1") is State.STOPPING
    driver.emptied("web.1")
    assert driver.state("web.1") is State.STOPPED


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_stop_of_what_is_at_rest(state):
    driver = Driver(program(kind="task", restart=Restart(policy="never"))).up()
    driver.exits("web.1", 0 if state == "completed" else 1)
    assert driver.state("web.1") == state
    driver.tell(ev.Stop(("web.1",)))
    assert (driver.state("web.1"), driver["web.1"].wanted) == (State.STOPPED, False)


def test_a_start_in_backoff_waits_no_longer():
    driver = Driver(program(restart=Restart(delay=60.0))).up()
    driver.exits("web.1")
    driver.tell(ev.Start(("web.1",), by="ann"))
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].reason == "started by ann"


@pytest.mark.parametrize("policy", ["always", "never"])
@pytest.mark.parametrize("late", [False, True])
def test_a_start_while_it_is_being_stopped(policy, late):
    driver = Driver(program(restart=Restart(policy=policy), stop=Stop(timeout=1.0))).up()
    driver.tell(ev.Stop(("web.1",)))
    if late:
        driver.wait(1.0)  # it is being killed by now
    driver.tell(ev.Start(("web.1",)))
    driver.exits("web.1", None, signal=9)
    assert driver.asked(act.Spawn) == ["web.1"]


def test_a_stop_of_what_was_to_be_restarted_says_so():
    driver = Driver(program()).up()
    driver.tell(ev.Restart(("web.1",), by="ann"))
    driver.tell(ev.Stop(("web.1",), by="bob"))
    assert driver["web.1"].reason == "stopped by bob"
    driver.exits("web.1", 0)
    assert (driver.state("web.1"), driver["web.1"].reason) == (State.STOPPED, "stopped by bob")


def test_a_restart():
    driver = Driver(program(restart=Restart(limit=1, on_limit="fail"))).up()
    for generation in (2, 3, 4):
        driver.tell(ev.Restart(("web.1",), by="ann"))
        assert driver.state("web.1") is State.STOPPING
        driver.exits("web.1", 1)
        assert (driver.state("web.1"), driver["web.1"].generation) == (State.STARTING, generation)
        driver.spawned("web.1")
    assert driver["web.1"].restarts == 3
    assert driver["web.1"].history == (), "an operator's restart costs no budget"


@pytest.mark.parametrize("state", ["stopped", "backoff"])
def test_a_restart_of_what_does_not_run_starts_it(state):
    driver = Driver(program(restart=Restart(delay=60.0)))
    if state == "backoff":
        driver.up().exits("web.1")
    driver.tell(ev.Restart(("web.1",), by="ann"))
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].reason == "restarted by ann"


# --- hangs ------------------------------------------------------------------------------------------------------------
def hung(**options) -> Driver:
    options = {"heartbeat": Heartbeat(timeout=2.0), "abort": Abort(timeout=5.0)} | options
    driver = Driver(program(**options)).up()
    driver.wait(2.0)
    return driver


def test_a_hang_is_aborted_then_killed_then_replaced():
    driver = hung(restart=Restart(delay=1.0, jitter=0.0))
    assert driver.state("web.1") is State.ABORTING
    assert driver["web.1"].reason == "hung: no sign of life for 2 s"
    assert not driver["web.1"].ready
    kinds = [type(action) for action in driver.actions]
    assert kinds.index(act.Collect) < kinds.index(act.Signal), "evidence first"
    assert signals(driver) == [ABRT]
    driver.wait(5.0)
    assert driver.asked(act.ClearTree) == ["web.1"]
    driver.exits("web.1", None, signal=9)
    assert driver["web.1"].last.result is Result.HEARTBEAT
    assert driver["web.1"].reason == "no sign of life for 2 s; restart in 1.0 s"
    driver.wait(1.0)
    assert driver.asked(act.Spawn) == ["web.1"]


def test_a_stop_of_what_hangs():
    driver = hung()
    driver.tell(ev.Stop(("web.1",)))
    driver.exits("web.1", None, signal=6)
    assert driver.state("web.1") is State.STOPPED
    assert driver["web.1"].last.result is Result.HEARTBEAT


@pytest.mark.parametrize("wishes", [[ev.Restart], [ev.Stop, ev.Start], [ev.Stop, ev.Restart]])
def test_a_start_of_what_hangs_is_obeyed_whatever_the_policy(wishes):
    driver = hung(restart=Restart(policy="never"))
    for wish in wishes:
        driver.tell(wish(("web.1",)))
    driver.exits("web.1", None, signal=6)
    driver.wait(0.0)
    assert driver["web.1"].generation == 2


def test_a_stall_is_not_held_against_anybody():
    driver = Driver(program(heartbeat=Heartbeat(timeout=2.0))).up()
    driver.now += 3600.0
    driver.tell(ev.Stalled(3600.0))
    driver.tell(ev.Due())
    assert driver.state("web.1") is State.RUNNING
    driver.wait(1.9)
    assert driver.state("web.1") is State.RUNNING
    driver.wait(0.2)
    assert driver.state("web.1") is State.ABORTING


def test_after_a_stall_a_stop_gets_the_time_that_it_had():
    driver = Driver(program(stop=Stop(timeout=10.0))).up()
    driver.tell(ev.Stop(("web.1",)))
    driver.now += 60.0
    driver.tell(ev.Stalled(60.0))
    driver.tell(ev.Due())
    assert driver.asked(act.ClearTree) == []
    driver.wait(10.0)
    assert driver.asked(act.ClearTree) == ["web.1"]


# --- settled ----------------------------------------------------------------------------------------------------------
def test_settled_is_ready_completed_or_failed_its_first_start():
    driver = Driver(program("a"), program("b", kind="task"), program("c", ready=Ready(notify=True)), program("d"))
    driver.tell(ev.Start(("a.1", "b.1", "c.1", "d.1")))
    assert not driver.core.settled()
    driver.spawned("a.1", "b.1", "c.1")
    driver.exits("b.1", 0)
    driver.tell(ev.SpawnFailed("d.1", 1, "x"))
    assert not driver.core.settled()
    driver.tell(ev.Notified("c.1", ready=True))
    assert driver.core.settled()
    driver.tell(ev.Restart(("a.1",)))
    assert not driver.core.settled()
    driver.tell(ev.Stop(("a.1",)))
    assert driver.core.settled(), "what nobody wants is not waited for"


def test_a_start_by_hand_of_what_backs_off_is_another_start_to_wait_for():
    driver = Driver(program(restart=Restart(delay=50.0))).up()
    driver.exits("web.1", 1)
    assert driver["web.1"].settled
    driver.tell(ev.Start(("web.1",)))
    assert (driver.state("web.1"), driver["web.1"].settled) == (State.STARTING, False)
