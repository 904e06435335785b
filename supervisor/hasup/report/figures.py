"""What timelines amount to: availability, failures, MTBF and MTTR, and the error budget."""

from bisect import bisect_right
from collections import Counter
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


def share(timeline: Timeline) -> float | None:
    """The share of time up, of what counts; None where nothing does."""
    seconds = timeline.totals()
    up = seconds[Mode.UP] + seconds[Mode.DEGRADED]
    return up / (up + seconds[Mode.DOWN]) if up + seconds[Mode.DOWN] > 0 else None


def figures(timeline: Timeline) -> Figures:
    """Availability and what belongs to it; null where there is nothing to estimate from."""
    seconds = timeline.totals()
    up, down = seconds[Mode.UP] + seconds[Mode.DEGRADED], seconds[Mode.DOWN]
    failed = failures(timeline)
    estimate = availability(up, down, len(failed))
    repaired = [one for one in failed if one.repaired and one.end is not None]
    return {
        "availability": rounded(estimate.value, 9),
        "availability_90": {"low": rounded(estimate.low, 9), "high": rounded(estimate.high, 9)},
        "failures": len(failed),
        "mtbf_s": _estimate(mtbf(up, len(failed))),
        "mttr_s": _estimate(mttr(sum((one.end or 0.0) - one.start for one in repaired), len(repaired))),
        "planned_stops": planned_stops(timeline),
        "seconds": {mode.value: rounded(length, 3) for mode, length in seconds.items()},
    }


def replica_figures(timeline: Timeline) -> Figures:
    """As :func:`figures`, with the parts of the repair time, and the results of what failed."""
    failed = failures(timeline)
    repaired = [one for one in failed if one.repaired]
    spent = dict.fromkeys(PHASES, 0.0)
    for one in repaired:
        for phase, length in one.phases:
            spent[phase] += length
    parts = {phase: _estimate(mttr(length, len(repaired))) for phase, length in spent.items()}
    return figures(timeline) | {
        "mttr_parts_s": parts,
        "failed_starts": sum(one.starts for one in timeline.outages if not one.planned),
        "results": dict(sorted(Counter(one.result or "not-ready" for one in failed).items())),
    }


def budget(timeline: Timeline, objective: float | None) -> Figures | None:
    """The error budget for an objective in percent: seconds allowed and spent, and burn rates; None without one."""
    if objective is None:
        return None
    seconds = timeline.totals()
    down = seconds[Mode.DOWN]
    observed = down + seconds[Mode.UP] + seconds[Mode.DEGRADED]
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
    first = bisect_right(timeline.segments, start, key=lambda segment: segment.end)
    return Timeline(tuple(s._replace(start=max(s.start, start)) for s in timeline.segments[first:]))


def rounded(value: float | None, digits: int) -> float | None:
    """``value`` with so many digits; None stays None."""
    return None if value is None else round(value, digits)


def _burn(timeline: Timeline, objective: float) -> float | None:
    down = timeline.seconds(Mode.DOWN)
    observed = down + timeline.seconds(*IS_UP)
    return rounded(burn_rate(down / observed, objective), 4) if observed > 0 else None


def _estimate(estimate: Estimate) -> Figures:
    return {name: rounded(getattr(estimate, name), 3) for name in ("value", "low", "high")}
