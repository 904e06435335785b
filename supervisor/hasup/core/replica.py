"""The life of one replica: one function an event. Each looks at the state, and what it does not name changes nothing.

Facts carry the generation they speak of; what is old or was told before is ignored, so that everything may be told
twice (as it is to a core that has just been started).
"""

from typing import Any

from hasup.core import limits, restart
from hasup.core.step import Step, restarted
from hasup.core.words import again, describe, number_of, signal_name
from hasup.model import events as ev
from hasup.model.actions import Collect, RunStopCommand, Signal
from hasup.model.spec import Program
from hasup.model.state import LastRun, Replica, Result, State

_S = State
AFRESH_S = 5.0  # what is starting gets at least so long from a new core to show that it is ready
_OVER: dict[str, Any] = {  # facts of a run that is over
    "failing": None,
    "failing_detail": "",
    "ready_since": None,
    "then_start": False,
}
_BY_LIMIT = frozenset(limits.RESULTS.values())
_ORDERLY = frozenset({Result.SUCCESS, Result.OPERATOR, Result.RELOAD})  # no evidence is needed on these


# --- starting --------------------------------------------------------------------------------------------------------
def launch(step: Step, why: str) -> None:
    """Start it as soon as nothing stands in the way."""
    replica = step.replica
    if not replica.tree_empty:
        step.set(deadline=None)
        step.explain("clearing", "waits until nothing is left of its last run")
        if not replica.clearing:
            step.clear()
    elif (missing := step.blocked()) is not None:
        step.set(admitted=False)
        if replica.state is not _S.WAITING:
            step.enter(_S.WAITING, missing)
        else:
            step.set(deadline=None)
            step.explain("waiting", missing)
    elif replica.admitted:
        step.spawn(why)
    else:
        step.set(reason=why)
        step.wants_turn = True


def hold(step: Step, until: float) -> None:
    """Its turn to start comes later: too many start in this second."""
    reason = "waits for its turn: restart_rate is reached"
    if step.replica.state in (_S.BACKOFF, _S.WAITING):
        step.set(deadline=until, admitted=True)
        step.explain("waiting", reason)
    elif step.replica.state is _S.STOPPING:
        step.enter(_S.BACKOFF, reason, deadline=until, admitted=True)
    else:
        step.enter(_S.WAITING, reason, deadline=until, admitted=True)


def spawned(step: Step, event: ev.Spawned) -> None:
    """The program runs."""
    replica = step.replica
    if event.generation != replica.generation or not replica.spawning:
        return
    step.set(spawning=False, pid=event.pid, started=step.now)
    if replica.state is _S.STARTING:
        ready = step.program.ready
        if waits_for_sign(step.program):
            step.set(deadline=step.now + ready.timeout)
        elif ready.after > 0:
            step.set(deadline=step.now + ready.after)
        else:
            become_ready(step, "started")


def spawn_failed(step: Step, event: ev.SpawnFailed) -> None:
    """It could not be executed."""
    replica = step.replica
    if event.generation != replica.generation or not replica.spawning:
        return
    step.set(
        spawning=False,
        pid=None,
        tree_empty=True,
        clearing=False,
        last=LastRun(Result.SPAWN_FAILED, detail=event.cause, at=step.now),
    )
    if replica.state is _S.STOPPING:
        at_rest(step)
    else:
        ended(step, f"could not be started: {event.cause}", succeeded=False)


def hook_ended(step: Step, event: ev.HookEnded) -> None:
    """The hook before its start ended, by itself or because it had to."""
    replica = step.replica
    if event.generation != replica.generation or event.hook != replica.hook:
        return
    if replica.state is _S.STOPPING:
        step.set(hook=None)
        if replica.failing is not None:
            step.set(last=_hook_run(step, event, replica.failing, replica.failing_detail))
        at_rest(step)
    elif event.exit_code == 0 and replica.wanted and not step.ending:
        step.hook_done()
    else:
        failure = f"its {event.hook} hook failed: {event.cause}"
        step.set(hook=None, last=_hook_run(step, event, Result.HOOK_FAILED, failure))
        ended(step, failure, succeeded=False)


def _hook_run(step: Step, event: ev.HookEnded, result: Result, detail: str) -> LastRun:
    name = signal_name(event.signal) if event.signal is not None else None
    return LastRun(result, event.exit_code, name, detail=detail, at=step.now)


def waits_for_sign(program: Program) -> bool:
    """Whether readiness is more than staying alive for a while."""
    ready = program.ready
    return bool(ready.notify or ready.http or ready.tcp or ready.exec or ready.log)


