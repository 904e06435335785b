"""A core that takes over from one that was killed."""

import json

import msgspec
import pytest

from hasup.core import Supervisor
from hasup.core.restore import decode
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Dependency, Group, Health, Heartbeat, Ready, Reload, Restart, Stop
from hasup.model.state import LastRun, Replica, Result, State
from tests.unit.core.driver import Driver, EveryHour, program


def busy() -> Driver:
    """A bit of everything."""
    driver = Driver(
        program("run", heartbeat=Heartbeat(timeout=2.0)),
        program("wait", depends_on={"start": Dependency()}),
        program("start", ready=Ready(notify=True, timeout=5.0)),
        program("back", restart=Restart(delay=9.0, jitter=0.0)),
        program("stop", stop=Stop(timeout=4.0)),
        program("hang", heartbeat=Heartbeat(timeout=2.0)),
        program("done", kind="task"),
        program("gone", restart=Restart(policy="never")),
        program("off"),
    )
    driver.up(*(f"{name}.1" for name in driver.config.programs if name != "off"))
    driver.exits("back.1")
    driver.exits("done.1", 0)
    driver.exits("gone.1")
    driver.tell(ev.Stop(("stop.1",)))
    driver.tell(ev.Notified("hang.1", watchdog_trigger=True))
    return driver


def test_it_knows_what_the_one_before_knew():
    driver = busy()
    assert set(driver.states().values()) == {str(state) for state in State}
    before = dict(driver.core.replicas)
    driver.now += 1.0
    driver.new_core()
    after = dict(driver.core.replicas)
    assert after.pop("run.1").heartbeat_due == driver.now + 2.0
    before.pop("run.1")
    assert after.pop("start.1").deadline == driver.now + 5.0
    before.pop("start.1")
    assert after == before


def test_it_goes_on_as_the_one_before_would_have():
    driver = busy()
    driver.new_core()
    driver.wait(4.0)
    assert "stop.1" in driver.asked(act.ClearTree)
    driver.wait(5.0)
    assert "back.1" in driver.asked(act.Spawn)


def test_what_is_told_again_is_known_already():
    driver = busy()
    driver.new_core()
    for slot in ("run.1", "start.1", "stop.1", "hang.1"):
        assert driver.tell(ev.Spawned(slot, 1, 1000)) == []
    for slot, code in (("back.1", 1), ("done.1", 0), ("gone.1", 1)):
        assert driver.tell(ev.Spawned(slot, 1, 1000)) == []
        assert driver.tell(ev.Exited(slot, 1, exit_code=code)) == []
        assert driver.tell(ev.Emptied(slot, 1)) == []


def test_an_end_that_nobody_heard_of_is_told_to_the_next_one():
    driver = Driver(program(restart=Restart(jitter=0.0, delay=1.0))).up()
    driver.new_core()
    driver.exits("web.1", 3)
    assert driver["web.1"].reason == "exited with code 3; restart in 1.0 s"


def test_the_budget_survives():
    driver = Driver(program(restart=Restart(limit=2, on_limit="fail", delay=0.0))).up()
    for _ in range(2):
        driver.exits("web.1")
        driver.new_core()
        driver.spawned("web.1")
    driver.exits("web.1")
    assert driver.state("web.1") is State.FAILED


def test_probes_that_failed_before_are_not_held_against_it():
    driver = Driver(program(health=Health(tcp="x:1", failures=2))).up()
    driver.tell(ev.ProbeResult("web.1", 1, "health", False))
    driver.new_core()
    driver.tell(ev.ProbeResult("web.1", 1, "health", False))
    assert driver.state("web.1") is State.RUNNING


def test_what_was_scaled_stays_so():
    driver = Driver(program("web", replicas=3), program("db")).up()
    driver.tell(ev.Scale("web", 1))
    driver.tell(ev.Scale("db", 2))
    driver.new_core()
    assert driver.states() == {
        "web.1": "running", "db.1": "running", "db.2": "starting", "web.2": "stopping", "web.3": "stopping",
    }  # fmt: skip
    for slot in ("web.2", "web.3"):
        driver.exits(slot, 0)
    assert "web.2" not in driver.core.replicas
    driver.new_core()
    assert "web.2" not in driver.core.replicas


def test_a_program_that_is_not_configured_any_more_is_left_out():
    driver = Driver(program("web"), program("db")).up()
    driver.config = Driver(program("web")).config
    driver.new_core()
    assert set(driver.core.replicas) == {"web.1"}


