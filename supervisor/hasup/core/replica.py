"""The life of one replica: one function an event. Each looks at the state, and what it does not name changes nothing.

Facts carry the generation they speak of; what is old or was told before is ignored, so that everything may be told
twice (as it is to a core that has just been started).
"""

import signal as signals
from typing import Any

from hasup.core import limits, restart
from hasup.core.step import Step
from hasup.model import events as ev
from hasup.model.actions import Collect, RunStopCommand, Signal
from hasup.model.spec import Program
from hasup.model.state import LastRun, Result, State

_S = State
ALIVE = frozenset({_S.STARTING, _S.RUNNING, _S.ABORTING, _S.STOPPING})
AT_REST = frozenset({_S.STOPPED, _S.COMPLETED, _S.FAILED})
EXTEND_MOST = 10.0  # EXTEND_TIMEOUT_USEC: at most so many times the configured timeout in all


# --- operators -------------------------------------------------------------------------------------------------------
def start(step: Step, by: str) -> None:
    """Want it. What waits for a delay starts at once."""
    replica = step.replica
    if step.ending:
        return
    if replica.state in AT_REST:
        step.set(wanted=True, failures=0, history=(), settled=False)
        launch(step, f"started by {by}")
    elif replica.state in (_S.BACKOFF, _S.WAITING):
        step.set(wanted=True, failures=0)
        launch(step, f"started by {by}")
    elif replica.state is _S.STOPPING and replica.failing is None:
        step.set(wanted=True, then_start=True, settled=False)
    else:
        step.set(wanted=True)


def stop(step: Step, why: str) -> None:
    """Do not want it any more."""
    replica = step.replica
    step.set(wanted=False, then_start=False)
    if replica.state in (_S.STARTING, _S.RUNNING):
        ask_to_end(step, why)
    elif replica.state is _S.WAITING or (replica.state in (_S.BACKOFF, _S.FAILED, _S.COMPLETED) and replica.tree_empty):
        step.enter(_S.STOPPED, why)
    elif replica.state is _S.BACKOFF:
        step.enter(_S.STOPPING, f"{why}; what its last run left is being cleared")
        step.clear()
    elif replica.state is _S.STOPPING:
        step.set(failing=None, failing_detail="")


def restart_now(step: Step, why: str, result: Result = Result.OPERATOR) -> None:
    """Stop and start at once; what does not run is started. ``result`` is what the run is said to have ended by."""
    replica = step.replica
    if step.ending:
        return
    if replica.state in (_S.STARTING, _S.RUNNING):
        step.set(wanted=True, settled=False, restarts=replica.restarts + 1)
        ask_to_end(step, why, result, why)
        step.set(then_start=True)
    elif replica.state is _S.STOPPING:
        step.set(wanted=True, settled=False, then_start=True, failing=None)
    elif replica.state is not _S.ABORTING:
        start(step, "operator")


def kill(step: Step, why: str) -> None:
    """End it at once."""
    step.set(wanted=False, then_start=False, failing=None)
    if step.replica.state in (_S.STARTING, _S.RUNNING, _S.ABORTING, _S.BACKOFF) and not step.replica.tree_empty:
        step.enter(_S.STOPPING, f"killed: {why}")
        step.clear()
    elif step.replica.state in (_S.BACKOFF, _S.WAITING):
        step.enter(_S.STOPPED, why)
    elif step.replica.state is _S.STOPPING:
        step.set(deadline=None)
        step.clear()


# --- starting --------------------------------------------------------------------------------------------------------
def launch(step: Step, why: str) -> None:
    """Start it as soon as nothing stands in the way."""
    replica = step.replica
    if not replica.tree_empty:
        if replica.state is not _S.BACKOFF:
            step.enter(_S.BACKOFF, "waits until nothing is left of its last run")
        else:
            step.set(deadline=None, reason="waits until nothing is left of its last run")
        if not replica.clearing:
            step.clear()
    elif step.blocked is not None:
        if replica.state is not _S.WAITING:
            step.enter(_S.WAITING, step.blocked)
        elif replica.reason != step.blocked:
            step.set(reason=step.blocked, deadline=None)
            step.tell("waiting", step.blocked)
    elif replica.admitted:
        step.spawn(why)
    else:
        step.set(reason=why)
        step.wants_turn = True


def hold(step: Step, until: float) -> None:
    """Its turn to start comes later: too many start in this second."""
    reason = "waits for its turn: restart_rate is reached"
    if step.replica.state in (_S.BACKOFF, _S.WAITING):
        step.set(deadline=until, admitted=True, reason=reason)
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
        heartbeat_due=_next_beat(step),
        probe_failures=0,
    )


