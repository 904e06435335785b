"""Bugs planted on purpose: the simulation must notice each within a few histories."""

import random
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hasup.core import ending, fates, hooks, limits, replica, restart, rolling, roster, scaling, schedule, signs, wishes
from hasup.core.deadlines import Deadlines
from hasup.core.plan import Plan
from hasup.core.rate import Rate
from hasup.core.roster import Roster
from hasup.core.step import Step
from hasup.core.supervisor import Supervisor
from hasup.core.turn import Turn
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Autoscale
from hasup.model.state import State
from tests.simulation import world
from tests.simulation.guardian import Broken
from tests.simulation.world import World

MOST = 4_000  # histories
Patch = pytest.MonkeyPatch


def entering(patch: Patch, state: State, **lost: object) -> None:
    """Whoever enters ``state`` gets these instead."""
    enter = Step.enter

    def forgetful(self: Step, to: State, reason: str, **rest: object) -> None:
        enter(self, to, reason, **(rest | lost if to is state else rest))

    patch.setattr(Step, "enter", forgetful)


def wrap(patch: Patch, place: object, name: str, around: Callable[..., object]) -> None:
    """Replace a function by one that is handed the old one first."""
    old = getattr(place, name)
    patch.setattr(place, name, lambda *args, **named: around(old, *args, **named))


def no_timer_in_backoff(patch):
    entering(patch, State.BACKOFF, deadline=None)


def no_timer_while_aborting(patch):
    entering(patch, State.ABORTING, deadline=None)


def no_kill_after_a_stop(patch):
    entering(patch, State.STOPPING, deadline=None)


def a_short_life_resets_the_budget(patch):
    wrap(patch, restart, "decide", lambda decide, program, **known: decide(program, **(known | {"history": ()})))


def a_short_life_resets_the_delay(patch):
    wrap(patch, restart, "decide", lambda decide, program, **known: decide(program, **(known | {"ready_for": 1e9})))


def delays_without_bound(patch):
    wrap(patch, restart, "delay", lambda delay, rule, failures, chance: 10 * delay(rule, failures, chance))


def spawned_twice(patch):
    def twice(spawn, step, why):
        spawn(step, why)
        step.act(act.Spawn(step.replica.name, step.replica.generation))

    wrap(patch, Step, "spawn", twice)


def spawned_before_the_tree_is_empty(patch):
    wrap(patch, replica, "exited", lambda exited, step, event: exited(step, replace(event, empty=True)))


def stop_in_backoff_is_ignored(patch):
    def deaf(stop, step, why, **how):
        if step.replica.state is not State.BACKOFF:
            stop(step, why, **how)

    wrap(patch, wishes, "stop", deaf)


def start_while_stopping_is_ignored(patch):
    def deaf(start, step, by, **how):
        if step.replica.state is not State.STOPPING:
            start(step, by, **how)

    wrap(patch, wishes, "start", deaf)


def old_exits_are_believed(patch):
    wrap(
        patch, replica, "exited",
        lambda exited, step, event: exited(step, replace(event, generation=step.replica.generation)),
    )  # fmt: skip


def old_emptiness_is_believed(patch):
    def credulous(emptied, step, event):
        if step.replica.pid is None and not step.replica.spawning:
            event = replace(event, generation=step.replica.generation)
        emptied(step, event)

    wrap(patch, replica, "emptied", credulous)


def failed_spawns_are_forgotten(patch):
    patch.setattr(replica, "spawn_failed", lambda step, event: None)


def dependants_are_never_looked_at(patch):
    patch.setattr(Plan, "dependants", lambda self, name: [])


def dependencies_do_not_matter(patch):
    patch.setattr(Plan, "may_stop", lambda self, program, at_rest: True)


def groups_start_one_by_one(patch):
    patch.setattr(Roster, "together", lambda self, known: None)


def the_rate_is_ignored(patch):
    patch.setattr(Rate, "turn", lambda self, now: now)


def the_turn_never_comes(patch):
    patch.setattr(Rate, "turn", lambda self, now: now + 1e9)


def a_new_core_forgets_the_wish(patch):
    wrap(patch, Roster, "put", lambda put, self, after: put(self, after))
    wrap(
        patch, Roster, "_adopt",
        lambda adopt, self, replicas: adopt(self, [replace(known, wanted=False) for known in replicas]),
    )  # fmt: skip


