"""What timelines amount to: availability, failures, MTBF and MTTR, and the error budget."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from hasup.core.availability import Estimate, availability, burn_rate, mtbf, mttr
from hasup.report.model import IS_UP, PHASES, Mode, Outage, Timeline

HOUR: Final = 3600.0
WINDOWS: Final = {"1h": HOUR, "6h": 6 * HOUR}

Figures = dict[str, Any]


def failures(timeline: Timeline) -> list[Outage]:
    """The failures whose beginning was seen."""
    since = timeline.segments[0].start if timeline.segments else 0.0
    return [one for one in timeline.outages if not one.planned and one.seen and one.start >= since]


def planned_stops(timeline: Timeline) -> int:
    """How often it was up and then was stopped, restarted or reloaded as somebody asked."""
    stretches = pairwise(timeline.segments)
    return sum(one.mode in IS_UP and after.mode in (Mode.STARTING, Mode.STOPPED) for one, after in stretches)


def figures(timeline: Timeline) -> Figures:
    """Availability and what belongs to it; null where there is nothing to estimate from."""
    up, down = timeline.seconds(*IS_UP), timeline.seconds(Mode.DOWN)
    failed = failures(timeline)
    share = availability(up, down, len(failed))
    repaired = [one for one in failed if one.repaired and one.end is not None]
    return {
        "availability": rounded(share.value, 9),
        "availability_90": {"low": rounded(share.low, 9), "high": rounded(share.high, 9)},
        "failures": len(failed),
        "mtbf_s": _estimate(mtbf(up, len(failed))),
        "mttr_s": _estimate(mttr(sum((one.end or 0.0) - one.start for one in repaired), len(repaired))),
        "planned_stops": planned_stops(timeline),
        "seconds": {mode.value: rounded(timeline.seconds(mode), 3) for mode in Mode},
    }


def replica_figures(timeline: Timeline) -> Figures:
    """As :func:`figures`, with the parts of the repair time, and the results of what failed."""
    repaired = [one for one in failures(timeline) if one.repaired]
    parts = {
        phase: _estimate(mttr(sum(dict(one.phases).get(phase, 0.0) for one in repaired), len(repaired)))
        for phase in PHASES
    }
    return figures(timeline) | {
        "mttr_parts_s": parts,
        "failed_starts": sum(one.starts for one in timeline.outages if not one.planned),
        "results": _counted([one.result or "not-ready" for one in failures(timeline)]),
    }


def budget(timeline: Timeline, objective: float | None) -> Figures | None:
    """The error budget for an objective in percent: seconds allowed and spent, and burn rates; None without one."""
    if objective is None:
        return None
    observed = timeline.seconds(Mode.DOWN, *IS_UP)
    down = timeline.seconds(Mode.DOWN)
    allowed = observed * (1 - objective / 100)
    until = timeline.segments[-1].end if timeline.segments else 0.0
    return {
        "objective_percent": objective,
        "allowed_s": rounded(allowed, 3),
        "spent_s": rounded(down, 3),
        "left": rounded(1 - down / allowed, 6) if allowed > 0 else None,
        "burn_rate": {name: _burn(since(timeline, until - window), objective) for name, window in WINDOWS.items()},
    }


def since(timeline: Timeline, start: float) -> Timeline:
    """The part of a timeline after ``start``, without its outages."""
    return Timeline(tuple(s._replace(start=max(s.start, start)) for s in timeline.segments if s.end > start))


def rounded(value: float | None, digits: int) -> float | None:
    """``value`` with so many digits; None stays None."""
    return None if value is None else round(value, digits)


def _burn(timeline: Timeline, objective: float) -> float | None:
    down = timeline.seconds(Mode.DOWN)
    observed = down + timeline.seconds(*IS_UP)
    return rounded(burn_rate(down / observed, objective), 4) if observed > 0 else None


def _estimate(estimate: Estimate) -> Figures:
    return {name: rounded(getattr(estimate, name), 3) for name in ("value", "low", "high")}


def _counted(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}
