"""Whether a replica that ended is started again, and when."""

import pytest
from msgspec.structs import replace

from hasup.core.restart import Verdict, decide, delay, jitter
from hasup.model.spec import Program, Restart

NOW = 1000.0


def verdict(
    rule: Restart, *, kind="service", succeeded=False, failures=0, history=(), ready_for=0.0, chance=0.0
) -> Verdict:
    program = Program(name="web", command=("x",), kind=kind, restart=rule)
    return decide(
        program, succeeded=succeeded, failures=failures, history=history, ready_for=ready_for, now=NOW, chance=chance
    )


@pytest.mark.parametrize(
    ("policy", "kind", "succeeded", "again"),
    [
        (None, "service", True, True),
        (None, "service", False, True),
        (None, "task", True, False),
        (None, "task", False, True),
        ("always", "task", True, True),
        ("on-failure", "service", True, False),
        ("on-failure", "service", False, True),
        ("never", "service", False, False),
        ("never", "service", True, False),
    ],
)
def test_the_policy_decides(policy, kind, succeeded, again):
    found = verdict(Restart(policy=policy), kind=kind, succeeded=succeeded)
    assert (found.delay is not None) == again
    assert found.gave_up is None
    assert ("restart policy" in found.reason) == (not again)


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [(1, 0.0, 0.1), (2, 0.0, 0.2), (5, 0.0, 1.6), (10, 0.0, 51.2), (11, 0.0, 60.0), (11, 1.0, 72.0), (1, 0.5, 0.11)],
)
def test_the_delay_grows_up_to_its_most(failures, chance, seconds):
    assert delay(Restart(), failures, chance) == pytest.approx(seconds)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 10.0, 1e9])
@pytest.mark.parametrize("failures", [1, 2, 1025, 10**9])
def test_a_program_that_has_failed_for_years_is_no_fault_of_ours(factor, failures):
    rule = Restart(factor=factor)
    least = rule.delay if factor == 1 or failures == 1 else min(rule.max_delay, rule.delay * factor)
    assert least - 1e-9 <= delay(rule, failures, 0.0) <= rule.max_delay


def test_no_delay_stays_none_and_a_most_below_the_first_holds():
    assert delay(Restart(delay=0.0), 10**6, 0.9) == 0.0
    assert delay(Restart(delay=5.0, max_delay=1.0, jitter=0.0), 1, 0.0) == 1.0
    assert delay(Restart(delay=5.0, max_delay=0.0), 3, 0.0) == 0.0


def test_failures_in_a_row_count_until_it_was_ready_for_long():
    rule = Restart(reset_after=60)
    assert verdict(rule, failures=3, ready_for=59.9).failures == 4
    assert verdict(rule, failures=3, ready_for=60).failures == 1


@pytest.mark.parametrize(
    ("on_limit", "delay_s", "gave_up"), [("fail", None, "fail"), ("shutdown", None, "shutdown"), ("retry", 60.0, None)]
)
def test_the_limit_is_a_sliding_window(on_limit, delay_s, gave_up):
    rule = Restart(limit=2, window=10.0, on_limit=on_limit, jitter=0.0)
    assert verdict(rule, history=(NOW - 10, NOW - 1)).delay == pytest.approx(0.1), "the first one is out of the window"
    found = verdict(rule, history=(NOW - 9.9, NOW - 1))
    assert (found.delay, found.gave_up) == (delay_s, gave_up)
    assert "2 restarts within 10 s, the limit is 2" in found.reason


def test_a_long_readiness_gives_no_new_budget():
    rule = Restart(limit=1, window=600.0, on_limit="fail", reset_after=1.0)
    assert verdict(rule, history=(NOW - 500,), ready_for=499).gave_up == "fail"


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 1), (3, 3)])
def test_no_more_history_is_kept_than_is_needed(limit, kept):
    rule = Restart(limit=limit, window=1e9, on_limit="retry")
    history: tuple[float, ...] = ()
    for _ in range(50):
        history = verdict(rule, history=history).history
    assert len(history) == kept


def test_the_jitter_differs_from_replica_to_replica_and_is_replayed():
    drawn = [jitter(7, f"web.{i}", generation) for i in range(1, 20) for generation in range(3)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= chance < 1 for chance in drawn)
    assert drawn[0] == jitter(7, "web.1", 0) != jitter(8, "web.1", 0)


def test_the_reason_says_when():
    rule = Restart(jitter=0.0)
    assert verdict(replace(rule, delay=0.0)).reason == "restart at once"
    assert verdict(rule).reason == "restart in 0.1 s"
    assert verdict(replace(rule, delay=300.0, max_delay=300.0)).reason == "restart in 300 s"
