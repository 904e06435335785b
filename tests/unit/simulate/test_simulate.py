"""The formula, the simulated world, and whether they agree."""

import math
import random
from pathlib import Path

import pytest

from hasup.core import availability
from hasup.model.spec import Config, Health, Heartbeat, Program, Ready, Restart, SupervisorOptions
from hasup.simulate import closed
from hasup.simulate.assumptions import Assumption, Given, assume, assume_all
from hasup.simulate.expect import BATCHES, YEAR_S, expect, interval
from hasup.simulate.tally import Tally


def config(*programs: Program) -> Config:
    own = SupervisorOptions(name="shop", state_dir="/tmp/none")
    return Config(file="/none/hasup.toml", supervisor=own, programs={program.name: program for program in programs})


def service(name: str = "web", **options: object) -> Program:
    return Program(name=name, command=("true",), **options)


STEADY = Restart(delay=2.0, factor=1.0, max_delay=2.0, jitter=0.0)


# --- ten years of one replica against the closed formula ------------------------------------------------------------
@pytest.mark.parametrize(
    ("program", "assumed"),
    [
        (service(restart=STEADY), Assumption(mtbf_s=3600.0, start_s=3.0)),
        (service(), Assumption(mtbf_s=3600.0, start_s=0.0)),
        (service(), Assumption(mtbf_s=30.0, start_s=1.0)),  # the delay grows and begins anew
        (service(restart=Restart(reset_after=3600.0, max_delay=5.0)), Assumption(mtbf_s=60.0, start_s=1.0)),
        (
            service(heartbeat=Heartbeat(timeout=20.0)),
            Assumption(
                mtbf_s=3600.0, start_s=2.0, hangs=0.5, detect_low=10.0, detect_high=20.0, noticed_by="heartbeat.timeout"
            ),
        ),
    ],
)
def test_one_replica_spends_its_time_as_the_formula_says(program, assumed):
    """Up, detecting, backing off, starting: a Markov renewal process, ten years or 20,000 events of it."""
    found = expect(config(program), {"web": assumed}, seconds=10 * YEAR_S, most_events=20_000, seed=7)
    [web] = found["programs"]
    formula, simulated = web["formula"], web["simulated"]
    width = simulated["high"] - simulated["low"]
    assert 0 < width < 0.3 * (1 - formula)
    assert abs(simulated["value"] - formula) < 1.5 * width  # 90% is half a width: this is beyond five sigma


def test_replicas_and_programs_agree_with_the_formula():
    shop = config(
        service("db", restart=STEADY), service("web", replicas=3, need=2, restart=STEADY, depends_on={})
    )  # fmt: skip
    assumed = {"db": Assumption(mtbf_s=1000.0, start_s=8.0), "web": Assumption(mtbf_s=200.0, start_s=18.0)}
    found = expect(shop, assumed, seconds=YEAR_S, most_events=40_000, seed=3)
    one = 200 / 220
    web = next(program for program in found["programs"] if program["name"] == "web")
    assert web["formula"] == pytest.approx(one**3 + 3 * one**2 * (1 - one))
    assert found["system"]["formula"] == pytest.approx(web["formula"] * 1000 / 1010)
    for figures in (web, found["system"]):
        width = figures["simulated"]["high"] - figures["simulated"]["low"]
        assert abs(figures["simulated"]["value"] - figures["formula"]) < 1.5 * width


