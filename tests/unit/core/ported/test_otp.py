"""Cases of Erlang/OTP's supervisor_SUITE, in meaning: strategies, intensity, escalation, kills, hanging restarts.

permanent, transient and temporary are ``restart`` always, on-failure and never; intensity and period are a group's
``limit`` and ``window``; a supervisor that dies of them is ``on_limit`` fail or shutdown; brutal_kill is a stop timeout
of 0. What hasup does otherwise is said in docs/explanation/ported.md.
"""

import pytest

from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Group, Ready, Restart, Stop
from hasup.model.state import Result, State
from tests.unit.core.driver import Driver, program

NOW = Restart(delay=0.0)
STRATEGIES = ["one-for-one", "one-for-all", "rest-for-one"]


def family(strategy: str = "one-for-one", names: str = "abc", restart: Restart = NOW, **options) -> Driver:
    """A running group of one-letter programs; by default each is restarted at once."""
    own = options.pop("programs", {})
    children = [program(name, **({"restart": restart} | own.get(name, {}))) for name in names]
    return Driver(*children, groups=(Group(name="g", programs=tuple(names), strategy=strategy, **options),)).up()


def generations(driver: Driver) -> dict[str, int]:
    return {known.program: known.generation for known in driver.core.replicas.values()}


def obey(driver: Driver, *names: str) -> list[str]:
    """These end as they are told; which slots were spawned by it, in order."""
    spawned = []
    for name in names:
        driver.exits(f"{name}.1", 0)
        spawned += driver.asked(act.Spawn)
    return spawned


# --- stops ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("timeout", "killed_after"),
    [(0.0, 0.0), (1.0, 1.0), (1e9, None)],
    ids=["sup_stop_brutal_kill", "sup_stop_timeout", "sup_stop_infinity"],
)
def test_how_long_a_child_has_to_stop(timeout, killed_after):
    driver = Driver(program("a", stop=Stop(timeout=1.0)), program("b", stop=Stop(timeout=timeout))).up()
    driver.tell(ev.Shutdown("done"))
    assert driver.asked(act.Signal) == ["a.1", "b.1"], "both are asked, whatever their time"
    driver.exits("a.1", 0)
    if killed_after is None:
        assert driver.wait(3600.0 * 24) == []
        driver.exits("b.1", 0)
    else:
        driver.wait(killed_after)
        assert driver.asked(act.ClearTree) == ["b.1"]
        driver.exits("b.1", None, signal=9)
    assert driver.states() == {"a.1": "stopped", "b.1": "stopped"}
    assert driver.exit_codes() == [0]


def test_simple_one_for_one_shutdown():
    """Replicas are stopped side by side: all of them take no longer than one."""
    driver = Driver(program("a", replicas=5, stop=Stop(timeout=2.0))).up()
    driver.tell(ev.Shutdown("done"))
    assert len(driver.asked(act.Signal)) == 5
    for index in (1, 2):
        driver.exits(f"a.{index}", 0)
    driver.wait(2.0)
    assert sorted(driver.asked(act.ClearTree)) == ["a.3", "a.4", "a.5"]


# --- who is restarted -------------------------------------------------------------------------------------------------
def test_child_adm():
    """What runs is not started twice; what was ended on purpose stays so until somebody wants it again."""
    driver = family()
    driver.tell(ev.Start(("a.1",)))
    assert driver.actions == []
    driver.tell(ev.Stop(("a.1",)))
    driver.exits("a.1", 1)
    assert driver.state("a.1") is State.STOPPED
    assert driver.wait(3600.0) == []
    driver.tell(ev.Start(("a.1",)))
    assert driver.asked(act.Spawn) == ["a.1"]


def test_one_for_one():
    driver = family("one-for-one")
    driver.exits("b.1")
    assert driver.asked(act.Spawn) == ["b.1"]
    assert generations(driver) == {"a": 1, "b": 2, "c": 1}


