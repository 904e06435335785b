"""Who waits for whom, and in what order everything ends."""

import pytest

from hasup.core.plan import Plan, is_met
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Ready, Restart
from hasup.model.state import Replica, State
from tests.unit.core.driver import Driver, program


def replicas(*states: str) -> list[Replica]:
    """``running+`` is ready, ``starting*`` has a pid."""
    return [
        Replica(
            name=f"db.{i}", program="db", index=i, state=State(state.strip("+*")), ready="+" in state,
            pid=7 if state[-1] in "+*" else None,
        )
        for i, state in enumerate(states, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "states", "need", "met"),
    [
        ("started", [], 1, False),
        ("started", ["starting"], 1, False),
        ("started", ["stopped", "starting*"], 1, True),
        ("started", ["completed"], 1, True),
        ("started", ["backoff"], 1, False),
        ("ready", [], 1, False),
        ("ready", ["running*"], 1, False),
        ("ready", ["running+", "starting*"], 1, True),
        ("ready", ["running+", "starting*"], 2, False),
        ("ready", ["running+", "running+"], 2, True),
        ("ready", ["running+"], 2, True),  # it has no more than one
        ("ready", ["completed", "running+"], 2, True),
        ("ready", ["failed"], 1, False),
        ("completed", [], 1, False),
        ("completed", ["completed", "completed"], 1, True),
        ("completed", ["completed", "running+"], 1, False),
    ],
)
def test_when_a_program_is_there(condition, states, need, met):
    assert is_met(condition, replicas(*states), need) == met


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("started", "waits for db to be started"),
        ("ready", "waits for db to be ready"),
        ("completed", "waits for db to complete"),
    ],
)
def test_it_says_what_it_waits_for(condition, words):
    web = program(depends_on={"db": Dependency(condition=condition)})
    plan = Plan({"db": program("db"), "web": web}, lambda _: replicas("stopped"))
    assert plan.blocked(web) == words
    failed = [Replica(name="db.1", program="db", index=1, state=State.FAILED, reason="gave up")]
    plan = Plan({"db": program("db"), "web": web}, lambda _: failed)
    assert plan.blocked(web) == f"{words}, which failed (gave up)"


def test_those_that_depend_on_it_come_in_the_order_of_the_configuration():
    names = [f"p{i}" for i in range(20)]
    programs = {"db": program("db")} | {name: program(name, depends_on={"db": Dependency()}) for name in names}
    assert Plan(programs, lambda _: []).dependants("db") == names


def test_a_dependency_is_started_with_what_needs_it():
    driver = Driver(program("db"), program(depends_on={"db": Dependency()}))
    driver.tell(ev.Start(("web.1",)))
    assert driver.asked(act.Spawn) == ["db.1"]
    assert driver["web.1"].reason == "waits for db to be ready"
    driver.spawned("db.1")
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].reason == "what it waited for is there"


def test_a_dependency_that_somebody_stopped_is_started_and_one_that_failed_is_not():
    driver = Driver(program("db", restart=Restart(policy="never")), program(depends_on={"db": Dependency()})).up("db.1")
    driver.exits("db.1")
    assert driver.state("db.1") is State.FAILED
    driver.tell(ev.Start(("web.1",)))
    assert driver.asked(act.Spawn) == []
    assert "which failed" in driver["web.1"].reason
    driver.tell(ev.Start(("db.1",)))
    driver.spawned("db.1")
    assert driver.state("web.1") is State.STARTING


def test_it_is_looked_at_again_whenever_the_other_one_changes():
    driver = Driver(program("db", ready=Ready(notify=True)), program(depends_on={"db": Dependency()}))
    driver.up()
    assert driver.state("web.1") is State.WAITING
    driver.exits("db.1")
    assert driver.state("web.1") is State.WAITING
    driver.wait(1.0)
    driver.spawned("db.1")
    driver.tell(ev.Notified("db.1", ready=True))
    assert driver.asked(act.Spawn) == ["web.1"]


def test_a_stop_while_it_waits():
    driver = Driver(program("db", ready=Ready(notify=True)), program(depends_on={"db": Dependency()})).up()
    driver.tell(ev.Stop(("web.1",)))
    assert driver.state("web.1") is State.STOPPED
    driver.tell(ev.Notified("db.1", ready=True))
    assert driver.asked(act.Spawn) == []