def _next_beat(step: Step) -> float | None:
    timeout = heartbeat_timeout(step)
    return None if timeout is None else step.now + timeout


def heartbeat_timeout(step: Step) -> float | None:
    """Seconds within which a sign of life must come; None when none is asked for."""
    if step.replica.watchdog_s is not None:
        return step.replica.watchdog_s
    return step.program.heartbeat.timeout if step.program.heartbeat is not None else None


# --- signs of life ---------------------------------------------------------------------------------------------------
def beat(step: Step) -> None:
    """A sign of life: the next one is due a timeout from now."""
    if step.replica.state is _S.RUNNING and step.replica.heartbeat_due is not None:
        step.set(heartbeat_due=_next_beat(step))


def notified(step: Step, event: ev.Notified) -> None:
    """A message to its NOTIFY_SOCKET."""
    replica, state = step.replica, step.replica.state
    if replica.pid is None:
        return
    if event.status is not None:  # shown by status; not worth a line of the journal each time
        step.set(status_text=event.status)
    if event.watchdog_usec is not None and event.watchdog_usec > 0:
        step.set(watchdog_s=event.watchdog_usec / 1e6)
        beat(step)
    if event.ready and state is _S.STARTING and step.program.ready.notify:
        become_ready(step, "ready: it said so (READY=1)")
    elif event.ready and state is _S.RUNNING and not replica.ready and step.replica.probe_failures == 0:
        _back(step, "it says that it is ready again")
    if event.stopping and state is _S.RUNNING and replica.ready:
        step.set(ready=False)
        step.tell("not-ready", "it says that it is stopping")
    if event.main_pid is not None and event.main_pid != replica.pid:
        step.tell(
            "notify", f"says that its main process is {event.main_pid}; hasup watches {replica.pid}, its own child"
        )
    if event.extend_timeout_usec is not None:
        _extend(step, event.extend_timeout_usec / 1e6)
    if event.watchdog_trigger and state in (_S.RUNNING, _S.STARTING):
        abort(step, Result.HEARTBEAT, "it asked to be aborted (WATCHDOG=trigger)")


def _extend(step: Step, seconds: float) -> None:
    """EXTEND_TIMEOUT_USEC: the deadline under way comes no earlier than so many seconds from now, within a ceiling."""
    replica, program = step.replica, step.program
    if replica.state is _S.RUNNING and replica.heartbeat_due is not None:
        timeout = heartbeat_timeout(step) or 0.0
        step.set(heartbeat_due=max(replica.heartbeat_due, step.now + min(seconds, timeout * EXTEND_MOST)))
        return
    base = {_S.STARTING: program.ready.timeout, _S.STOPPING: program.stop.timeout, _S.ABORTING: program.abort.timeout}
    if replica.state not in base or replica.deadline is None:
        return
    if replica.state is _S.STARTING and not waits_for_sign(program):
        return
    ceiling = replica.since + EXTEND_MOST * base[replica.state]
    step.set(deadline=max(replica.deadline, min(step.now + seconds, ceiling)))


def log_matched(step: Step, event: ev.LogMatched) -> None:
    """A line of output says that it is ready."""
    if event.generation == step.replica.generation and step.replica.state is _S.STARTING and step.program.ready.log:
        become_ready(step, f"ready: it wrote {event.line[:200]!r}")


def probed(step: Step, event: ev.ProbeResult) -> None:
    """A probe came back."""
    replica = step.replica
    if event.generation != replica.generation or replica.pid is None:
        return
    if event.probe == "ready" and replica.state is _S.STARTING:
        if event.ok:
            become_ready(step, f"ready: its probe succeeded after {step.now - replica.started:.1f} s")
        else:
            step.set(failing_detail=event.detail)
    elif event.probe == "health" and replica.state is _S.RUNNING and step.program.health is not None:
        if event.ok:
            _healthy(step, event.latency_s)
        else:
            _unhealthy(step, event.detail)


def _healthy(step: Step, latency_s: float) -> None:
    health = step.program.health
    assert health is not None
    step.set(probe_failures=0, probe_successes=step.replica.probe_successes + 1)
    if not step.replica.ready and step.replica.probe_successes >= health.successes:
        _back(step, "its health probe succeeds again")
    slow = health.slow is not None and latency_s > health.slow
    if slow and not step.replica.degraded:
        step.set(degraded=True)
        step.tell("degraded", f"slow: its health probe took {latency_s:.3f} s, more than {health.slow:g} s")
    elif not slow and step.replica.degraded:
        step.set(degraded=False)
        step.tell("restored", f"fast again: its health probe took {latency_s:.3f} s")


def _back(step: Step, why: str) -> None:
    step.set(ready=True, ready_since=step.now)
    step.tell("ready", why)