def become_ready(step: Step, why: str) -> None:
    """It can take work."""
    step.enter(
        _S.RUNNING,
        why,
        ready=True,
        ready_since=step.now,
        settled=True,
        heartbeat_due=next_beat(step),
        probe_failures=0,
    )
    step.run_hook("on_ready")


def next_beat(step: Step) -> float | None:
    """When the next sign of life is due, if one comes now."""
    timeout = heartbeat_timeout(step.replica, step.program)
    return None if timeout is None else step.now + timeout


def heartbeat_timeout(replica: Replica, program: Program) -> float | None:
    """Seconds within which a sign of life must come; None when none is asked for."""
    if replica.watchdog_s is not None:
        return replica.watchdog_s
    return program.heartbeat.timeout if program.heartbeat is not None else None


# --- ending ----------------------------------------------------------------------------------------------------------
def ask_to_end(step: Step, why: str, failing: Result | None = None, detail: str = "", *, gently: bool = False) -> None:
    """Send the stop signal, or run the stop command; the deadline is the KILL.

    ``gently``: first the connections that the dispatcher has to it may end; the deadline is that of the drain.
    """
    drain = drain_timeout(step.program) if gently and step.replica.state is _S.RUNNING else 0.0
    due = step.now + (drain or step.program.stop.timeout)
    step.enter(_S.STOPPING, why, deadline=due, failing=failing, failing_detail=detail, draining=drain > 0)
    if not drain:
        _tell_to_end(step)


def drain_timeout(program: Program) -> float:
    """Seconds that connections to a replica may take to end before it is told to; 0 where nobody forwards any."""
    listen = program.listen
    return listen.drain_timeout if listen is not None and listen.mode == "proxy" else 0.0


def drained(step: Step) -> None:
    """It takes no work any more: now it is told to end."""
    if step.replica.draining:
        step.set(draining=False, deadline=step.now + step.program.stop.timeout)
        _tell_to_end(step)


def _tell_to_end(step: Step) -> None:
    replica, stop = step.replica, step.program.stop
    if replica.hook is not None:
        step.clear(stop.timeout)
    elif stop.command and replica.pid is not None:
        step.act(RunStopCommand(replica.name, replica.generation))
    else:  # also with no pid yet: the guardian carries orders out one by one, so the spawn comes before this
        step.act(Signal(replica.name, replica.generation, number_of(stop.signal), scope="group", cont=True))


def abort(step: Step, result: Result, detail: str) -> None:
    """It hangs: evidence first, then the abort signal; the deadline is the KILL."""
    rule = step.program.abort
    step.enter(_S.ABORTING, f"hung: {detail}", deadline=step.now + rule.timeout, failing=result, failing_detail=detail)
    replica = step.replica
    step.act(Collect(replica.name, replica.generation, detail))
    step.act(Signal(replica.name, replica.generation, number_of(rule.signal), scope="group", cont=True))


def due(step: Step) -> None:
    """A deadline of its is over."""
    replica = step.replica
    if replica.heartbeat_due is not None and replica.heartbeat_due <= step.now and replica.state is _S.RUNNING:
        abort(step, Result.HEARTBEAT, f"no sign of life for {heartbeat_timeout(replica, step.program) or 0:g} s")
        return
    if replica.deadline is None or replica.deadline > step.now:
        return
    match replica.state:
        case _S.STARTING:
            _start_is_over(step)
        case _S.BACKOFF | _S.WAITING:
            step.set(deadline=None)
            launch(step, again(replica.last))
        case _S.STOPPING if replica.draining:
            drained(step)
        case _S.ABORTING | _S.STOPPING:
            step.set(deadline=None, failing=replica.failing or _killed(step))
            step.explain("kill", f"{replica.reason}; killed, since it did not end in time")
            step.clear()
        case _:
            step.set(deadline=None)


def _killed(step: Step) -> Result | None:
    """An orderly stop that took too long is remembered as such, unless it is to start again at once."""
    return None if step.replica.state is _S.ABORTING or step.replica.then_start else Result.STOP_TIMEOUT


def _start_is_over(step: Step) -> None:
    replica = step.replica
    if replica.hook is not None:
        detail = f"its {replica.hook} hook took longer than {step.program.hooks.timeout:g} s"
        step.enter(_S.STOPPING, f"{detail}; killed", failing=Result.HOOK_FAILED, failing_detail=detail)
        step.clear()
    elif replica.spawning:  # not even executed: the guardian is behind; its answer decides
        step.set(deadline=step.now + step.program.ready.timeout)
    elif waits_for_sign(step.program):
        last = f" ({replica.failing_detail})" if replica.failing_detail else ""
        detail = f"not ready within {step.program.ready.timeout:g} s{last}"
        step.act(Collect(replica.name, replica.generation, detail))
        ask_to_end(step, f"start timeout: {detail}", Result.START_TIMEOUT, detail)
    else:
        become_ready(step, f"ready: alive for {step.program.ready.after:g} s")


