"""Rolling restarts under way."""

from collections.abc import Iterable

from hasup.core import rolling, wishes
from hasup.core.fates import ALIVE
from hasup.core.rolling import Rolling
from hasup.core.turn import Turn
from hasup.model.actions import Note
from hasup.model.state import Result


def begin(turn: Turn, slots: Iterable[str], by: str) -> None:
    """Replace these one by one; what does not run is left to start by itself."""
    roster = turn.roster
    asked = list(slots)
    for slot in asked:
        known = roster.replicas[slot]
        serves = roster.programs[known.program].internal and len(asked) > 1  # what serves a program goes on meanwhile
        if known.state in ALIVE and not serves:
            plan = roster.own.rolling.setdefault(known.program, Rolling([], by))
            if slot not in plan.left:
                plan.left.append(slot)
    roster.remember()


def go_on(turn: Turn) -> bool:
    """Take the next steps; true when there was one to take."""
    own = turn.roster.own
    went_on = False
    for name, plan in list(own.rolling.items()):
        state = rolling.verdict(plan, turn.roster.replicas.get(plan.current or ""))
        if own.ending is not None or state == "failed":
            _give_up(turn, name, plan, told=own.ending is None)
        elif state != "wait":
            if state == "again" and plan.current is not None:
                plan.left.insert(0, plan.current)
            _next(turn, name, plan)
            went_on = True
    return went_on


def _give_up(turn: Turn, name: str, plan: Rolling, *, told: bool) -> None:
    del turn.roster.own.rolling[name]
    turn.roster.remember()
    if told:
        reason = f"{plan.current} did not become ready; {len(plan.left)} replicas were left as they were"
        turn.actions.append(Note("reload-failed", reason, name))


def _next(turn: Turn, name: str, plan: Rolling) -> None:
    turn.roster.remember()
    if not plan.left:
        del turn.roster.own.rolling[name]
        turn.actions.append(Note("reloaded", f"all replicas were replaced one by one, as {plan.by} asked", name))
        return
    plan.current = plan.left.pop(0)
    known = turn.roster.replicas.get(plan.current)
    plan.generation = known.generation if known is not None else 0
    if known is None or known.state not in ALIVE or not known.wanted:
        plan.current = None  # it went away before its turn
        return
    turn.step(plan.current, lambda step: wishes.restart_now(step, f"reloaded by {plan.by}", Result.RELOAD))