def _unhealthy(step: Step, detail: str) -> None:
    """Half of the allowed failures cost its readiness: it gets no connections; all of them, its life."""
    health = step.program.health
    assert health is not None
    failures = step.replica.probe_failures + 1
    step.set(probe_failures=failures, probe_successes=0)
    if failures >= health.failures:
        abort(step, Result.HEALTH, f"{failures} health probes in a row failed: {detail}")
    elif step.replica.ready and failures * 2 >= health.failures:
        step.set(ready=False)
        step.tell("not-ready", f"{failures} of {health.failures} health probes failed: {detail}")


def sampled(step: Step, event: ev.Sampled, may_restart: bool) -> None:
    """Its resources were measured. ``may_restart``: no other replica of the program is being restarted for a limit."""
    replica = step.replica
    if event.generation != replica.generation or replica.state not in (_S.STARTING, _S.RUNNING):
        return
    age = step.now - replica.started
    since, fired = limits.evaluate(step.program.limits, replica.over_since, event, age, step.now)
    if since != replica.over_since:
        step.set(over_since=since)
    for crossed in fired:
        if crossed.action == "restart" and not may_restart:
            # Staggered: it stays armed, and its turn comes with a later sample.
            step.set(over_since=step.replica.over_since | {crossed.limit: step.now - 1e9})
            continue
        step.tell("limit", crossed.reason, limit=crossed.limit, action=crossed.action)
        _over_limit(step, crossed)


def _over_limit(step: Step, crossed: limits.Crossed) -> None:
    if step.replica.state not in (_S.STARTING, _S.RUNNING):
        return
    if crossed.action == "restart":
        ask_to_end(step, f"restarted: {crossed.reason}", limits.RESULTS[crossed.limit], crossed.reason)
    elif crossed.action == "stop":
        step.set(wanted=False)
        ask_to_end(step, f"stopped: {crossed.reason}", limits.RESULTS[crossed.limit], crossed.reason)
    elif crossed.action.startswith("signal:"):
        number = number_of(crossed.action.removeprefix("signal:"))
        step.act(Signal(step.replica.name, step.replica.generation, number, scope="main"))


# --- ending ----------------------------------------------------------------------------------------------------------
def ask_to_end(step: Step, why: str, failing: Result | None = None, detail: str = "") -> None:
    """Send the stop signal, or run the stop command; the deadline is the KILL."""
    stop = step.program.stop
    step.enter(_S.STOPPING, why, deadline=step.now + stop.timeout, failing=failing, failing_detail=detail)
    replica = step.replica
    if stop.command and replica.pid is not None:
        step.act(RunStopCommand(replica.name, replica.generation))
    else:
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
        abort(step, Result.HEARTBEAT, f"no sign of life for {heartbeat_timeout(step) or 0:g} s")
        return
    if replica.deadline is None or replica.deadline > step.now:
        return
    match replica.state:
        case _S.STARTING:
            _start_is_over(step)
        case _S.BACKOFF | _S.WAITING:
            step.set(deadline=None)
            launch(step, f"started again after: {describe(replica.last)}" if replica.last else "its turn has come")
        case _S.ABORTING | _S.STOPPING:
            step.set(deadline=None, failing=replica.failing or _killed(step))
            step.set(reason=f"{replica.reason}; killed, since it did not end in time")
            step.tell("kill", step.replica.reason)
            step.clear()
        case _:
            step.set(deadline=None)


def _killed(step: Step) -> Result | None:
    """An orderly stop that took too long is remembered as such, unless it is to start again at once."""
    return None if step.replica.state is _S.ABORTING or step.replica.then_start else Result.STOP_TIMEOUT


def _start_is_over(step: Step) -> None:
    replica = step.replica
    if replica.spawning:  # not even executed: the guardian is behind; its answer decides
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
    if event.empty:
        step.set(clearing=False, stuck=())
    elif not replica.clearing:
        left = (replica.deadline - step.now) if replica.state is _S.STOPPING and replica.deadline is not None else 0.0
        step.clear(max(0.0, left))
    if replica.state is _S.STOPPING:
        if event.empty:
            at_rest(step)
        else:
            step.set(reason=f"{replica.reason}; its main process ended, what it left is being cleared")
        return
    step.set(ready_since=was_ready)
    ended(step, describe(last), succeeded=last.result is Result.SUCCESS)


def emptied(step: Step, event: ev.Emptied) -> None:
    """Nothing of its last run is left."""
    replica = step.replica
    if event.generation != replica.generation or replica.pid is not None or replica.spawning or replica.tree_empty:
        return
    step.set(tree_empty=True, clearing=False, stuck=())
    if replica.state is _S.STOPPING:
        at_rest(step)
    elif replica.state is _S.BACKOFF and (replica.deadline is None or replica.deadline <= step.now):
        launch(step, f"started again after: {describe(replica.last)}" if replica.last else "started again")


