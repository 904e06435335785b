"""Rolling restarts under way: what :mod:`hasup.core.rolling` finds is carried out here."""

from collections.abc import Iterable

from hasup.core import rolling, wishes
from hasup.core.fates import stop_beyond
from hasup.core.rolling import Rolling
from hasup.core.turn import Turn
from hasup.core.words import describe
from hasup.model.actions import Note, Revert
from hasup.model.spec import Program
from hasup.model.state import Replica, Result, State


# --- beginning -------------------------------------------------------------------------------------------------------
def begin(turn: Turn, slots: Iterable[str], by: str) -> None:
    """Replace these; what does not run is left to start by itself."""
    roster = turn.roster
    asked = list(slots)
    programs: dict[str, list[str]] = {}
    for slot in asked:
        known = roster.replicas[slot]
        serves = roster.programs[known.program].internal and len(asked) > 1  # what serves a program goes on meanwhile
        if rolling.counts(known) and not serves:
            programs.setdefault(known.program, []).append(slot)
    for name, left in programs.items():
        before = roster.own.rolling.get(name)
        plan = Rolling(left, by)
        if before is not None and before.over is None:
            plan.left = [r.name for r in roster.of(name) if r.name in {*left, *before.left, *before.current}]
            plan.held, plan.others, plan.runs = before.held, before.others, before.runs
            plan.returns = before.returns and before.back is None  # what was rejected is nothing to go back to
        _begin(turn, name, plan)


def begin_changed(turn: Turn, name: str, old: Program, by: str) -> None:
    """Go over from ``old`` to the configuration that is in force now; the number of replicas changes at the end."""
    roster = turn.roster
    left = [known.name for known in roster.of(name) if rolling.counts(known)]
    slots = [known.name for known in roster.beyond(name, 0)]
    others, runs = rolling.changed(roster.own.rolling.get(name), old, slots)
    held = roster.programs[name].replicas
    _begin(turn, name, Rolling(left, by, others=others, runs=runs, returns=True, held=held))


def _begin(turn: Turn, name: str, plan: Rolling) -> None:
    """Whoever stands in already, and is ready, goes on doing so, but says nothing of the new version."""
    roster = turn.roster
    before = roster.own.rolling.get(name)
    roster.own.rolling[name] = plan
    roster.own.reloaded.pop(name, None)
    roster.remember()
    for slot in before.stand_ins if before is not None else ():
        known = roster.replicas.get(slot)
        if known is not None and known.ready:
            plan.stand_ins.append(slot)
        else:
            _dismiss(turn, [slot], f"stopped: {plan.by} asked for another reload")


def forget(turn: Turn, name: str) -> None:
    """The program is replaced at once, or taken away: whatever was under way is not any more."""
    if turn.roster.own.rolling.pop(name, None) is not None:
        turn.roster.remember()
        turn.roster.wake[name] = None


# --- going on --------------------------------------------------------------------------------------------------------
def go_on(turn: Turn) -> bool:
    """Take the next steps; true when there was one to take."""
    own = turn.roster.own
    if own.ending is not None or not own.rolling:
        return False
    return any(_go_on(turn, name, plan) for name, plan in list(own.rolling.items()))


def _go_on(turn: Turn, name: str, plan: Rolling) -> bool:
    look = turn.roster.replicas.get
    if plan.over is not None:
        return _see_out(turn, name, plan)
    if _settle(turn, name, plan):
        return True
    if not plan.left and not plan.current:
        _finish(turn, name, plan)
        return True
    known = rolling.failed(plan, look)
    if known is not None and plan.back is None and _fails(turn, name, plan, known):
        return True
    return _stand_in(turn, name, plan) if _lacks_one(turn, name, plan) else _take_next(turn, name, plan)