def test_one_for_all():
    """All others end before any starts, and they start in the group's order, whoever failed and whoever ended last."""
    driver = family("one-for-all")
    driver.exits("b.1")
    assert driver.asked(act.Spawn) == []
    assert driver.asked(act.Signal) == ["a.1", "c.1"]
    assert driver["b.1"].reason == "waits for those of g to end that are restarted with it"
    assert obey(driver, "c") == []
    assert obey(driver, "a") == ["a.1", "b.1", "c.1"]


def test_one_for_all_while_the_delay_runs():
    driver = family("one-for-all", restart=Restart(delay=5.0, jitter=0.0))
    driver.exits("b.1")
    assert obey(driver, "a", "c") == ["a.1", "c.1"], "a delay is only its own"
    driver.wait(5.0)
    assert driver.asked(act.Spawn) == ["b.1"]


def test_rest_for_one():
    driver = family("rest-for-one", "abcd")
    driver.exits("b.1")
    assert driver.asked(act.Signal) == ["c.1", "d.1"]
    assert obey(driver, "d") == []
    assert obey(driver, "c") == ["b.1", "c.1", "d.1"]
    assert generations(driver) == {"a": 1, "b": 2, "c": 2, "d": 2}


def test_an_old_one_that_does_not_end_is_killed_before_any_new_one_starts():
    driver = family("one-for-all", programs={"c": {"restart": NOW, "stop": Stop(timeout=3.0)}})
    driver.exits("a.1")
    assert obey(driver, "b") == []
    driver.wait(3.0)
    assert driver.asked(act.ClearTree) == ["c.1"]
    driver.exits("c.1", None, signal=9, empty=False)
    assert driver.asked(act.Spawn) == [], "what it left lives still"
    driver.emptied("c.1")
    assert driver.asked(act.Spawn) == ["a.1", "b.1", "c.1"]


def test_simple_one_for_one():
    driver = Driver(program("a", replicas=3, restart=NOW)).up()
    driver.exits("a.2")
    assert driver.asked(act.Spawn) == ["a.2"]
    assert [driver[f"a.{i}"].generation for i in (1, 2, 3)] == [1, 2, 1]


def test_temporary_bystander():
    """Unlike OTP: one that is never restarted for its own end is so with its group, which ended it."""
    driver = family("one-for-all", "ab", programs={"b": {"restart": Restart(policy="never")}})
    driver.exits("a.1")
    assert obey(driver, "b") == ["a.1", "b.1"]
    driver.spawned("a.1", "b.1")
    driver.exits("b.1")
    assert driver.state("b.1") is State.FAILED
    assert driver.state("a.1") is State.RUNNING, "nor does its own end take anybody along"


@pytest.mark.parametrize("strategy", ["one-for-all", "rest-for-one"])
def test_other_child_fails_restart(strategy):
    """While a restart of several is under way, another one cannot be started: one-for-all begins anew."""
    driver = family(strategy, "ab")
    driver.exits("a.1")
    assert obey(driver, "b") == ["a.1", "b.1"]
    driver.spawned("a.1")
    driver.tell(ev.SpawnFailed("b.1", 2, "no such file"))
    if strategy == "one-for-all":
        assert driver.state("a.1") is State.STOPPING
        assert obey(driver, "a") == ["a.1", "b.1"]
    else:
        assert driver.state("a.1") is State.RUNNING
        assert driver.asked(act.Spawn) == ["b.1"]


