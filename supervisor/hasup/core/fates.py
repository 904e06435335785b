"""What the end of one replica means to others: those that wait for it, its groups, those restarted with it."""

from collections.abc import Iterable

from hasup.core import groups, replica, schedule, wishes
from hasup.core.turn import Turn
from hasup.model.actions import Forget
from hasup.model.spec import Group
from hasup.model.state import AT_REST, State

ALIVE = frozenset({State.STARTING, State.RUNNING})


def changed(turn: Turn, name: str) -> None:
    """A program changed: others may have waited for just that, and it may wait for something else than before."""
    roster = turn.roster
    for other in (*roster.plan.dependants(name), *([name] if name in roster.programs else [])):
        for waiting in roster.waiting(other):
            turn.step(waiting.name, lambda step: replica.launch(step, "what it waited for is there"))
    program = roster.programs.get(name)
    if program is not None and program.schedule is not None:
        for known in roster.of(name):
            turn.step(known.name, schedule.go_on)
    if program is not None and program.owner in roster.programs:
        if not roster.is_served(program.owner):
            _give_up_draining(turn, program.owner)
        if roster.drains(program.owner) is None:
            _stop_served(turn, program.owner, name)
    _remove_surplus(turn, name)


def _stop_served(turn: Turn, owner: str, server: str) -> None:
    """What served a program has ended: the turn of its replicas that were to be stopped after it."""
    if turn.roster.own.ending is not None:
        return
    for held in [*turn.roster.of(owner), *turn.roster.beyond(owner, turn.roster.programs[owner].replicas)]:
        if not held.wanted and held.state in ALIVE:
            turn.step(held.name, lambda step: wishes.stop(step, f"stopped: {server} has drained its connections"))


def _give_up_draining(turn: Turn, owner: str) -> None:
    """What forwarded connections has ended, and they with it: nobody will say that there are none left."""
    for held in [*turn.roster.of(owner), *turn.roster.beyond(owner, turn.roster.programs[owner].replicas)]:
        if held.draining:
            turn.step(held.name, replica.drained)


def _remove_surplus(turn: Turn, name: str) -> None:
    """Slots beyond the number wanted go when they are at rest; a program that is not configured, with its last one."""
    roster = turn.roster
    if name not in roster.programs:
        return
    for surplus in roster.beyond(name, roster.programs[name].replicas):
        if roster.stands_in(surplus):
            continue
        if surplus.state in AT_REST:
            roster.remove(surplus.name)
            turn.actions.append(Forget(surplus.name))
        elif surplus.wanted:  # an earlier core did not come to it
            wishes.stop_in_turn(turn, surplus.name, "stopped: it was scaled away")
    if name not in roster.config.programs and not roster.beyond(name, 0):
        del roster.programs[name]


def stop_beyond(turn: Turn, name: str, count: int, why: str) -> None:
    """Stop the replicas of a program beyond so many, the last one first, but for those that stand in."""
    for known in turn.roster.beyond(name, count):
        if not turn.roster.stands_in(known):
            wishes.stop_in_turn(turn, known.name, why)


def restarted(turn: Turn, slot: str) -> None:
    """A replica is being restarted: so are those that asked to be restarted with it."""
    known = turn.roster.replicas[slot]
    if known.state in AT_REST:
        return  # its group gave up meanwhile
    for other in [] if turn.roster.stands_in(known) else turn.roster.plan.dependants(known.program):
        if turn.roster.programs[other].depends_on[known.program].restart:
            _restart_all(turn, other, f"restarted, since {slot} was")
    if known.state is State.BACKOFF:
        turn.step(slot, replica.due)  # without delay it starts now


def failed(turn: Turn, slot: str) -> None:
    """A replica failed and will be restarted: its groups count it, and take others along."""
    known = turn.roster.replicas[slot]
    name = known.program
    for group in turn.roster.config.groups.values():
        if name in group.programs and not turn.roster.stands_in(known):
            _group_failed(turn, group, slot, name)


def _group_failed(turn: Turn, group: Group, slot: str, name: str) -> None:
    own = turn.roster.own
    too_many = False
    if group.limit:
        recent, too_many = groups.over_limit(group, own.group_history.get(group.name, ()), turn.now)
        own.group_history[group.name] = recent
        turn.roster.remember()
    if too_many and group.on_limit != "retry":
        why = f"gave up: group {group.name} had more than {group.limit} restarts within {group.window:g} s"
        own.group_history.pop(group.name, None)  # whoever starts it again begins anew
        _give_up(turn, group, why)
        return
    if too_many:
        turn.step(slot, wishes.slow_down)
    if group.strategy != "one-for-one":
        turn.step(slot, lambda step: step.set(along=group.name))
    for other in groups.taken_along(group, name):
        _restart_all(turn, other, f"restarted with {slot} ({group.strategy} of {group.name})", group.name)


def _give_up(turn: Turn, group: Group, why: str) -> None:
    if group.on_limit == "shutdown":
        turn.shutdowns.append(why)
        return
    for slot in [known.name for name in group.programs for known in turn.roster.of(name)]:
        turn.step(slot, lambda step: wishes.give_up(step, why))


def _restart_all(turn: Turn, name: str, why: str, along: str | None = None) -> None:
    for slot in _alive(turn, name):
        turn.step(slot, lambda step: wishes.restart_now(step, why, along=along))


def _alive(turn: Turn, name: str) -> Iterable[str]:
    return [known.name for known in turn.roster.of(name) if known.state in ALIVE and known.wanted]