def _settle(turn: Turn, name: str, plan: Rolling) -> bool:
    """Note who is done, who has to be told again, and who went away; true when there was something to note."""
    look = turn.roster.replicas.get
    before = (list(plan.left), dict(plan.current), list(plan.stand_ins), dict(plan.runs))
    plan.stand_ins = [slot for slot in plan.stand_ins if _still_stands_in(turn, plan, slot)]
    for slot, generation in before[1].items():
        progress = rolling.progress(look(slot), generation)
        if progress in ("done", "again") or (progress == "failed" and plan.back is not None):
            del plan.current[slot]
            (plan.left if progress == "again" else plan.done).insert(0, slot)
    plan.runs = {slot: index for slot, index in plan.runs.items() if rolling.still_runs(plan, look(slot))}
    missed = [r.name for r in turn.roster.of(name) if r.name in plan.runs and r.name not in plan.current]
    plan.left = [slot for slot in dict.fromkeys((*plan.left, *missed)) if rolling.counts(look(slot))]
    if before == (plan.left, plan.current, plan.stand_ins, plan.runs):
        return False
    turn.roster.remember()
    return True


def _still_stands_in(turn: Turn, plan: Rolling, slot: str) -> bool:
    """Not when somebody has stopped it, or the program was given so many replicas that it is one of them now."""
    known = turn.roster.replicas.get(slot)
    if known is None:  # one that was decided on may not be there yet, as the core died
        return slot == plan.first and not plan.passed
    if known.index <= turn.roster.programs[known.program].replicas:
        plan.first = None if slot == plan.first else plan.first
        return False
    return True


def _number(turn: Turn, name: str) -> tuple[Program, int]:
    """The program and how many of it there are known to be able to run at once."""
    configured = turn.roster.config.programs.get(name)
    program = turn.roster.programs[name]
    return program, max(program.replicas, configured.replicas if configured is not None else 0)


def _lacks_one(turn: Turn, name: str, plan: Rolling) -> bool:
    """Whether somebody must stand in before the next one can be replaced."""
    if plan.back is not None or not rolling.stands_in(*_number(turn, name)):
        return False
    if not plan.passed:
        return True
    return not plan.stand_ins


def _stand_in(turn: Turn, name: str, plan: Rolling) -> bool:
    """See to it that there is one; true when something was done for it."""
    roster = turn.roster
    if plan.passed or plan.first is None or plan.first not in roster.replicas:
        _add_stand_in(turn, name, plan)
        return True
    known = roster.replicas[plan.first]
    if known.ready:
        plan.passed = True
        roster.remember()
        return True
    return False


def _add_stand_in(turn: Turn, name: str, plan: Rolling) -> None:
    roster = turn.roster
    index = max([*(known.index for known in roster.beyond(name, 0)), roster.programs[name].replicas]) + 1
    slot = f"{name}.{index}"
    plan.stand_ins = [*(other for other in plan.stand_ins if other in roster.replicas), slot]
    if not plan.passed:
        plan.first = slot
    roster.remember()
    roster.put(Replica(name=slot, program=name, index=index))
    turn.step(slot, lambda step: wishes.start(step, f"{plan.by}, to stand in while {name} is reloaded"))


def _take_next(turn: Turn, name: str, plan: Rolling) -> bool:
    roster = turn.roster
    most = rolling.most_unavailable(*_number(turn, name))
    if plan.back is not None and not rolling.ready(plan.stand_ins, roster.replicas.get):
        most = max(1, most)
    slot = rolling.next_one(plan, roster.replicas.get, most)
    if slot is None:
        return False
    plan.left.remove(slot)
    plan.current[slot] = roster.replicas[slot].generation
    roster.remember()
    why = f"reloaded by {plan.by}{': its configuration changed' if plan.others else ''}"
    if plan.back is not None:
        why = f"rolled back: {plan.back}"
    turn.step(slot, lambda step: wishes.restart_now(step, why, Result.RELOAD, gently=True))
    return True


# --- failing ---------------------------------------------------------------------------------------------------------
def _fails(turn: Turn, name: str, plan: Rolling, known: Replica) -> bool:
    """One of the new version failed; true when that ends the rolling restart."""
    what = "failed after it was replaced" if known.name in plan.done else "did not become ready"
    why = f"{known.name} {what}: {describe(known.last)}"
    if not known.wanted:
        why = f"{known.name}, which stood in, was stopped"
    elif not turn.roster.programs[name].reload.rollback and known.state is State.BACKOFF:
        if plan.trouble is None:
            plan.trouble = turn.roster.own.reloaded[name] = why
            turn.roster.remember()
            turn.actions.append(Note("reload-failed", f"{why}; it goes on trying", name))
        return False
    _give_up(turn, name, plan, why)
    return True


