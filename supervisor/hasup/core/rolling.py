"""A rolling restart of one program: what is left to do, and what follows from how its replicas stand. Pure.

With ``max_unavailable = 0``, where the program can run beside itself, a stand-in (a replica beyond the program's
number) is started first. It shows whether the new version becomes ready at all, and then makes up for the one that is
being replaced; at the end it goes. No replica changes its name or number. See docs/decisions/0006.
"""

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from hasup.core import schedule
from hasup.model.spec import Program
from hasup.model.state import AT_REST, Replica, State

Look = Callable[[str], Replica | None]
_FAILED = frozenset({State.BACKOFF, State.FAILED, State.COMPLETED})


class Rolling(msgspec.Struct, omit_defaults=True):
    """One program's; see the module. A generation is the one that a replica had before it was asked to begin anew."""

    left: list[str]  # not replaced yet
    by: str
    current: dict[str, int] = {}  # being replaced, with their generations
    done: list[str] = []
    stand_ins: list[str] = []
    first: str | None = None  # the stand-in that has to become ready before anything else is touched
    passed: bool = False  # it did, or none is needed
    others: list[Program] = []  # what the program is to leave behind; the first is what it may go back to
    runs: dict[str, int] = {}  # who does not run what is in force, but which of ``others``
    returns: bool = False  # there is something to go back to
    held: int | None = None  # so many replicas until the end, when the new configuration wants another number
    back: str | None = None  # it is being rolled back, for this reason
    over: str | None = None  # it has ended for this reason; stand-ins stay until those replaced are ready
    trouble: str | None = None  # it goes on trying in spite of this


def beside_itself(program: Program, count: int) -> bool:
    """Whether one more of this program, which has ``count`` replicas, can run beside those that there are.

    It is known to be able to when it is given its own free port or a shared socket, or has no port and several
    replicas. A number as port, or no port and one replica (it may use a port or a file of its own), speaks against it.
    """
    if program.internal or program.kind == "task" or isinstance(program.port, int):
        return False
    shares = program.listen is not None and program.listen.mode == "share"
    return shares or program.port == "auto" or (program.listen is None and count > 1)


def stands_in(program: Program, count: int) -> bool:
    """Whether a reload of this program starts the new one first."""
    return program.reload.max_unavailable == 0 and beside_itself(program, count)


def most_unavailable(program: Program, count: int) -> int:
    """So many replicas may be unavailable because of a reload."""
    return 0 if stands_in(program, count) else max(1, program.reload.max_unavailable)


def other(rolling: Rolling, known: Replica, generation: int) -> Program | None:
    """What this generation of a replica runs, when that is not what is in force."""
    if known.name not in rolling.runs or generation > rolling.current.get(known.name, generation):
        return None
    return rolling.others[rolling.runs[known.name]]


def still_runs(rolling: Rolling, known: Replica | None) -> bool:
    """Whether a replica that ran another version has one of that yet, or is to be started with it again."""
    if known is None or known.name in rolling.done or other(rolling, known, known.generation) is None:
        return False
    return known.pid is not None or known.spawning or counts(known)


def changed(before: Rolling | None, old: Program, slots: Iterable[str]) -> tuple[list[Program], dict[str, int]]:
    """``others`` and ``runs`` when the configuration in force was ``old`` until now; ``slots`` run something."""
    if before is None:
        return [old], dict.fromkeys(slots, 0)
    if before.returns and before.back is None and before.over is None:  # ``old`` was on its way, and never taken over
        return [*before.others, old], {slot: before.runs.get(slot, len(before.others)) for slot in slots}
    return [old, *before.others], {slot: before.runs[slot] + 1 if slot in before.runs else 0 for slot in slots}


def turned_back(rolling: Rolling, rejected: Program, slots: Iterable[str]) -> tuple[list[Program], dict[str, int]]:
    """``others`` and ``runs`` when the first of the others is in force again."""
    runs = {slot: rolling.runs.get(slot, -1) for slot in slots}
    back = {slot: max(0, index) for slot, index in runs.items() if index != 0}
    return [rejected, *rolling.others[1:]], back


def for_standing_in(program: Program) -> Program:
    """The program without what would carry the failure of a replica further than that replica."""
    return replace(program, essential=False, restart=replace(program.restart, limit=0, on_limit="retry"))


def counts(known: Replica | None) -> bool:
    """Whether somebody wants it and it lives or is about to: others, a reload has nothing to do with."""
    return known is not None and known.wanted and known.state not in AT_REST and known.state is not State.WAITING


def progress(known: Replica | None, generation: int) -> str:
    """How far the replacing of one replica is.

    ``done``: its successor is ready, or it needs none any more; ``wait``; ``failed``: its successor did not become
    ready; ``again``: nobody told it, since a core died when only a part of its frame had been sent.
    """
    if known is None or not known.wanted:
        return "done"  # stopped or scaled away meanwhile: that was somebody's wish
    if known.state is State.COMPLETED or schedule.idles(known):
        return "done"  # a task needs no replacing
    if known.state is State.FAILED:
        return "failed"
    if known.generation <= generation:
        return "again" if known.state in (State.STARTING, State.RUNNING) else "wait"
    if known.state is State.BACKOFF:
        return "failed"
    return "done" if known.ready else "wait"


def failed(rolling: Rolling, look: Look) -> Replica | None:
    """One of the new version that failed: a stand-in, one being replaced, or one that was ready before."""
    for slot, generation in rolling.current.items():
        if progress(look(slot), generation) == "failed":
            return look(slot)
    for slot in (*rolling.stand_ins, *rolling.done):
        known = look(slot)
        stopped = known is not None and not known.wanted and slot in rolling.stand_ins
        if known is not None and (stopped or (known.wanted and known.state in _FAILED)):
            return known
    return None


def unavailable(rolling: Rolling, look: Look) -> int:
    """How many of the program's replicas, those that stand in made up for, take no work now."""
    concerned = [look(slot) for slot in dict.fromkeys((*rolling.left, *rolling.current, *rolling.done))]
    missing = sum(known is not None and counts(known) and not known.ready for known in concerned)
    return missing - ready(rolling.stand_ins, look)


def ready(slots: Iterable[str], look: Look) -> int:
    """How many of these are ready."""
    return sum(known.ready for slot in slots if (known := look(slot)) is not None)


def next_one(rolling: Rolling, look: Look, most: int) -> str | None:
    """The next to be replaced, those first that take no work anyway; None while none may be."""
    if len(rolling.current) >= max(1, most):
        return None
    for slot in rolling.left:
        known = look(slot)
        if known is not None and not known.ready:
            return slot
    return rolling.left[0] if rolling.left and unavailable(rolling, look) < most else None