# --- intensity and escalation -----------------------------------------------------------------------------------------
def test_multiple_restarts():
    """More restarts than the limit in all, never more than it within the window."""
    driver = family(limit=1, window=1.0, on_limit="fail")
    for _ in range(10):
        driver.exits("a.1")
        driver.spawned("a.1")
        driver.wait(2.1)
    assert set(driver.states().values()) == {"running"}
    driver.exits("a.1")
    driver.spawned("a.1")
    driver.exits("b.1")
    assert driver.state("b.1") is State.FAILED


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("on_limit", ["fail", "shutdown"])
def test_escalation(strategy, on_limit):
    """A child that can't be started again uses up the limit by itself; then its siblings end too."""
    driver = family(strategy, "ab", limit=4, window=3600.0, on_limit=on_limit)
    driver.exits("b.1")
    tries = 0
    while not driver.core.stopping and driver.state("b.1") is not State.FAILED:
        if driver.state("a.1") is State.STOPPING:
            driver.exits("a.1", 0)
        if driver["a.1"].spawning:
            driver.spawned("a.1")
        driver.tell(ev.SpawnFailed("b.1", driver["b.1"].generation, "no such file"))
        tries += 1
        assert tries < 10
    assert tries == 4
    if driver.state("a.1") is State.STOPPING:
        driver.exits("a.1", 0)
    assert driver.state("a.1") is (State.FAILED if on_limit == "fail" else State.STOPPED)
    assert driver.exit_codes() == ([] if on_limit == "fail" else [1])
    assert driver.core.next_deadline() is None


def test_simple_one_for_one_escalation():
    """Replicas of one program share the limit of its group."""
    driver = Driver(
        program("a", replicas=3, restart=NOW), groups=(Group(name="g", programs=("a",), limit=2, on_limit="fail"),)
    ).up()
    for slot in ("a.1", "a.2"):
        driver.exits(slot)
        driver.spawned(slot)
    driver.exits("a.3")
    for slot in ("a.1", "a.2"):
        driver.exits(slot, 0)
    assert set(driver.states().values()) == {"failed"}
    assert {known.last.result for known in driver.core.replicas.values()} == {Result.LIMIT}


# --- nothing hangs ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hanging_restart_loop(strategy):
    """A child that can never be started again keeps nobody from anything, and its loop can be ended."""
    driver = family(strategy, restart=Restart(delay=0.5, factor=1.0, jitter=0.0))
    driver.exits("b.1")
    for _ in range(20):
        driver.let_it_roll()
        driver.wait(0.5)
        if driver["b.1"].spawning:
            driver.tell(ev.SpawnFailed("b.1", driver["b.1"].generation, "no such file"))
    driver.tell(ev.Stop(("c.1",)))
    driver.let_it_roll()
    assert driver.state("c.1") is State.STOPPED
    driver.tell(ev.Stop(("b.1",)))
    driver.let_it_roll()
    assert driver.state("b.1") is State.STOPPED
    driver.tell(ev.Start(("c.1",)))
    driver.let_it_roll()
    assert driver.states() == {"a.1": "running", "b.1": "stopped", "c.1": "running"}
    assert driver.wait(3600.0) == []
    driver.tell(ev.Start(("b.1",)))
    driver.let_it_roll()
    assert set(driver.states().values()) == {"running"}


def test_a_child_that_hangs_while_it_starts_holds_up_nobody():
    driver = Driver(program("a", ready=Ready(notify=True, timeout=60.0)), program("b"), program("c"))
    driver.tell(ev.Start(("a.1", "b.1")))
    driver.spawned("a.1", "b.1")
    driver.tell(ev.Start(("c.1",)))
    driver.spawned("c.1")
    assert driver.states() == {"a.1": "starting", "b.1": "running", "c.1": "running"}
    driver.tell(ev.Shutdown("done"))
    assert set(driver.states().values()) == {"stopping"}


def test_scale_many_temporary_children():
    """Many that end for good are forgotten as they are scaled away, whatever became of them."""
    driver = Driver(program("a", replicas=0, restart=Restart(policy="never")))
    driver.tell(ev.Start(()))
    driver.tell(ev.Scale("a", 400))
    driver.let_it_roll()
    for index in range(1, 401, 2):
        driver.exits(f"a.{index}", index % 3)
    driver.tell(ev.Scale("a", 0))
    driver.let_it_roll()
    assert driver.core.replicas == {}
    assert set(driver.blobs) == {""}
