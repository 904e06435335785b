"""More or fewer replicas while everything runs: as an operator says, or as their load needs."""

from collections.abc import Mapping

from hasup.core import wishes
from hasup.core.autoscale import Load, Memory, Places, decide
from hasup.core.fates import stop_beyond
from hasup.core.roster import Roster
from hasup.core.turn import Turn
from hasup.model.actions import Note
from hasup.model.events import LoadMeasured
from hasup.model.state import AT_REST, Replica
from hasup.model.status import AutoscaleStatus

_FOR_LOAD = "hasup, for its load"


def scale(turn: Turn, name: str, count: int | None, by: str) -> None:
    """Let a program have so many replicas from now on; None: as many as its load needs, by the file."""
    roster = turn.roster
    if name not in roster.programs:
        return
    program = roster.programs[name]
    bounds, before = program.autoscale, program.replicas
    if count is not None:
        roster.own.scale[name] = count
        held = f"; held there until: hasup scale {name}=auto" if bounds is not None else ""
        _resize(turn, name, count, f"scaled from {before} to {count} by {by}{held}", by)
    elif bounds is not None and roster.own.scale.pop(name, None) is not None:
        _resize(turn, name, bounds.bounded(before), f"scaled by its load again, from {before}, as {by} asked", by)


def measured(turn: Turn, event: LoadMeasured) -> None:
    """The load of a program was measured: it may need more replicas, or fewer."""
    roster = turn.roster
    program, name = roster.programs.get(event.program), event.program
    bounds = program.autoscale if program is not None else None
    if program is None or bounds is None:
        return
    if name in roster.own.scale or name in roster.own.rolling:
        roster.looks.pop(name, None)  # what was seen before says nothing of later
        return
    replicas = roster.of(name)
    places = Places(program.replicas, sum(not known.wanted or known.state in AT_REST for known in replicas))
    loads = {"cpu": _load(replicas, event.cpu), "connections": _load(replicas, event.connections)}
    before = roster.looks.get(name, Memory())
    roster.looks[name], decision = decide(bounds, before, places, loads, turn.now)
    if decision is not None and decision.count != places.count:
        _resize(turn, name, decision.count, decision.reason, _FOR_LOAD)
    elif decision is not None:
        roster.own.scaled_for[name] = decision.reason
        roster.remember()
        turn.actions.append(Note("scale-limited", decision.reason, name))


def status(roster: Roster, name: str) -> AutoscaleStatus | None:
    """How a program stands that is scaled by its load; None for any other."""
    program = roster.programs[name]
    bounds = program.autoscale
    if bounds is None:
        return None
    ready = sum(known.ready for known in roster.of(name))
    averages = roster.looks[name].averages if ready and name in roster.looks else {}
    each = {kind: round(average.value / ready, 1) for kind, average in averages.items()}
    return AutoscaleStatus(
        replicas=program.replicas,
        min=bounds.min,
        max=bounds.max,
        held=name in roster.own.scale,
        cpu_percent=each.get("cpu"),
        connections=each.get("connections"),
        reason=roster.own.scaled_for.get(name, ""),
    )


def _load(replicas: list[Replica], each: Mapping[str, float]) -> Load:
    """Of those that are ready: what one uses while it starts is not its load."""
    known = [each[one.name] for one in replicas if one.ready and one.wanted and one.name in each]
    return Load(sum(known), len(known))


def _resize(turn: Turn, name: str, count: int, why: str, by: str) -> None:
    """Drains before it stops, where something forwards connections."""
    roster = turn.roster
    before = roster.programs[name].replicas
    if name in roster.own.rolling:
        roster.own.rolling[name].held = None  # nor does the end of a reload change it
    if roster.programs[name].autoscale is not None:
        roster.own.scaled_for[name] = why
    roster.remember()
    added = roster.resize(name, count)
    turn.actions.append(Note("scale", why, name, {"from": before, "to": count}))
    back = [f"{name}.{index}" for index in range(before + 1, count + 1)]  # also one that is still being stopped
    for slot in dict.fromkeys([*added, *back]):
        turn.step(slot, lambda step: wishes.start(step, by))
    stop_beyond(turn, name, count, f"stopped by {by}, {'who' if by != _FOR_LOAD else 'which'} scaled {name} to {count}")
