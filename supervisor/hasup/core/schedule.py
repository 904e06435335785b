"""Tasks that run on a schedule: the one place where the wall clock counts.

What is remembered of a run to come is its wall-clock time (``run_at``). The monotonic time at which that will be
(``run_due``) follows from how far the two clocks are apart, and is reckoned anew when the wall clock is set.
"""

from hasup.core import replica as lives
from hasup.core.step import Step
from hasup.core.words import describe
from hasup.model.state import AT_REST, Replica, Result, State

LATE_S = 60.0  # a run that could not begin within so long was missed
REPEAT_S = 3 * 3600.0  # set back by less, the clock makes no run happen twice; by more, it had been wrong before

_NO_FAULT = frozenset({Result.SUCCESS, Result.OPERATOR, Result.RELOAD})


def idles(replica: Replica) -> bool:
    """Whether it waits for its schedule, and for nothing else."""
    return replica.state is State.WAITING and replica.deadline is not None and not replica.admitted


def rests_well(replica: Replica) -> bool:
    """Whether it waits for its schedule, and nothing was wrong with its last run."""
    return idles(replica) and (replica.last is None or replica.last.result in _NO_FAULT)


def arm(step: Step, why: str = "") -> None:
    """Nothing runs, and nothing is to run before the schedule says so."""
    if step.replica.run_at is None:
        _plan(step)
    due = step.replica.run_due
    step.enter(State.WAITING, _waits(step, why), deadline=due, settled=True, failures=0)


def go_on(step: Step) -> None:
    """A run is over, and is not tried again before the schedule says so; who gave up stays so."""
    replica = step.replica
    if replica.state not in (State.COMPLETED, State.FAILED):
        return
    if replica.wanted and not step.ending and not _gave_up(replica):
        arm(step, describe(replica.last))
    elif replica.run_at is not None:
        step.set(run_at=None, run_due=None)


def _gave_up(replica: Replica) -> bool:
    return replica.state is State.FAILED and replica.last is not None and replica.last.result is Result.LIMIT


def look(step: Step) -> None:
    """A deadline is over: that of a run to come, or that of its state."""
    if step.program.schedule is None and step.replica.run_at is not None:  # it is on its way out
        step.set(run_at=None, run_due=None)
    if step.replica.run_due is not None and step.replica.run_due <= step.now:
        _due(step)
    lives.due(step)


def _due(step: Step) -> None:
    """The time of a run has come."""
    replica = step.replica
    assert replica.run_at is not None
    at, late = replica.run_at, step.wall - replica.run_at
    idle = idles(replica)
    _plan(step)
    if not idle:
        step.tell("skipped", f"the run of {step.calendar.shown(at)} is left out: the one before is not over")
    elif late > LATE_S:
        _missed(step, at)
    else:
        step.set(deadline=None)
        lives.launch(step, f"its time has come: {step.calendar.shown(at)}")


def clock_set(step: Step) -> None:
    """The wall clock stands otherwise than before: the next run is earlier or later, or was missed."""
    replica = step.replica
    if replica.run_at is None or replica.run_due is None or step.program.schedule is None:
        return
    if step.wall - replica.run_at > LATE_S:
        at = replica.run_at
        _plan(step)
        _missed(step, at)
    elif step.wall < replica.run_from - REPEAT_S:
        step.set(run_at=None)
        _plan(step)
    else:
        step.set(run_due=replica.run_at - step.offset)
    if idles(step.replica):
        step.set(deadline=step.replica.run_due)
        step.explain("scheduled", _waits(step))


def changed(step: Step) -> None:
    """Its program may have another schedule than before, or none."""
    replica = step.replica
    idle = idles(replica)
    if step.program.schedule is None:
        step.set(run_at=None, run_due=None)
        if idle and replica.run_at is not None:
            lives.launch(step, "it has no schedule any more")
    elif replica.state not in AT_REST and (replica.run_at is None or _another(step)):
        step.set(run_at=None)
        _plan(step)
        if idle:
            step.set(deadline=step.replica.run_due)
            step.explain("scheduled", _waits(step))


def begin(step: Step, why: str) -> None:
    """Start now, whatever its schedule says if it has one; the next run is at its time all the same."""
    if step.program.schedule is not None and step.replica.run_at is None:
        _plan(step)
    lives.launch(step, why)


def _another(step: Step) -> bool:
    replica, schedule = step.replica, step.program.schedule
    assert replica.run_at is not None
    assert schedule is not None
    return step.calendar.following(schedule, min(step.wall, replica.run_at - 1)) != replica.run_at


def _plan(step: Step) -> None:
    """Set the time of the next run: later than now, and than the one before."""
    schedule, before = step.program.schedule, step.replica.run_at
    assert schedule is not None
    at = step.calendar.following(schedule, step.wall if before is None else max(before, step.wall))
    step.set(run_at=at, run_from=step.wall, run_due=at - step.offset)


def _missed(step: Step, at: float) -> None:
    step.tell("missed", f"the run of {step.calendar.shown(at)} was missed, and is not made up for")
    if idles(step.replica):
        step.set(deadline=step.replica.run_due)
        step.explain("scheduled", _waits(step))


def _waits(step: Step, why: str = "") -> str:
    at = step.replica.run_at
    assert at is not None
    return f"{why}; next run at {step.calendar.shown(at)}" if why else f"next run at {step.calendar.shown(at)}"