def a_new_core_forgets_the_timers(patch):
    wrap(
        patch, Roster, "_adopt",
        lambda adopt, self, replicas: adopt(self, [replace(known, deadline=None) for known in replicas]),
    )  # fmt: skip


def a_change_is_not_saved(patch):
    def forgetful(put, self, after):
        before = self.replicas.get(after.name)
        put(self, after)
        if before is not None and before.state is after.state:
            self._dirty.pop(after.name, None)

    wrap(patch, Roster, "put", forgetful)


def the_exit_code_is_lost(patch):
    wrap(
        patch,
        ending.Ending,
        "begin",
        lambda begin, self, turn, reason, code, **rest: begin(self, turn, reason, 0, **rest),
    )


def hasup_ends_too_early(patch):
    patch.setattr(Roster, "all_at_rest", lambda self: not any(r.pid for r in self.replicas.values()))


def no_reason(patch):
    wrap(patch, Step, "tell", lambda tell, self, event, reason, old=None, **rest: tell(self, event, "", old, **rest))


def a_change_is_not_told(patch):
    def silent(tell, self, event, reason, old=None, **rest):
        if self.replica.state is not State.COMPLETED:
            tell(self, event, reason, old, **rest)

    wrap(patch, Step, "tell", silent)


def no_heartbeat_is_awaited(patch):
    patch.setattr(replica, "next_beat", lambda step: None)


def no_grace_after_a_stall(patch):
    patch.setattr(replica, "grace", lambda step, seconds: None)


def groups_take_nobody_along(patch):
    patch.setattr(fates, "failed", lambda turn, slot: None)


def surplus_stays(patch):
    patch.setattr(fates, "_remove_surplus", lambda turn, name: None)


def a_deadline_that_moved_to_earlier_is_missed(patch):
    def late(moved, self, slot, due):
        if slot not in self._known:
            moved(self, slot, due)

    wrap(patch, Deadlines, "moved", late)


def limits_are_not_looked_at(patch):
    patch.setattr(limits, "evaluate", lambda table, since, sample, age, now: ({}, []))


def a_hang_is_not_ended(patch):
    def gentle(abort, step, result, detail):
        step.set(heartbeat_due=None)

    wrap(patch, replica, "abort", gentle)
    patch.setattr(signs, "abort", replica.abort)


def stops_are_not_obeyed_after_a_hang(patch):
    def deaf(stop, step, why, **how):
        stop(step, why, **how)
        if step.replica.state is State.ABORTING:
            step.set(wanted=True)

    wrap(patch, wishes, "stop", deaf)


def hooks_gate_nothing(patch):
    def both(go_on, step, hook):
        go_on(step, hook)
        if hook is not None:
            step.act(act.Spawn(step.replica.name, step.replica.generation))

    wrap(patch, Step, "_go_on", both)


def hooks_that_fail_are_taken_for_success(patch):
    wrap(patch, replica, "hook_ended", lambda ended, step, event: ended(step, replace(event, exit_code=0)))


def old_hooks_are_believed(patch):
    wrap(
        patch, replica, "hook_ended",
        lambda ended, step, event: ended(step, replace(event, generation=step.replica.generation)),
    )  # fmt: skip


def hooks_have_no_timer(patch):
    def forever(go_on, step, hook):
        go_on(step, hook)
        if hook is not None:
            step.set(deadline=None)

    wrap(patch, Step, "_go_on", forever)


def a_stop_leaves_the_hook_alone(patch):
    def deaf(clear, step, grace_s=0.0):
        if step.replica.hook is None:
            clear(step, grace_s)

    wrap(patch, Step, "clear", deaf)


def nobody_recovers(patch):
    patch.setattr(hooks, "first_gate", lambda program, known: hooks.next_gate(program, "before_restart"))


def runs_overlap(patch):
    def eager(due, step):
        idle = schedule.idles(step.replica)
        due(step)
        if not idle and step.replica.state is State.RUNNING:
            step.set(state=State.WAITING, deadline=None)

    wrap(patch, schedule, "_due", eager)


def the_schedule_is_forgotten_after_a_run(patch):
    patch.setattr(schedule, "go_on", lambda step: None)


def the_wall_clock_is_not_looked_at(patch):
    patch.setattr(schedule, "clock_set", lambda step: None)


def what_was_missed_is_made_up_for(patch):
    patch.setattr(schedule, "LATE_S", 1e9)