def test_the_same_seed_gives_the_same_world():
    def run(seed: int) -> dict:
        return expect(config(service()), {"web": Assumption(mtbf_s=60.0)}, seconds=1e6, most_events=2000, seed=seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_what_costs_most():
    assumed = assume(service(heartbeat=Heartbeat(timeout=40.0)), Given(mtbf_s=3600.0, start_s=1.0, hangs=1.0))
    found = expect(config(service()), {"web": assumed}, seconds=YEAR_S, most_events=4_000)
    costs = {one["setting"]: one["share"] for one in found["programs"][0]["costs"]}
    assert max(costs, key=costs.__getitem__) == "heartbeat.timeout"
    assert costs["heartbeat.timeout"] == pytest.approx(30 / 31.11, abs=0.02)
    assert sum(costs.values()) == pytest.approx(1.0)


def test_a_hang_that_nobody_notices_lasts_for_ever():
    assumed = assume(service(), Given(mtbf_s=3600.0, hangs=1.0))
    found = expect(config(service()), {"web": assumed}, seconds=YEAR_S, most_events=1_000)
    [web] = found["programs"]
    assert web["formula"] == 0.0
    assert web["simulated"]["value"] < 0.1
    assert web["assumed"]["detect_s"] is None
    assert web["repair_s"]["detect"] is None


def test_a_limit_that_gives_up_is_seen_by_the_simulation_only():
    rule = Restart(delay=0.1, limit=1, window=1e9, on_limit="fail")
    program = service(restart=rule)
    found = expect(config(program), {"web": Assumption(mtbf_s=100.0)}, seconds=YEAR_S, most_events=1_000)
    [web] = found["programs"]
    assert web["formula"] > 0.9 > 0.1 > web["simulated"]["value"]
    assert web["costs"][0]["setting"] == "given up"


def test_a_task_before_a_service_is_run_once():
    migrate = Program(name="migrate", command=("true",), kind="task")
    shop = config(migrate, service(depends_on={}))
    found = expect(shop, assume_all(shop, {}), seconds=YEAR_S, most_events=1_000)
    assert [program["name"] for program in found["programs"]] == ["web"]


# --- the formula ----------------------------------------------------------------------------------------------------
def test_the_mean_delay_without_growth_or_with_long_lives_is_the_first():
    assert closed.mean_delay(service(restart=STEADY), Assumption(mtbf_s=10.0)) == pytest.approx(2.0)
    rule = Restart(delay=1.0, jitter=0.2, reset_after=1.0)
    assert closed.mean_delay(service(restart=rule), Assumption(mtbf_s=1e9)) == pytest.approx(1.1)
    assert closed.mean_delay(service(restart=Restart(delay=0.0)), Assumption(mtbf_s=10.0)) == 0.0


def test_the_mean_delay_of_what_never_lives_long_is_the_cap():
    rule = Restart(delay=1.0, max_delay=60.0, jitter=0.2, reset_after=1e6)
    assert closed.mean_delay(service(restart=rule), Assumption(mtbf_s=1.0)) == pytest.approx(66.0)


def test_the_mean_delay_is_the_series():
    rule = Restart(delay=1.0, factor=2.0, max_delay=1e9, jitter=0.0, reset_after=10.0)
    p = math.exp(-10.0 / 20.0)
    expected = sum(p * (1 - p) ** n * min(2.0**n, rule.max_delay) for n in range(200))
    assert closed.mean_delay(service(restart=rule), Assumption(mtbf_s=20.0)) == pytest.approx(expected, rel=1e-6)


def test_a_hang_that_is_noticed_late_lets_the_delay_begin_anew():
    """As it is reckoned by lives drawn at random; and as the real decisions have it."""
    assumed = Assumption(mtbf_s=8.0, start_s=0.5, hangs=0.5, detect_low=1.0, detect_high=2.0)
    chance = random.Random(3)
    for reset_after in (0.5, 1.5, 8.0):
        lives = (
            chance.expovariate(1 / 8.0) + (chance.uniform(1.0, 2.0) if chance.random() < 0.5 else 0.0)
            for _ in range(50_000)
        )
        share = sum(life >= reset_after for life in lives) / 50_000
        assert closed.begins_anew(reset_after, assumed) == pytest.approx(share, abs=0.01)
    late = assumed._replace(detect_low=3.0, detect_high=3.0, hangs=1.0)
    assert closed.begins_anew(8.0, late) == pytest.approx(math.exp(-5 / 8))
    assert closed.begins_anew(2.0, late) == 1.0
    rule = Restart(delay=0.5, factor=2.0, max_delay=4.0, jitter=0.2, reset_after=8.0)
    watched = service(restart=rule, heartbeat=Heartbeat(timeout=2.0))
    assumed = assume(watched, Given(mtbf_s=8.0, start_s=0.5, hangs=0.5))
    [web] = expect(config(watched), {"web": assumed}, seconds=YEAR_S, most_events=100_000)["programs"]
    assert web["formula"] == pytest.approx(web["simulated"]["value"], abs=0.006)


# --- assumptions ----------------------------------------------------------------------------------------------------
def test_what_notices_a_hang_first():
    health = Health(tcp="127.0.0.1:1", interval=5.0, timeout=2.0, failures=3)
    both = service(heartbeat=Heartbeat(timeout=10.0), health=health)
    assert assume(both, Given())[3:6] == (5.0, 10.0, "heartbeat.timeout")
    assert assume(service(health=health), Given())[3:6] == (12.0, 17.0, "health")
    assert assume(service(), Given()).hangs == 0.0


def test_what_is_given_comes_first():
    assumed = assume(service(ready=Ready(after=4.0)), Given(mtbf_s=5.0, hangs=0.3, measured=True))
    assert (assumed.mtbf_s, assumed.start_s, assumed.hangs) == (5.0, 4.0, 0.3)
    assert (assumed.measured, assumed.guessed) == (True, False)
    assert assume(service(), Given()).guessed


# --- figures --------------------------------------------------------------------------------------------------------
def test_the_interval_of_batch_means():
    batches = [0.9, 0.8] * (BATCHES // 2)
    found = interval(batches)
    assert found.value == pytest.approx(0.85)
    half = 1.7291 * 0.05 * math.sqrt(BATCHES / (BATCHES - 1)) / math.sqrt(BATCHES)
    assert found.high - found.value == pytest.approx(half)
    assert interval([0.5])[1:] == (None, None)
    assert interval([1.0] * BATCHES) == (1.0, None, None)


def test_the_tally_counts_programs_the_whole_and_phases():
    tally = Tally({"web": 2, "db": 1})
    for slot, program in (("web.1", "web"), ("web.2", "web"), ("db.1", "db")):
        tally.change(0.0, slot, program, "")
    tally.begin(10.0)
    tally.change(20.0, "web.1", "web", "detect")
    tally.change(25.0, "web.1", "web", "start")
    tally.change(27.0, "db.1", "db", "start")
    tally.change(30.0, "web.1", "web", "")
    tally.change(31.0, "db.1", "db", "")
    tally.change(32.0, "other.1", "other", "start")
    tally.pass_time(40.0)
    assert tally.seconds == 30.0
    assert (tally.down["web"], tally.down["db"], tally.system_down) == (10.0, 4.0, 11.0)
    assert dict(tally.phases["web"]) == {"detect": 5.0, "start": 5.0}
    assert (tally.failures["web"], tally.failures["db"]) == (1, 1)


def test_the_wrong_formula_is_wrong():
    assert 1 / (1 - (1 - 0.9) * (1 - 0.9)) > 1
    assert availability.parallel([0.9, 0.9]) == pytest.approx(0.99)


def test_settings_on_the_command_line(tmp_path: Path):
    from hasup.config import ConfigError, load

    file = tmp_path / "hasup.toml"
    file.write_text('[defaults]\nnice = 3\n[programs.web]\ncommand = "true"\nheartbeat.timeout = "10s"\n')

    def loaded(*settings: str) -> Config:
        return load(file, {}, tmp_path, settings)

    web = loaded("programs.web.heartbeat.timeout=2s", "programs.web.replicas=4", "defaults.nice=5").programs["web"]
    assert web.heartbeat is not None
    assert (web.heartbeat.timeout, web.replicas, web.nice) == (2.0, 4, 5)
    assert loaded("programs.web.env={A='1'}").programs["web"].env == {"A": "1"}
    for setting, words in (
        (
            "programs.web.repicas=4",
            "command line: programs.web.repicas: there is no such option (did you mean replicas",
        ),
        ("nonsense", "command line: 'nonsense' is not of the form"),
        ("a b=1", "command line: 'a b=1' is not of the form"),
    ):
        with pytest.raises(ConfigError, match="command line") as caught:
            loaded(setting)
        assert words in str(caught.value)