def stuck(step: Step, event: ev.Stuck) -> None:
    """Processes outlived KILL: in an uninterruptible wait, say. It is not started again while they live."""
    if event.generation != step.replica.generation:
        return
    step.set(stuck=event.pids)
    pids = ", ".join(map(str, event.pids[:8]))
    reason = f"stuck: KILL does not end {pids} (uninterruptible or frozen); not started again until it does"
    step.set(reason=reason)
    step.tell("stuck", reason)


def at_rest(step: Step) -> None:
    """Nothing is left of a run that was asked to end."""
    replica = step.replica
    if replica.then_start and not step.ending:
        launch(step, "started again: " + replica.reason)
    elif replica.wanted and replica.failing is not None and not step.ending:
        ended(step, replica.failing_detail or "failed", succeeded=False)
    else:
        last = replica.last
        forced = (
            "" if last is None or last.result is not Result.STOP_TIMEOUT else " (killed, as it did not end in time)"
        )
        step.set(failing=None, failing_detail="", wanted=replica.wanted and not step.ending)
        step.enter(_S.STOPPED, f"stopped{forced}" if not replica.reason else f"{_first(replica.reason)}{forced}")


def ended(step: Step, what: str, *, succeeded: bool) -> None:
    """A run ended that nobody had asked to end for good: the restart policy decides."""
    replica = step.replica
    if step.ending or not replica.wanted:
        step.enter(_S.STOPPED, what, settled=True)
        return
    ready_for = 0.0 if replica.ready_since is None else step.now - replica.ready_since
    verdict = restart.decide(
        step.program,
        succeeded=succeeded,
        failures=replica.failures,
        history=replica.history,
        ready_for=ready_for,
        now=step.now,
        chance=step.chance,
    )
    cleared: dict[str, Any] = {
        "failing": None,
        "failing_detail": "",
        "ready_since": None,
        "admitted": False,
        "settled": True,
    }
    reason = f"{what}; {verdict.reason}"
    if verdict.delay is not None:
        step.enter(
            _S.BACKOFF,
            reason,
            deadline=step.now + verdict.delay,
            failures=verdict.failures,
            history=verdict.history,
            restarts=replica.restarts + 1,
            **cleared,
        )
        if verdict.delay == 0 and step.replica.tree_empty:
            launch(step, f"started again after: {what}")
    elif verdict.gave_up is not None:
        assert replica.last is not None or not succeeded
        last = replica.last or LastRun(Result.LIMIT, at=step.now)
        gave_up = LastRun(Result.LIMIT, last.exit_code, last.signal, last.core_dump, reason, step.now)
        step.enter(_S.FAILED, reason, history=verdict.history, last=gave_up, **cleared)
        if verdict.gave_up == "shutdown":
            step.shutdown = f"{replica.name} {reason}"
    else:
        step.enter(_S.COMPLETED if succeeded else _S.FAILED, reason, **cleared)
    if step.replica.state in AT_REST and step.program.essential:
        step.shutdown = f"{replica.name} is essential: {reason}"


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


def describe(last: LastRun | None) -> str:
    """How a run ended, in words."""
    if last is None:
        return "never ran"
    if last.detail:
        return last.detail
    if last.signal is not None:
        return f"killed by {last.signal}{' (core dumped)' if last.core_dump else ''}"
    return f"exited with code {last.exit_code}"


def _first(reason: str) -> str:
    return reason.partition(";")[0]


def number_of(name: str) -> int:
    """The number of a signal named without SIG."""
    return int(signals.Signals[f"SIG{name}"])


def signal_name(number: int) -> str:
    """``"SIGKILL"``; a real-time signal as ``"SIG40"``."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIG{number}"


# --- the clock -------------------------------------------------------------------------------------------------------
def grace(step: Step, seconds: float) -> None:
    """The loop or the machine stood still: nobody is judged for what it could not send or do meanwhile."""
    replica = step.replica
    timeout = heartbeat_timeout(step)
    if replica.heartbeat_due is not None and timeout is not None:
        step.set(heartbeat_due=max(replica.heartbeat_due, step.now + min(timeout, max(seconds, 1.0))))
    if replica.deadline is not None and replica.state in (_S.STARTING, _S.STOPPING, _S.ABORTING):
        step.set(deadline=max(replica.deadline, min(replica.deadline + seconds, step.now + seconds)))
    if replica.probe_failures:
        step.set(probe_failures=0)