def exited(step: Step, event: ev.Exited) -> None:
    """Its main process ended."""
    replica = step.replica
    if event.generation != replica.generation or (replica.pid is None and not replica.spawning):
        return
    last = _last_run(step, event)
    was_ready = replica.ready_since
    step.set(pid=None, spawning=False, last=last, tree_empty=event.empty, ready=False)
    if last.result not in _ORDERLY:
        step.act(Collect(replica.name, replica.generation, describe(last)))
    if event.empty:
        _nothing_left(step)
    elif not replica.clearing:
        left = (replica.deadline - step.now) if replica.state is _S.STOPPING and replica.deadline is not None else 0.0
        step.clear(min(max(0.0, left), step.program.stop.timeout))
    if replica.state is _S.STOPPING:
        if event.empty:
            at_rest(step)
        else:
            step.explain("clearing", f"{replica.reason}; its main process ended, what it left is being cleared")
        return
    step.set(ready_since=was_ready)
    ended(step, describe(last), succeeded=last.result is Result.SUCCESS)


def emptied(step: Step, event: ev.Emptied) -> None:
    """Nothing of its last run is left."""
    replica = step.replica
    if event.generation != replica.generation or replica.pid is not None or replica.spawning or replica.tree_empty:
        return
    _nothing_left(step)
    if replica.state is _S.STOPPING:
        at_rest(step)
    elif replica.state is _S.BACKOFF and (replica.deadline is None or replica.deadline <= step.now):
        launch(step, again(replica.last))


def _nothing_left(step: Step) -> None:
    if step.replica.stuck:
        step.explain("cleared", "what was stuck has ended")
    step.set(tree_empty=True, clearing=False, stuck=())


def stuck(step: Step, event: ev.Stuck) -> None:
    """Processes outlived KILL: in an uninterruptible wait, say. It is not started again while they live."""
    if event.generation != step.replica.generation:
        return
    step.set(stuck=event.pids)
    pids = ", ".join(map(str, event.pids[:8]))
    step.explain(
        "stuck", f"stuck: KILL does not end {pids} (uninterruptible or frozen); not started again until it does"
    )


def at_rest(step: Step) -> None:
    """Nothing is left of a run that was asked to end, or that ended and left something behind."""
    replica = step.replica
    if replica.wanted and not step.ending:
        if replica.then_start:
            step.set(failing=None, failing_detail="")
            launch(step, f"started again: {replica.reason}")
        elif replica.failing is not None:
            ended(step, replica.failing_detail, succeeded=False)
        else:
            succeeded = replica.last is not None and replica.last.result is Result.SUCCESS
            ended(step, describe(replica.last), succeeded=succeeded)
        return
    late = replica.last is not None and replica.last.result is Result.STOP_TIMEOUT
    reason = replica.reason.partition(";")[0] + (" (killed, as it did not end in time)" if late else "")
    by_limit = replica.failing in _BY_LIMIT
    step.set(wanted=False, failing=None, failing_detail="")
    step.enter(_S.STOPPED, reason)
    if by_limit and step.program.essential and not step.ending:
        step.shutdown = f"{replica.name} is essential: {reason}"


def ended(step: Step, what: str, *, succeeded: bool) -> None:
    """A run ended that nobody had asked to end for good: the restart policy decides."""
    replica = step.replica
    if step.ending or not replica.wanted:
        if is_clear(step, what):
            step.enter(_S.STOPPED, what, settled=True)
    elif replica.failing is Result.LIMIT:
        if for_good(step, _S.FAILED, what):
            step.set(last=gave_up(replica.last, what, step.now))
    elif replica.then_start:  # restarted by somebody while it was hung
        reason = f"{what}; started again, as asked"
        step.enter(
            _S.BACKOFF,
            reason,
            deadline=step.now,
            recover=not succeeded,
            **restarted(replica, _last_result(replica)),
            **_OVER,
        )
        step.restarted = True
    else:
        _by_policy(step, what, succeeded)


