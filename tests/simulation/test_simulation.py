"""Thousands of histories of the decision core in a simulated world, and planted bugs to show that it would notice."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hasup.core import replica, restart, roster, step, wishes
from hasup.core.plan import Plan
from hasup.core.rate import Rate
from hasup.model.state import State
from tests.simulation.world import Broken, World

HISTORIES = 10_000


def run(seed: int) -> World:
    world = World(seed)
    try:
        world.run(25)
    except AssertionError as error:
        raise AssertionError(
            f"history {seed} at {world.now:.3f} s: {error!r}; replay it with World({seed}).run(25)"
        ) from error
    return world


@pytest.mark.timeout(400)
def test_ten_thousand_histories():
    events = sum(run(seed).events for seed in range(HISTORIES))
    print(f"\n{HISTORIES} histories, {events} events")
    assert events > 20 * HISTORIES


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(min_value=2**32, max_value=2**48))
def test_histories_that_hypothesis_draws(seed):
    run(seed)


def lose_the_timer(patch):
    enter = step.Step.enter

    def forgetful(self, state, reason, *, deadline=None, **rest):
        enter(self, state, reason, deadline=None if state is State.BACKOFF else deadline, **rest)

    patch.setattr(step.Step, "enter", forgetful)


def no_deadline_while_aborting(patch):
    enter = step.Step.enter

    def forgetful(self, state, reason, *, deadline=None, **rest):
        enter(self, state, reason, deadline=None if state is State.ABORTING else deadline, **rest)

    patch.setattr(step.Step, "enter", forgetful)


def forget_the_budget(patch):
    decide = restart.decide
    patch.setattr(restart, "decide", lambda program, **known: decide(program, **(known | {"history": ()})))


def ignore_stop_in_backoff(patch):
    stop = wishes.stop

    def deaf(one, why):
        if one.replica.state is not State.BACKOFF:
            stop(one, why)

    patch.setattr(wishes, "stop", deaf)


def believe_old_news(patch):
    exited = replica.exited

    def credulous(one, event):
        exited(one, type(event)(event.slot, one.replica.generation, exit_code=event.exit_code, empty=event.empty))

    patch.setattr(replica, "exited", credulous)


def spawn_before_it_is_empty(patch):
    ended = replica.exited

    def hasty(one, event):
        ended(
            one, type(event)(event.slot, event.generation, exit_code=event.exit_code, signal=event.signal, empty=True)
        )

    patch.setattr(replica, "exited", hasty)


def forget_failed_spawns(patch):
    patch.setattr(replica, "spawn_failed", lambda one, event: None)


def never_look_at_dependants(patch):
    patch.setattr(Plan, "dependants", lambda self, name: set())


def restore_forgets_the_wish(patch):
    adopt = roster.Roster._adopt
    patch.setattr(
        roster.Roster, "_adopt", lambda self, known: adopt(self, (roster.replace(r, wanted=False) for r in known))
    )


def no_reason(patch):
    tell = step.Step.tell
    patch.setattr(step.Step, "tell", lambda self, event, reason, old=None, **rest: tell(self, event, "", old, **rest))


def no_heartbeat_after_ready(patch):
    patch.setattr(replica, "next_beat", lambda one: None)


def a_stop_without_a_kill(patch):
    ask = wishes.ask_to_end

    def gentle(one, why, *rest):
        ask(one, why, *rest)
        one.set(deadline=None)

    patch.setattr(wishes, "ask_to_end", gentle)


def the_turn_never_comes(patch):
    patch.setattr(Rate, "turn", lambda self, now: now + 1e9)


PLANTED = [
    lose_the_timer, no_deadline_while_aborting, forget_the_budget, ignore_stop_in_backoff, believe_old_news,
    spawn_before_it_is_empty, forget_failed_spawns, never_look_at_dependants, restore_forgets_the_wish, no_reason,
    no_heartbeat_after_ready, a_stop_without_a_kill, the_turn_never_comes,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bugs_are_found(plant, monkeypatch):
    plant(monkeypatch)
    began = time.monotonic()
    for seed in range(2_000):
        try:
            World(seed).run(25)
        except (AssertionError, Broken) as error:
            print(f"\n{plant.__name__}: found in history {seed + 1}, {time.monotonic() - began:.2f} s: {error}")
            return
    pytest.fail("nobody noticed")


def test_a_seed_replays_the_same_history():
    assert run(5).events == run(5).events
