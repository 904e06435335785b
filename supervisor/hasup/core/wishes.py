"""What operators, groups and dependencies want of one replica."""

from hasup.core import schedule
from hasup.core.replica import ask_to_end, for_good, gave_up, is_clear
from hasup.core.step import Step, restarted
from hasup.core.turn import Turn
from hasup.model.state import AT_REST, Result, State

_S = State


def start(step: Step, by: str, *, at_once: bool = False) -> None:
    """Want it. What waits for a delay starts at once; what has a schedule waits for that, unless ``at_once``."""
    replica = step.replica
    if step.ending:
        return
    if step.program.schedule is not None and not at_once and (replica.state in AT_REST or schedule.idles(replica)):
        _await_schedule(step)
        return
    if replica.state in AT_REST or replica.state in (_S.BACKOFF, _S.WAITING):
        _begin(step, f"started by {by}")
    elif replica.state is _S.STOPPING or (replica.state is _S.ABORTING and not replica.wanted):
        step.set(wanted=True, then_start=True, settled=False)
    elif replica.state is _S.STARTING:
        step.set(wanted=True, settled=False)
    else:
        step.set(wanted=True)


def _await_schedule(step: Step) -> None:
    step.set(wanted=True)
    if step.replica.state in AT_REST:
        step.set(history=())
        schedule.arm(step)


def _begin(step: Step, why: str) -> None:
    """What is at rest begins anew, with a fresh budget; what is about to start does so at once, or in its turn."""
    step.set(wanted=True, failures=0, settled=False)
    if step.replica.state in AT_REST:
        step.set(history=())
    if not step.replica.admitted:
        schedule.begin(step, why)


def stop(step: Step, why: str, *, gently: bool = False) -> None:
    """Do not want it any more. ``gently``: see :func:`hasup.core.replica.ask_to_end`."""
    replica = step.replica
    step.set(wanted=False, then_start=False)
    if replica.state in (_S.STARTING, _S.RUNNING):
        ask_to_end(step, why, gently=gently)
    elif replica.state in (_S.BACKOFF, _S.WAITING, _S.FAILED, _S.COMPLETED):
        if is_clear(step, why):
            step.enter(_S.STOPPED, why)
    elif replica.state is _S.STOPPING:
        step.set(failing=None, failing_detail="")
        if replica.wanted:  # it was being restarted
            step.explain("stop", why)


def stop_in_turn(turn: Turn, slot: str, why: str) -> None:
    """Stop a slot, its connections first; while what serves it is ending, only note that it is to be stopped."""
    program = turn.roster.replicas[slot].program
    server = turn.roster.drains(program)
    if server is None:
        gently = turn.roster.is_served(program)
        turn.step(slot, lambda step: stop(step, why, gently=gently))
    else:
        turn.step(slot, lambda step: _stop_after(step, f"{why}, once {server} has drained its connections"))


def _stop_after(step: Step, why: str) -> None:
    """Not wanted any more, but it lives until what serves it has ended (see hasup.core.fates)."""
    if step.replica.state not in (_S.STARTING, _S.RUNNING):
        stop(step, why)
    elif step.replica.wanted:
        step.set(wanted=False, then_start=False, reason=why)
        step.tell("draining", why)


def restart_now(
    step: Step, why: str, result: Result = Result.OPERATOR, *, gently: bool = False, along: str | None = None
) -> None:
    """Stop and start at once; what does not run is started. ``result`` is what the run is said to have ended by.

    ``along``: with this group, once all of it that is restarted has ended.
    """
    replica = step.replica
    if step.ending:
        return
    if replica.state in (_S.STARTING, _S.RUNNING):
        step.set(wanted=True, settled=False, **restarted(replica, result))
        ask_to_end(step, why, result, why, gently=gently)
        step.set(then_start=True, along=along)
        step.restarted = True
    elif replica.state in (_S.STOPPING, _S.ABORTING):
        step.set(wanted=True, settled=False, then_start=True)
    else:
        _begin(step, why)


def kill(step: Step, why: str) -> None:
    """End it at once."""
    replica = step.replica
    step.set(wanted=False, then_start=False, failing=None)
    if replica.state in AT_REST:
        return
    if replica.state in (_S.BACKOFF, _S.WAITING) and replica.tree_empty:
        step.enter(_S.STOPPED, why)
    else:
        if replica.state is not _S.STOPPING:
            step.enter(_S.STOPPING, f"killed: {why}")
        step.set(deadline=None)
        step.clear()


def give_up(step: Step, why: str) -> None:
    """Its group gave up: it is failed, whatever it does now, unless nobody wants it anyway."""
    replica = step.replica
    if not replica.wanted or replica.state in AT_REST:
        return
    step.set(then_start=False)
    if replica.state in (_S.STARTING, _S.RUNNING):
        ask_to_end(step, why, Result.LIMIT, why)
    elif replica.state in (_S.ABORTING, _S.STOPPING):
        step.set(failing=Result.LIMIT, failing_detail=why)
    elif for_good(step, _S.FAILED, why):
        step.set(last=gave_up(replica.last, why, step.now))
    else:
        step.set(failing=Result.LIMIT, failing_detail=why)


def slow_down(step: Step) -> None:
    """Its group is over its limit: on at max_delay."""
    replica = step.replica
    if replica.state is not _S.BACKOFF:
        return
    due = max(replica.deadline or 0.0, step.now + step.program.restart.max_delay)
    reason = f"{replica.reason}; its group is over its limit: next try in {due - step.now:.1f} s"
    step.set(deadline=due, reason=reason)
    step.tell("limit", reason)
