"""Another configuration while everything runs."""

from msgspec.structs import replace

from hasup.core import rolling, rolls, schedule, signs, wishes
from hasup.core.diff import Difference, difference
from hasup.core.fates import stop_beyond
from hasup.core.step import Step
from hasup.core.turn import Turn
from hasup.model.spec import Config, Program
from hasup.model.state import Result


def apply(turn: Turn, config: Config, by: str) -> Difference:
    """Go over to another configuration: only what differs is touched."""
    roster = turn.roster
    found = difference(roster.config, config)
    before = dict(roster.config.programs)
    rolled = {name for name in found.changed if _can_roll(turn, found, before[name], config.programs[name])}
    programs = dict(config.programs)
    for name, program in roster.programs.items():  # what is removed stays known until its replicas are gone
        programs.setdefault(name, replace(program, replicas=0, depends_on={}))
    for name in config.programs:
        if name in rolled:
            programs[name] = replace(programs[name], replicas=roster.programs[name].replicas)
            continue
        if any(change.option.partition(".")[0] == "replicas" for change in found.changed.get(name, ())):
            roster.own.scale.pop(name, None)
            roster.looks.pop(name, None)
        count = roster.number(programs[name], roster.programs[name].replicas if name in roster.programs else 0)
        programs[name] = replace(programs[name], replicas=count)
    places = {name: roster.programs[name].replicas for name in before}
    roster.configure(config, programs)
    roster.remember()
    for name in found.removed:
        for known in (roster.own.scaled, roster.own.scaled_for, roster.looks):
            known.pop(name, None)
        rolls.forget(turn, name)
        stop_beyond(turn, name, 0, "stopped: it is not in the configuration any more")
    for name in (*found.added, *found.changed):
        if name in rolled:
            rolls.begin_changed(turn, name, before[name], by)
        else:
            _carry_over(turn, name, places.get(name, 0), restarted=name in found.restarted())
    roster.wake.update(dict.fromkeys(programs))
    return found


def _can_roll(turn: Turn, found: Difference, old: Program, new: Program) -> bool:
    """Whether the replicas of a changed program are replaced one after the other, and may go back.

    Not so when none is ready, so that there is nothing to lose; nor when its socket changes.
    """
    roster = turn.roster
    if old.name not in found.restarted() and old.name not in roster.own.rolling:
        return False
    services = old.kind == new.kind == "service" and not old.internal
    return services and old.listen == new.listen and any(r.ready and rolling.counts(r) for r in roster.of(old.name))


def _carry_over(turn: Turn, name: str, places: int, *, restarted: bool) -> None:
    """It had ``places`` for replicas: what was beyond these is on its way out, and comes back like a new one."""
    roster = turn.roster
    if restarted:
        rolls.forget(turn, name)
    program = roster.programs[name]
    there = [known for known in roster.of(name) if known.index <= places]
    wanted = any(known.wanted for known in there) if there else program.autostart
    roster.resize(name, program.replicas)
    stop_beyond(turn, name, program.replicas, "stopped: the configuration wants fewer")
    for known in roster.of(name):
        if restarted and known.wanted and not schedule.idles(known):
            turn.step(known.name, _replace)
        elif wanted and known.index > places:
            turn.step(known.name, lambda step: wishes.start(step, "hasup reload"))
        else:
            turn.step(known.name, signs.unprobed)
        turn.step(known.name, schedule.changed)


def _replace(step: Step) -> None:
    wishes.restart_now(step, "restarted: its configuration changed", Result.RELOAD)
