"""Several timelines as one: a program out of its replicas, the system out of its programs.

They are laid side by side and judged moment by moment, so nothing is assumed of how failures depend on one another.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Final

from hasup.report.model import IS_UP, Mode, Outage, Segment, Timeline

Judge = Callable[[Mapping[Mode, int]], Mode]
_start: Final = itemgetter(0)


def program(replicas: Sequence[Timeline], need: int) -> Timeline:
    """Up while ``need`` of its replicas are ready: of those that are wanted, if these are fewer.

    Planned, while it would be up but for replicas that are being started or restarted as planned.
    """
    return _together(replicas, lambda modes: _k_of_n(modes, need))


def series(parts: Sequence[Timeline]) -> Timeline:
    """Up while all are up; those that are stopped or unobserved do not count then."""
    return _together(parts, _all_needed)


def _k_of_n(modes: Mapping[Mode, int], need: int) -> Mode:
    up = modes[Mode.UP] + modes[Mode.DEGRADED]
    present = up + modes[Mode.STARTING] + modes[Mode.DOWN]
    if present == 0:
        return Mode.STOPPED if modes[Mode.STOPPED] else Mode.UNOBSERVED
    if up >= min(need, present):
        return Mode.DEGRADED if modes[Mode.DEGRADED] or modes[Mode.DOWN] else Mode.UP
    return Mode.STARTING if up + modes[Mode.STARTING] >= min(need, present) else Mode.DOWN


def _all_needed(modes: Mapping[Mode, int]) -> Mode:
    for mode in (Mode.DOWN, Mode.STARTING, Mode.DEGRADED, Mode.UP, Mode.STOPPED):
        if modes[mode]:
            return mode
    return Mode.UNOBSERVED


def _together(parts: Sequence[Timeline], judge: Judge) -> Timeline:
    segments = _segments(parts, judge)
    causes = [outage for part in parts for outage in part.outages if not outage.planned]
    causes.sort(key=_start)
    return Timeline(tuple(segments), tuple(_outages(segments, causes)))


def _segments(parts: Sequence[Timeline], judge: Judge) -> list[Segment]:
    """What all together are, from each change of one of them to the next."""
    changes = [(start, i, mode) for i, part in enumerate(parts) for start, _, mode in part.segments]
    changes.sort(key=_start)
    until = max((part.segments[-1].end for part in parts if part.segments), default=0.0)
    modes = dict.fromkeys(Mode, 0)
    now: list[Mode | None] = [None] * len(parts)
    found: list[Segment] = []
    at, shown = (changes[0][0] if changes else until), Mode.UNOBSERVED
    begun = at
    for start, i, mode in [*changes, (until, 0, None)]:
        if start > at:
            judged = judge(modes)
            if judged is not shown:
                if at > begun:
                    found.append(Segment(begun, at, shown))
                begun, shown = at, judged
            at = start
        before, now[i] = now[i], mode
        if mode is not None:
            modes[mode] += 1
        if before is not None:
            modes[before] -= 1
    if until > begun:
        found.append(Segment(begun, until, shown))
    return found


def _outages(segments: Sequence[Segment], causes: Sequence[Outage]) -> list[Outage]:
    """Each stretch down is one; its reason is that of the part which failed last before it."""
    found: list[Outage] = []
    last: Outage | None = None
    rest = iter(causes)
    ahead = next(rest, None)
    for n, (start, end, mode) in enumerate(segments):
        if mode is not Mode.DOWN:
            continue
        while ahead is not None and ahead.start <= start:
            last, ahead = ahead, next(rest, None)
        following = segments[n + 1].mode if n + 1 < len(segments) else None
        found.append(
            Outage(
                start,
                None if following is None else end,
                last.reason if last is not None else "",
                last.result if last is not None else None,
                repaired=following in IS_UP,
                seen=n > 0 and segments[n - 1].mode is not Mode.UNOBSERVED,
            )
        )
    return found
