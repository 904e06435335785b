"""A timeline as a row of cells, as on a status page."""

from typing import Final

from hasup.report.model import Mode, Timeline

WORST: Final = (Mode.DOWN, Mode.DEGRADED, Mode.STARTING, Mode.UP, Mode.STOPPED, Mode.UNOBSERVED)
_RANK: Final = {mode: rank for rank, mode in enumerate(WORST)}


def cells(timeline: Timeline, count: int) -> list[Mode]:
    """So many equal parts of its time, each with the worst of what it was in that part: no outage is too short."""
    if not timeline.segments or count <= 0:
        return [Mode.UNOBSERVED] * count
    since, until = timeline.segments[0].start, timeline.segments[-1].end
    width = (until - since) / count
    found = [Mode.UNOBSERVED] * count
    for start, end, mode in timeline.segments:
        first = min(count - 1, int((start - since) / width))
        last = min(count - 1, int((end - since) / width))
        if last > first and since + last * width >= end:  # it ends where that cell begins
            last -= 1
        for i in range(first, last + 1):
            if _RANK[mode] < _RANK[found[i]]:
                found[i] = mode
    return found


def shares(timeline: Timeline) -> dict[Mode, float]:
    """Which part of the time it was what; only what it ever was."""
    whole = sum(segment.end - segment.start for segment in timeline.segments)
    return {mode: timeline.seconds(mode) / whole for mode in Mode if whole and timeline.seconds(mode)}
