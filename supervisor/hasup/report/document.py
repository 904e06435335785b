"""The document of ``hasup report --json``: replicas, programs and the system, from a history."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hasup.report import joint
from hasup.report.figures import budget, figures, replica_figures, rounded, share
from hasup.report.model import Mode, Segment, Timeline
from hasup.report.timeline import History


class Wanted(NamedTuple):
    """What is to be known of a program's configuration."""

    name: str
    need: int = 1
    objective: float | None = None
    task: bool = False
    needs: tuple[str, ...] = ()  # the programs that it depends on, directly


class Lines(NamedTuple):
    """The timelines of everything."""

    replicas: Mapping[str, Mapping[str, Timeline]]  # by program, then by replica
    programs: Mapping[str, Timeline]
    system: Timeline
    counted: tuple[str, ...]  # the programs that make up the system


def lines(history: History, programs: Sequence[Wanted], since: float, until: float) -> Lines:
    """Put the replicas' timelines together."""
    nothing = Timeline((Segment(since, until, Mode.UNOBSERVED),) if until > since else ())
    replicas: dict[str, dict[str, Timeline]] = {program.name: {} for program in programs}
    for name in sorted(history.replicas, key=_by_number):
        owner = name.rpartition(".")[0]
        if owner in replicas:
            replicas[owner][name] = history.replicas[name]
    together = {p.name: joint.program(list(replicas[p.name].values()) or [nothing], p.need) for p in programs}
    counted = tuple(p.name for p in programs if not p.task)
    system = joint.series([together[name] for name in counted] or [nothing])
    return Lines(replicas, together, system, counted)


def document(
    found: Lines, programs: Sequence[Wanted], history: History, since: float, until: float, iso: Callable[[float], str]
) -> dict[str, Any]:
    """Everything in figures. ``iso`` writes a time. Seconds, and null where there is nothing to estimate from."""
    shown = [_program(found, program, programs) for program in programs]
    known = {one["name"]: one["availability"] for one in shown}
    return {
        "since": iso(since),
        "until": iso(until),
        "system": figures(found.system)
        | {
            "computed": "measured: all programs but tasks are needed at the same time",
            "programs": list(found.counted),
            "if_independent": _product([known[name] for name in found.counted]),
        },
        "programs": shown,
        "hasup": {"core_restarts": len(history.core_restarts)},
    }


def _program(found: Lines, program: Wanted, programs: Sequence[Wanted]) -> dict[str, Any]:
    timeline = found.programs[program.name]
    replicas = found.replicas[program.name]
    chain = _chain(program.name, {p.name: p.needs for p in programs})
    with_needed = joint.series([found.programs[name] for name in chain]) if len(chain) > 1 else timeline
    return {
        "name": program.name,
        "need": program.need,
        "kind": "task" if program.task else "service",
        **figures(timeline),
        "with_dependencies": {"programs": chain, "availability": rounded(share(with_needed), 9)},
        "budget": budget(timeline, program.objective),
        "replicas": [{"name": name, **replica_figures(one)} for name, one in replicas.items()],
    }


def _chain(name: str, needs: Mapping[str, Sequence[str]]) -> list[str]:
    """A program and all that it depends on, also indirectly."""
    found: dict[str, None] = {}
    left = [name]
    while left:
        one = left.pop()
        if one in needs and one not in found:
            found[one] = None
            left += needs[one]
    return list(found)


def _product(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return rounded(math.prod(known), 9) if known else None


def _by_number(name: str) -> tuple[str, int]:
    program, _, number = name.rpartition(".")
    return program, int(number) if number.isdigit() else 0