def _give_up(turn: Turn, name: str, plan: Rolling, why: str) -> None:
    roster = turn.roster
    roster.own.reloaded[name] = why
    roster.remember()
    if not plan.returns:
        left = f"{len(plan.left)} replica{'s were' if len(plan.left) != 1 else ' was'} left as "
        turn.actions.append(
            Note("reload-failed", f"{why}; {left}{'they were' if len(plan.left) != 1 else 'it was'}", name)
        )
        plan.left, plan.over = [], why
        _dismiss_unfit(turn, plan, why)
        return
    turn.actions.append(Note("reload-failed", f"{why}; rolled back to the configuration before", name))
    _turn_back(turn, name, plan, why)


def _turn_back(turn: Turn, name: str, plan: Rolling, why: str) -> None:
    """The old configuration is in force again; who was replaced goes back to it, under cover of who stands in."""
    roster = turn.roster
    slots = [known.name for known in roster.beyond(name, 0)]
    rejected = roster.revert(name, plan.others[0])
    plan.others, plan.runs = rolling.turned_back(plan, rejected, slots)
    plan.left = [r.name for r in roster.of(name) if rolling.counts(r) and r.name in plan.runs]
    plan.done = [r.name for r in roster.of(name) if rolling.counts(r) and r.name not in plan.runs]
    plan.current, plan.passed, plan.back = {}, True, why
    turn.actions.append(Revert(name))
    _dismiss_unfit(turn, plan, why)


# --- ending ----------------------------------------------------------------------------------------------------------
def _finish(turn: Turn, name: str, plan: Rolling) -> None:
    if plan.held is not None:
        plan.held = None
        _take_number(turn, name, plan)
    plan.over = plan.back or ""
    turn.roster.remember()
    if plan.back is not None:
        turn.actions.append(Note("rolled-back", f"rolled back: {plan.back}", name))
    else:
        turn.roster.own.reloaded.pop(name, None)
        turn.actions.append(Note("reloaded", f"all replicas were replaced, as {plan.by} asked", name))


def _take_number(turn: Turn, name: str, plan: Rolling) -> None:
    """As many replicas as the configuration in force wants, or an operator."""
    roster = turn.roster
    before, wanted = roster.programs[name].replicas, roster.config.programs[name]
    if plan.back is None and plan.others and _number_differs(plan.others[0], wanted):
        roster.own.scale.pop(name, None)
    count = roster.number(wanted, before)
    if count == before:
        return
    runs = any(known.wanted for known in roster.of(name))
    roster.resize(name, count)
    plan.stand_ins = [slot for slot in plan.stand_ins if _still_stands_in(turn, plan, slot)]
    for known in roster.of(name)[before:] if runs else []:
        turn.step(known.name, lambda step: wishes.start(step, plan.by))
    stop_beyond(turn, name, count, "stopped: the configuration wants fewer")


def _number_differs(old: Program, new: Program) -> bool:
    return (old.replicas, old.autoscale) != (new.replicas, new.autoscale)


def _see_out(turn: Turn, name: str, plan: Rolling) -> bool:
    """Who stands in stays until those that were replaced are ready."""
    roster = turn.roster
    for slot in (*plan.current, *plan.done):
        known = roster.replicas.get(slot)
        missed = known is not None and rolling.counts(known) and not known.ready
        if missed and rolling.ready(plan.stand_ins, roster.replicas.get):
            return False
    del roster.own.rolling[name]
    roster.remember()
    _dismiss(turn, plan.stand_ins, f"stopped: the reload of {name} is over")
    roster.wake[name] = None
    return True


def _dismiss_unfit(turn: Turn, plan: Rolling, why: str) -> None:
    """Who is not ready makes up for nobody."""
    look = turn.roster.replicas.get
    unfit = [slot for slot in plan.stand_ins if not rolling.ready([slot], look)]
    plan.stand_ins = [slot for slot in plan.stand_ins if slot not in unfit]
    _dismiss(turn, unfit, f"stopped: {why}")


def _dismiss(turn: Turn, slots: Iterable[str], why: str) -> None:
    for slot in slots:
        known = turn.roster.replicas.get(slot)
        if known is not None:
            turn.step(slot, lambda step: wishes.stop(step, why, gently=True))
            turn.roster.wake[known.program] = None
