"""A timeline as a row of cells, as on a status page."""

from typing import Final

from hasup.report.model import Mode, Timeline

WORST: Final = (Mode.DOWN, Mode.DEGRADED, Mode.STARTING, Mode.UP, Mode.STOPPED, Mode.UNOBSERVED)
_RANK: Final = {mode: rank for rank, mode in enumerate(WORST)}


def cells(timeline: Timeline, count: int) -> list[Mode]:
    """So many equal parts of its time, each with the worst of what it was in that part: no outage is too short."""
    return [min(part, key=_RANK.__getitem__, default=Mode.UNOBSERVED) for part in parts(timeline, count)]


def parts(timeline: Timeline, count: int) -> list[dict[Mode, float]]:
    """So many equal parts of its time, and for which share of each it was what."""
    found: list[dict[Mode, float]] = [{} for _ in range(count)]
    if not timeline.segments or count <= 0:
        return found
    since, until = timeline.segments[0].start, timeline.segments[-1].end
    width = (until - since) / count
    for start, end, mode in timeline.segments:
        first = min(count - 1, int((start - since) / width))
        last = min(count - 1, int((end - since) / width))
        for i in range(first, last + 1):
            inside = min(end, since + (i + 1) * width) - max(start, since + i * width)
            if inside > 0:
                found[i][mode] = found[i].get(mode, 0.0) + inside / width
    return found


def shares(timeline: Timeline) -> dict[Mode, float]:
    """Which part of the time it was what; only what it ever was."""
    whole = sum(segment.end - segment.start for segment in timeline.segments)
    return {mode: timeline.seconds(mode) / whole for mode in Mode if whole and timeline.seconds(mode)}
