"""Cases of systemd's integration tests TEST-07, TEST-16, TEST-23 and TEST-59, in meaning.

EXTEND_TIMEOUT_USEC at each stage, what a start and an end mean for a type of unit, a reload that does not come to an
end, start limits, and the order of what is started and stopped together.
"""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Heartbeat, Limit, Limits, Ready, Restart, Stop
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program


def say(driver: Driver, **fields) -> None:
    driver.tell(ev.Notified("web.1", **fields))


def extend(driver: Driver, seconds: float) -> None:
    say(driver, extend_timeout_usec=int(seconds * 1e6))


def stage(name: str) -> Driver:
    """A service with 4 s for each stage, in the middle of one."""
    driver = Driver(
        program(ready=Ready(notify=True, timeout=4.0), heartbeat=Heartbeat(timeout=4.0), stop=Stop(timeout=4.0))
    ).up()
    if name != "start":
        say(driver, ready=True)
    if name == "stop":
        driver.tell(ev.Stop(("web.1",)))
    return driver


IN_STAGE = {"start": State.STARTING, "runtime": State.RUNNING, "stop": State.STOPPING}


# --- TEST-16 ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", IN_STAGE)
def test_success(name):
    """Extended again and again in time, a stage lasts far longer than it may by itself."""
    driver = stage(name)
    for _ in range(6):
        extend(driver, 5.0)
        driver.wait(4.9)
        assert driver.state("web.1") is IN_STAGE[name]
        assert driver.asked(act.ClearTree) == []
    if name == "start":
        say(driver, ready=True)
        assert driver.state("web.1") is State.RUNNING
    elif name == "runtime":
        driver.tell(ev.Beat("web.1"))
        assert driver["web.1"].heartbeat_due == driver.now + 4.0
    else:
        driver.exits("web.1", 0)
        assert driver["web.1"].last.result is Result.OPERATOR


def test_success_all():
    driver = stage("start")
    extend(driver, 10.0)
    driver.wait(9.0)
    say(driver, ready=True)
    extend(driver, 10.0)
    driver.wait(9.0)
    driver.tell(ev.Stop(("web.1",)))
    extend(driver, 10.0)
    driver.wait(9.0)
    driver.exits("web.1", 0)
    assert (driver.state("web.1"), driver["web.1"].last.result) == (State.STOPPED, Result.OPERATOR)


@pytest.mark.parametrize(
    ("name", "result"),
    [("start", Result.START_TIMEOUT), ("runtime", Result.HEARTBEAT), ("stop", Result.STOP_TIMEOUT)],
)
def test_fail(name, result):
    """The extension is over and nothing more came: the stage has timed out, and says so."""
    driver = stage(name)
    extend(driver, 5.0)
    driver.wait(4.9)
    assert driver.state("web.1") is IN_STAGE[name]
    driver.wait(0.2)
    killed = driver.asked(act.ClearTree)
    driver.exits("web.1", None, signal=9 if killed else 15)
    assert driver["web.1"].last.result is result
    assert bool(killed) == (name == "stop")


@pytest.mark.parametrize("changed", [False, True])
def test_runtime_max_sec(changed):
    """A greatest age, also one that is set while it runs."""
    limits = Limits(age=Limit(above=5.0))
    driver = Driver(program(limits=Limits() if changed else limits)).up()
    if changed:
        driver.reload(program(limits=limits))
        assert driver.state("web.1") is State.RUNNING, "a limit needs no restart"
    for age in (4.0, 2.0):
        driver.wait(age)
        driver.tell(ev.Sampled("web.1", 1, memory_bytes=1, cpu_percent=0.0, open_files=1, threads=1, processes=1))
    assert (driver.state("web.1"), driver["web.1"].failing) == (State.STOPPING, Result.AGE)


