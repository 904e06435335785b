"""Signs of life and of trouble from one replica: heartbeats, messages, output, probes, samples."""

from collections.abc import Callable

from hasup.core import limits
from hasup.core.replica import abort, ask_to_end, become_ready, heartbeat_timeout, next_beat, waits_for_sign
from hasup.core.step import Step
from hasup.core.words import number_of
from hasup.model import events as ev
from hasup.model.actions import Collect, Signal
from hasup.model.state import Result, State

_S = State
EXTEND_MOST = 10.0  # EXTEND_TIMEOUT_USEC: at most so many times the configured timeout in all


def notified(step: Step, event: ev.Notified) -> None:
    """A message to its NOTIFY_SOCKET."""
    replica, state = step.replica, step.replica.state
    if replica.pid is None:
        return
    if event.status is not None:  # shown by status; not worth a line of the journal each time
        step.set(status_text=event.status)
    if event.watchdog_usec is not None and event.watchdog_usec > 0:
        step.set(watchdog_s=event.watchdog_usec / 1e6)
        if state is _S.RUNNING:
            step.set(heartbeat_due=next_beat(step))
    if event.ready and state is _S.STARTING and step.program.ready.notify:
        become_ready(step, "ready: it said so (READY=1)")
    elif event.ready and state is _S.RUNNING and not replica.ready and replica.probe_failures == 0:
        step.set(leaving=False)
        _back(step, "it says that it is ready again")
    if event.stopping and state is _S.RUNNING:
        step.set(leaving=True)
        _unready(step, "it says that it is stopping")
    if event.reloading:
        step.tell("notify", "says that it reloads its configuration")
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
        until = replica.extend_until
        if until is None:
            until = step.now + (heartbeat_timeout(replica, program) or 0.0) * EXTEND_MOST
        step.set(extend_until=until, heartbeat_due=max(replica.heartbeat_due, min(step.now + seconds, until)))
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
    replica = step.replica
    if event.generation != replica.generation or replica.pid is None:
        return
    if replica.state is _S.STARTING and step.program.ready.log:
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
    if step.replica.probe_failures:
        step.set(probe_failures=0)
    if not step.replica.ready:  # of one that is ready nobody counts them, and the guardian need not hear of each
        step.set(probe_successes=step.replica.probe_successes + 1)
        if not step.replica.leaving and step.replica.probe_successes >= health.successes:
            _back(step, "its health probe succeeds again")
    slow = health.slow is not None and latency_s > health.slow
    if slow and not step.replica.degraded:
        step.set(degraded=True)
        step.tell("degraded", f"slow: its health probe took {latency_s:.3f} s, more than {health.slow:g} s")
    elif not slow and step.replica.degraded:
        step.set(degraded=False)
        step.tell("restored", f"fast again: its health probe took {latency_s:.3f} s")


def unprobed(step: Step) -> None:
    """The configuration changed: with no health probe any more, none that failed before is held against it."""
    replica = step.replica
    if step.program.health is None and replica.probe_failures and replica.state is _S.RUNNING:
        step.set(probe_failures=0)
        if not replica.ready and not replica.leaving:
            _back(step, "its health is not probed any more")


def _back(step: Step, why: str) -> None:
    step.set(ready=True, ready_since=step.now)
    step.tell("ready", why)


def _unready(step: Step, why: str) -> None:
    replica = step.replica
    if not replica.ready:
        return
    if replica.ready_since is not None and step.now - replica.ready_since >= step.program.restart.reset_after:
        step.set(failures=0)  # long enough in one go, even if it is to fail now
    step.set(ready=False, ready_since=None)
    step.tell("not-ready", why)


def _unhealthy(step: Step, detail: str) -> None:
    """Half of the allowed failures cost its readiness: it gets no connections; all of them, its life."""
    health = step.program.health
    assert health is not None
    failures = step.replica.probe_failures + 1
    step.set(probe_failures=failures, probe_successes=0)
    if failures >= health.failures:
        abort(step, Result.HEALTH, f"{failures} health probes in a row failed: {detail}")
    elif failures * 2 >= health.failures:
        _unready(step, f"{failures} of {health.failures} health probes failed: {detail}")


def sampled(step: Step, event: ev.Sampled, may_restart: Callable[[], bool]) -> None:
    """Its resources were measured. ``may_restart``: whether no other replica is being restarted for a limit."""
    replica = step.replica
    if event.generation != replica.generation or replica.state not in (_S.STARTING, _S.RUNNING):
        return
    age = step.now - replica.started
    since, fired = limits.evaluate(step.program.limits, replica.over_since, event, age, step.now)
    if since != replica.over_since:
        step.set(over_since=since)
    for crossed in fired:
        if crossed.action == "restart" and not may_restart():
            # Staggered: it stays armed, and its turn comes with a later sample.
            over = replica.over_since.get(crossed.limit, step.now)
            step.set(over_since=step.replica.over_since | {crossed.limit: over})
            continue
        step.tell("limit", crossed.reason, limit=crossed.limit, action=crossed.action)
        step.act(Collect(replica.name, replica.generation, crossed.reason))
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