def _by_policy(step: Step, what: str, succeeded: bool) -> None:
    replica = step.replica
    verdict = restart.decide(
        step.program,
        succeeded=succeeded,
        failures=replica.failures,
        history=replica.history,
        ready_for=0.0 if replica.ready_since is None else step.now - replica.ready_since,
        now=step.now,
        chance=step.chance(),
    )
    reason = f"{what}; {verdict.reason}"
    if verdict.delay is not None:
        _again_after(step, reason, verdict, verdict.delay)
        if not succeeded:
            _has_failed(step)
    elif verdict.gave_up is None:
        for_good(step, _S.COMPLETED if succeeded else _S.FAILED, reason)
    elif for_good(step, _S.FAILED, reason):
        step.set(history=verdict.history, last=gave_up(replica.last, reason, step.now))
        if verdict.gave_up == "shutdown":
            step.shutdown = f"{replica.name} {reason}"


def _again_after(step: Step, reason: str, verdict: restart.Verdict, delay: float) -> None:
    """Without delay it is started in this very turn, once its groups have had their say (hasup.core.fates)."""
    step.enter(
        _S.BACKOFF,
        reason,
        deadline=step.now + delay,
        failures=verdict.failures,
        history=verdict.history,
        settled=True,
        **restarted(step.replica, _last_result(step.replica)),
        **_OVER,
    )
    step.failed = step.restarted = True


def _last_result(replica: Replica) -> Result:
    assert replica.last is not None
    return replica.last.result


def _has_failed(step: Step) -> None:
    """Before it is started again comes its recovery."""
    step.set(recover=True)
    step.run_hook("on_failed")


def for_good(step: Step, state: State, reason: str) -> bool:
    """It ended and is not started again by itself; with an essential program everything ends.

    False while something of it is left: it is decided on again when that is cleared away.
    """
    if not is_clear(step, reason):
        return False
    step.enter(state, reason, settled=True, **_OVER)
    if state is _S.FAILED:
        _has_failed(step)
    if step.program.essential:
        step.shutdown = f"{step.replica.name} is essential: {reason}"
    return True


def is_clear(step: Step, reason: str) -> bool:
    """Whether nothing is left. What is at rest has left nothing; what has, is stopping until that is gone."""
    if step.replica.tree_empty:
        return True
    step.enter(_S.STOPPING, f"{reason}; what it left is being cleared")
    if not step.replica.clearing:
        step.clear()
    return False


def gave_up(last: LastRun | None, reason: str, now: float) -> LastRun:
    """The last run, with giving up as its result."""
    if last is None:
        return LastRun(Result.LIMIT, detail=reason, at=now)
    return LastRun(Result.LIMIT, last.exit_code, last.signal, last.core_dump, reason, now)


def _last_run(step: Step, event: ev.Exited) -> LastRun:
    """How this run ended: why it was ended, when hasup did it; else what it did itself."""
    replica = step.replica
    name = signal_name(event.signal) if event.signal is not None else None
    if replica.failing is not None:
        result, detail = replica.failing, replica.failing_detail
    elif replica.state is _S.STOPPING:
        result, detail = Result.OPERATOR, replica.reason
    elif event.oom:
        result, detail = Result.OOM_KILL, "killed by the kernel for want of memory"
    elif event.signal is not None:
        result, detail = (Result.CORE_DUMP if event.core_dump else Result.SIGNAL), ""
    else:
        succeeded = event.exit_code in step.program.restart.success_exit_codes
        result, detail = (Result.SUCCESS if succeeded else Result.EXIT_CODE), ""
    return LastRun(result, event.exit_code, name, event.core_dump, detail, step.now)


# --- the clock -------------------------------------------------------------------------------------------------------
def grace(step: Step, seconds: float) -> None:
    """The loop or the machine stood still: nobody is judged for what it could not send or do meanwhile."""
    replica = step.replica
    timeout = heartbeat_timeout(replica, step.program)
    if replica.heartbeat_due is not None and timeout is not None:
        step.set(heartbeat_due=max(replica.heartbeat_due, step.now + min(timeout, max(seconds, 1.0))))
    if replica.deadline is not None and replica.state in (_S.STARTING, _S.STOPPING, _S.ABORTING):
        step.set(deadline=max(replica.deadline, min(replica.deadline + seconds, step.now + seconds)))
    if replica.probe_failures:
        step.set(probe_failures=0)


def afresh(step: Step) -> None:
    """After a restart of the core: what could not be heard meanwhile is not held against the replica."""
    replica = step.replica
    if replica.heartbeat_due is not None:
        step.set(heartbeat_due=next_beat(step), extend_until=None)
    if (
        replica.state is _S.STARTING
        and replica.deadline is not None
        and (replica.hook is not None or waits_for_sign(step.program))
    ):
        step.set(deadline=max(replica.deadline, step.now + min(AFRESH_S, step.program.ready.timeout)))
    if replica.probe_failures:
        step.set(probe_failures=0)