# --- TEST-23 ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codes", [[1, 1, 0], [0]])
def test_oneshot_restart(codes):
    """A task that fails is tried again until it succeeds; what waits for it starts then, and only then."""
    task = program("job", kind="task", restart=Restart(delay=1.0, factor=1.0, jitter=0.0))
    driver = Driver(task, program("after", depends_on={"job": Dependency(condition="completed")})).up()
    for code in codes:
        assert driver.state("after.1") is State.WAITING
        driver.exits("job.1", code)
        if code:
            driver.wait(1.0)
            driver.spawned("job.1")
    assert driver.state("job.1") is State.COMPLETED
    assert driver.state("after.1") is State.STARTING


def test_oneshot_that_is_never_restarted_keeps_what_needs_it_waiting():
    task = program("job", kind="task", restart=Restart(policy="never"))
    driver = Driver(task, program("after", depends_on={"job": Dependency(condition="completed")})).up()
    driver.exits("job.1", 1)
    assert driver.states() == {"job.1": "failed", "after.1": "waiting"}
    assert "job to complete, which failed" in driver["after.1"].reason
    assert driver.core.settled(), "nobody waits for ever for its start"


@pytest.mark.parametrize(("policy", "again"), [("always", True), ("on-failure", False), ("never", False)])
@pytest.mark.parametrize("code", [0, 42])
def test_success_exit_status(policy, again, code):
    driver = Driver(program(restart=Restart(policy=policy, success_exit_codes=(0, 42)))).up()
    driver.exits("web.1", code)
    assert driver["web.1"].last.result is Result.SUCCESS
    assert driver.state("web.1") is (State.BACKOFF if again else State.COMPLETED)


def test_type_notify_that_ends_before_it_is_ready():
    """A start that ends without READY=1 has failed, whatever its exit code would mean later."""
    driver = Driver(program(ready=Ready(notify=True)), program("after", depends_on={"web": Dependency()})).up("web.1")
    driver.tell(ev.Start(("after.1",)))
    driver.exits("web.1", 1)
    assert driver["web.1"].settled
    assert driver.states() == {"web.1": "backoff", "after.1": "waiting"}


def test_a_remain_after_exit_is_what_completed_means():
    driver = Driver(
        program("setup", kind="task"),
        program("after", depends_on={"setup": Dependency()}),
    ).up("setup.1")
    driver.exits("setup.1", 0)
    driver.tell(ev.Start(("after.1",)))
    assert driver.asked(act.Spawn) == ["after.1"], "a task that has completed counts as there"


# --- TEST-59 ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "how", "state"),
    [
        ("never", {"code": 1}, State.FAILED),
        ("on-failure", {"code": 1}, State.BACKOFF),
        ("on-failure", {"code": None, "signal": 6}, State.BACKOFF),
    ],
)
def test_an_end_in_the_middle_of_a_reload(policy, how, state):
    """RELOADING=1 and then an end: it does not linger as something that reloads."""
    driver = Driver(program(ready=Ready(notify=True), restart=Restart(policy=policy))).up()
    say(driver, ready=True)
    say(driver, reloading=True)
    assert driver.told("notify") == ["says that it reloads its configuration"]
    driver.exits("web.1", **how)
    assert (driver.state("web.1"), driver["web.1"].ready) == (state, False)


def test_notify_reload():
    """It reloads, is ready again, stops: each is its own word, and no run is lost by it."""
    driver = Driver(program(ready=Ready(notify=True))).up()
    say(driver, ready=True, status="Running now")
    say(driver, reloading=True, status="Adding 11")
    assert driver["web.1"].ready
    say(driver, ready=True, status="Back running")
    assert (driver.state("web.1"), driver["web.1"].status_text) == (State.RUNNING, "Back running")
    driver.tell(ev.Stop(("web.1",)))
    say(driver, stopping=True, status="Adding 7")
    driver.exits("web.1", 109)
    assert driver["web.1"].last.exit_code == 109
    assert driver["web.1"].generation == 1