@pytest.mark.parametrize("cause", ["crash", "operator"])
def test_restarted_when_the_other_one_was_and_so_on_down_the_line(cause):
    driver = Driver(
        program("db"),
        program("web", depends_on={"db": Dependency(restart=True)}),
        program("front", depends_on={"web": Dependency(restart=True)}),
        program("other", depends_on={"db": Dependency()}),
    ).up()
    if cause == "crash":
        driver.exits("db.1")
    else:
        driver.tell(ev.Restart(("db.1",)))
    assert driver.state("web.1") is State.STOPPING
    assert driver["web.1"].reason == "restarted, since db.1 was"
    assert driver.state("front.1") is State.STOPPING
    assert driver.state("other.1") is State.RUNNING


def test_everything_ends_in_order():
    driver = Driver(program("db"), program("web", depends_on={"db": Dependency()}), program("cron")).up()
    driver.tell(ev.Shutdown("SIGTERM to hasup", exit_code=3))
    assert driver.states() == {"db.1": "running", "web.1": "stopping", "cron.1": "stopping"}
    driver.exits("cron.1", 0)
    assert driver.state("db.1") is State.RUNNING
    driver.exits("web.1", 0)
    assert driver.state("db.1") is State.STOPPING
    assert driver.exit_codes() == []
    driver.exits("db.1", 0)
    assert driver.exit_codes() == [3]
    assert driver.core.finished == 3
    assert driver.tell(ev.Due()) == []


def test_a_dispatcher_ends_before_what_it_serves_and_the_console_last():
    driver = Driver(
        program("web"),
        program("web:dispatcher", internal=True, owner="web"),
        program(":console", internal=True),
    ).up()
    driver.tell(ev.Shutdown("bye"))
    assert driver.states() == {"web.1": "running", "web:dispatcher.1": "stopping", ":console.1": "running"}
    driver.exits("web:dispatcher.1", 0)
    assert driver.states()["web.1"] == "stopping"
    assert driver.states()[":console.1"] == "running"
    driver.exits("web.1", 0)
    assert driver.states()[":console.1"] == "stopping"


def test_a_second_shutdown_kills_and_the_first_code_stays():
    driver = Driver(program("db"), program("web", depends_on={"db": Dependency()})).up()
    driver.tell(ev.Shutdown("first", exit_code=0))
    driver.tell(ev.Shutdown("second", exit_code=9))
    assert sorted(driver.asked(act.ClearTree)) == ["db.1", "web.1"]
    assert driver.told("shutdown") == ["second: everything is killed"]
    driver.tell(ev.Shutdown("third"))
    assert driver.actions == []
    driver.exits("db.1", None, signal=9)
    driver.exits("web.1", None, signal=9)
    assert driver.exit_codes() == [0]


def test_an_end_with_nothing_running_is_at_once():
    driver = Driver(program())
    driver.tell(ev.Shutdown("bye", exit_code=0))
    assert driver.exit_codes() == [0]


def test_nothing_is_started_while_everything_ends():
    driver = Driver(program(replicas=2), rate=1)
    driver.tell(ev.Start(("web.1", "web.2")))
    driver.spawned("web.1")
    driver.tell(ev.Shutdown("bye"))
    for wish in (ev.Start(("web.2",)), ev.Restart(("web.1",)), ev.Scale("web", 4), ev.Roll(("web.1",))):
        driver.tell(wish)
        assert driver.asked(act.Spawn) == []
    assert driver.wait(15.0)  # the KILL of what was asked to end
    assert driver.asked(act.Spawn) == []
    driver.exits("web.1", None, signal=15)
    assert driver.exit_codes() == [0]


def test_what_waits_for_a_failed_first_start_is_settled_too():
    driver = Driver(
        program("db", ready=Ready(notify=True), restart=Restart(delay=5.0, jitter=0.0)),
        program("web", depends_on={"db": Dependency(condition="ready")}),
        program("top", depends_on={"web": Dependency(condition="ready")}),
    )
    driver.tell(ev.Start(("db.1", "web.1", "top.1"), by="me"))
    driver.spawned("db.1")
    assert not driver.core.settled(), "db may yet become ready"
    driver.exits("db.1")
    assert driver.core.settled()
    assert [driver.core.is_settled(driver[name]) for name in ("db.1", "web.1", "top.1")] == [True] * 3
    driver.tell(ev.Start(("db.1", "web.1"), by="me"))
    assert not driver.core.settled(), "somebody asked again: the next outcome is waited for"
    driver.spawned("db.1")
    driver.tell(ev.Notified("db.1", ready=True))
    assert driver.state("web.1") is State.STARTING
    driver.spawned("web.1")
    driver.spawned("top.1")
    assert driver.core.settled()