def runs_at_any_time(patch):
    patch.setattr(schedule, "idles", lambda known: False)


def events_are_lost(patch):
    def lossy(handle, self, event, now):
        return [] if isinstance(event, ev.Emptied) else handle(self, event, now)

    wrap(patch, Supervisor, "handle", lossy)


def many_reloads(patch: Patch) -> None:
    """Some bugs show in reloads only, and of few programs: let there be more of them."""
    weights = zip(world._DEEDS, world._WEIGHTS, strict=True)
    patch.setattr(
        world, "_WEIGHTS", [20 if deed in (World._roll, World._reload) else weight for deed, weight in weights]
    )


def too_many_are_replaced_at_once(patch):
    many_reloads(patch)
    patch.setattr(rolling, "unavailable", lambda plan, look: -9)


def going_back_ends_what_was_never_replaced(patch):
    many_reloads(patch)

    def back(turned_back, plan, rejected, slots):
        return turned_back(plan, rejected, slots)[0], dict.fromkeys(slots, 0)

    wrap(patch, rolling, "turned_back", back)


def the_old_configuration_is_forgotten(patch):
    many_reloads(patch)
    patch.setattr(roster, "other", lambda plan, known, generation: None)


def a_new_core_forgets_a_reload(patch):
    many_reloads(patch)

    def forgetful(load, self, blobs):
        load(self, blobs)
        self.own.rolling.clear()

    wrap(patch, Roster, "load", forgetful)


def a_reload_does_not_get_on(patch):
    def stuck(progress, known, generation):
        found = progress(known, generation)
        return "wait" if found == "done" else found

    wrap(patch, rolling, "progress", stuck)


def a_load_goes_beyond_the_bounds(patch):
    wrap(patch, Autoscale, "bounded", lambda _bounded, _self, count: count)


def a_load_moves_what_is_held(patch):
    def measured(old: Callable[..., object], turn: Turn, event: ev.LoadMeasured) -> None:
        own = turn.roster.own
        held, own.scale = own.scale, {}
        old(turn, event)
        own.scale = held

    wrap(patch, scaling, "measured", measured)


def a_new_core_forgets_the_load(patch):
    wrap(patch, Roster, "number", lambda number, self, program, _current: number(self, program, program.replicas))


PLANTED = [
    no_timer_in_backoff, no_timer_while_aborting, no_kill_after_a_stop, a_short_life_resets_the_budget,
    a_short_life_resets_the_delay, delays_without_bound, spawned_twice, spawned_before_the_tree_is_empty,
    stop_in_backoff_is_ignored, start_while_stopping_is_ignored, old_exits_are_believed, old_emptiness_is_believed,
    failed_spawns_are_forgotten, dependants_are_never_looked_at, dependencies_do_not_matter, the_rate_is_ignored,
    the_turn_never_comes, a_new_core_forgets_the_wish, a_new_core_forgets_the_timers, a_change_is_not_saved,
    the_exit_code_is_lost, hasup_ends_too_early, no_reason, a_change_is_not_told, no_heartbeat_is_awaited,
    no_grace_after_a_stall, groups_take_nobody_along,
    groups_start_one_by_one, surplus_stays, a_deadline_that_moved_to_earlier_is_missed,
    limits_are_not_looked_at, a_hang_is_not_ended, stops_are_not_obeyed_after_a_hang, events_are_lost,
    hooks_gate_nothing, hooks_that_fail_are_taken_for_success, old_hooks_are_believed, hooks_have_no_timer,
    a_stop_leaves_the_hook_alone, nobody_recovers, too_many_are_replaced_at_once,
    going_back_ends_what_was_never_replaced, the_old_configuration_is_forgotten,
    a_new_core_forgets_a_reload, a_reload_does_not_get_on, runs_overlap, the_schedule_is_forgotten_after_a_run,
    the_wall_clock_is_not_looked_at, what_was_missed_is_made_up_for, runs_at_any_time, a_load_goes_beyond_the_bounds,
    a_load_moves_what_is_held, a_new_core_forgets_the_load,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant, monkeypatch):
    plant(monkeypatch)
    began = time.monotonic()
    for seed in range(MOST):
        try:
            World(random.Random(seed)).run()
        except (Broken, AssertionError) as error:
            print(f"\n{plant.__name__}: history {seed + 1}, {time.monotonic() - began:.2f} s: {error}")
            return
    pytest.fail(f"nobody noticed within {MOST} histories")