# --- TEST-07 ----------------------------------------------------------------------------------------------------------
def test_start_limit():
    """What always fails is given up at its limit, and no timer is left; starting it by hand begins anew."""
    driver = Driver(program(restart=Restart(delay=0.0, limit=5, window=10.0, on_limit="fail"))).up()
    for _ in range(6):
        driver.exits("web.1")
        if driver["web.1"].spawning:
            driver.spawned("web.1")
    assert (driver.state("web.1"), driver["web.1"].generation) == (State.FAILED, 6)
    assert driver.core.next_deadline() is None
    driver.tell(ev.Start(("web.1",)))
    driver.spawned("web.1")
    driver.exits("web.1")
    assert driver["web.1"].spawning


def test_type_exec_parallel():
    """Many at once, some of which can't be executed: each is told its own end, and none waits for another."""
    driver = Driver(*(program(f"p{i}", restart=Restart(policy="never")) for i in range(25)))
    driver.tell(ev.Start(tuple(driver.core.replicas)))
    assert len(driver.asked(act.Spawn)) == 25
    for i in range(25):
        slot = f"p{i}.1"
        driver.tell(ev.SpawnFailed(slot, 1, "not there") if i % 5 == 0 else ev.Spawned(slot, 1, 100 + i))
    assert [slot for slot, state in driver.states().items() if state == "failed"] == [
        f"p{i}.1" for i in range(0, 25, 5)
    ]
    assert driver.core.settled()


def test_multi_units_transaction():
    """One request for several: each after what it needs, whatever the order in which they were named."""
    driver = Driver(
        program("front", depends_on={"web": Dependency()}),
        program("web", depends_on={"db": Dependency()}),
        program("db", ready=Ready(notify=True)),
    )
    driver.tell(ev.Start(("front.1", "web.1", "db.1")))
    assert driver.asked(act.Spawn) == ["db.1"]
    driver.spawned("db.1")
    driver.tell(ev.Notified("db.1", ready=True))
    assert driver.asked(act.Spawn) == ["web.1"]
    driver.spawned("web.1")
    assert driver.asked(act.Spawn) == ["front.1"]


@pytest.mark.parametrize("restart", [False, True])
def test_restart_propagates_to_dependants_that_want_it(restart):
    """Requires= and PartOf= are ``restart = true``: it waits until the other one is there; Wants= leaves it alone."""
    driver = Driver(
        program("db", ready=Ready(notify=True), restart=Restart(delay=1.0, jitter=0.0)),
        program("web", depends_on={"db": Dependency(restart=restart)}),
    ).up()
    driver.tell(ev.Notified("db.1", ready=True))
    driver.let_it_roll()
    driver.exits("db.1")
    assert driver.state("web.1") is (State.STOPPING if restart else State.RUNNING)
    driver.let_it_roll()
    assert driver.state("web.1") is (State.WAITING if restart else State.RUNNING)
    driver.wait(1.0)
    driver.spawned("db.1")
    assert driver.asked(act.Spawn) == []
    driver.tell(ev.Notified("db.1", ready=True))
    assert driver.asked(act.Spawn) == (["web.1"] if restart else [])


@pytest.mark.parametrize("restart", [False, True])
def test_a_stop_by_an_operator_leaves_dependants_alone(restart):
    """Unlike Requires=: who stops a program stops that one; what needs it goes on, and starts again only with it."""
    driver = Driver(program("db"), program("web", depends_on={"db": Dependency(restart=restart)})).up()
    driver.tell(ev.Stop(("db.1",)))
    driver.exits("db.1", 0)
    assert driver.states() == {"db.1": "stopped", "web.1": "running"}
    driver.exits("web.1")
    driver.wait(1.0)
    assert (driver.state("web.1"), driver["web.1"].reason) == (State.WAITING, "waits for db to be ready")
    driver.tell(ev.Start(("db.1",)))
    driver.spawned("db.1")
    assert driver.asked(act.Spawn) == ["web.1"]