# --- frames of which only a part arrived ------------------------------------------------------------------------------
def torn(driver: Driver, event: ev.Event, *arrived: str) -> None:
    """A core dies as only these parts of a frame have been sent; another one follows."""
    kept = dict(driver.blobs)
    driver.tell(event)
    driver.new_core(kept | {slot: driver.blobs[slot] for slot in arrived})
    driver.wait(0.0)


def test_an_end_that_was_begun_is_carried_on():
    driver = Driver(program("a"), program("b", restart=Restart(delay=5.0))).up()
    driver.exits("b.1")
    torn(driver, ev.Shutdown("bye", exit_code=4), "")
    assert driver.states() == {"a.1": "stopping", "b.1": "stopped"}
    assert not any(r.wanted for r in driver.core.replicas.values())
    driver.exits("a.1", 0)
    assert driver.exit_codes() == [4]


def test_a_kill_that_was_begun_is_carried_on():
    driver = Driver(program("a"), program("b")).up()
    torn(driver, ev.Shutdown("bye", now=True), "", "a.1")
    assert "b.1" in driver.asked(act.ClearTree)


def test_what_was_scaled_away_is_stopped():
    driver = Driver(program(replicas=3)).up()
    torn(driver, ev.Scale("web", 1), "", "web.3")
    assert driver.states() == {"web.1": "running", "web.2": "stopping", "web.3": "stopping"}


def test_what_waited_for_what_is_there_by_now_starts():
    driver = Driver(program("db", ready=Ready(notify=True)), program(depends_on={"db": Dependency()})).up()
    torn(driver, ev.Notified("db.1", ready=True), "db.1")
    assert driver.asked(act.Spawn) == ["web.1"]


def test_a_roll_goes_on():
    driver = Driver(program(replicas=2, reload=Reload(max_unavailable=1))).up()
    torn(driver, ev.Roll(("web.1", "web.2")), "")
    assert driver.states() == {"web.1": "stopping", "web.2": "running"}
    assert driver.core.is_rolling(["web"])


# --- text -------------------------------------------------------------------------------------------------------------
FULL = Replica(
    name="web.1", program="web", index=1, state=State.RUNNING, reason="up", wanted=True, generation=3, pid=7,
    last=LastRun(Result.SIGNAL, signal="SIGKILL"), over_since={"cpu": 1.5}, history=(1.0, 2.0),
)  # fmt: skip


def test_what_another_version_wrote_costs_no_more_than_it_must():
    written = msgspec.json.decode(msgspec.json.encode(FULL))
    assert decode(json.dumps(written), Replica) == FULL
    assert decode(json.dumps(written | {"tomorrow": 1}), Replica) == FULL
    known = decode(json.dumps(written | {"last": {"result": "bored"}}), Replica)
    assert (known.last, known.pid, known.state) == (None, 7, State.RUNNING)


def test_a_state_that_cannot_be_read_is_cleared_and_started_again():
    driver = Driver(program()).up()
    written = json.loads(driver.blobs["web.1"]) | {"state": "dreaming"}
    driver.new_core({"": driver.blobs[""], "web.1": json.dumps(written)})
    driver.wait(0.0)
    assert driver.asked(act.ClearTree) == ["web.1"]
    driver.emptied("web.1")
    assert driver.asked(act.Spawn) == ["web.1"]
    assert driver["web.1"].generation == 2


def test_blobs_stay_small_however_long_it_crashes():
    rule = Restart(delay=0.0, limit=3, on_limit="retry", window=1e9, max_delay=0.0)
    groups = (Group(name="g", programs=("web",), limit=3, on_limit="retry"),)
    driver = Driver(program(restart=rule), groups=groups, rate=10**6).up()
    for _ in range(500):
        driver.exits("web.1")
        driver.wait(0.0)
        driver.spawned("web.1")
    assert driver["web.1"].restarts == 500
    assert max(map(len, driver.blobs.values())) < 1000


@pytest.mark.parametrize("seed", [1, 2])
def test_the_jitter_hangs_on_the_seed_alone(seed):
    def deadline() -> float | None:
        core = Supervisor(Driver(program()).config, seed=seed, calendar=EveryHour())
        core.handle(ev.Start(("web.1",)), 0.0)
        core.handle(ev.SpawnFailed("web.1", 1, "x"), 0.0)
        return core.next_deadline()

    assert deadline() == deadline()
    assert 0.1 <= (deadline() or 0) <= 0.12
