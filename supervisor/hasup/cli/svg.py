"""Small plots, drawn as SVG by hand. Colours come from the page's style, by class; texts stand beside the plots."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from hasup.report.model import Mode

CELL: Final = 10
_TALL: Final = 40
_LEAST: Final = 12  # what went wrong can be seen
# Not by colour alone: what is up fills the height, what is not counted is low
_HEIGHT: Final = {
    Mode.UP: 40,
    Mode.DEGRADED: 40,
    Mode.DOWN: 40,
    Mode.STARTING: 22,
    Mode.STOPPED: 10,
    Mode.UNOBSERVED: 3,
}

# Seconds, as people count them: 10 ms to ten years
TICKS: Final = (0.01, 0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000, 31_536_000, 315_360_000)


class Whisker(NamedTuple):
    """A value with its interval; an end that is None is open."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def bar(parts: Sequence[Mapping[Mode, float]], label: str) -> str:
    """Parts of a time in a row, each by what it was. A share of it that was down or degraded stands out from below,
    however short it was; the rest is above.
    """
    drawn = "".join(_part(part, at * CELL) for at, part in enumerate(parts))
    return _svg("bar", len(parts) * CELL, _TALL, drawn, label)


def _part(part: Mapping[Mode, float], x: float) -> str:
    bad = [(mode, part[mode]) for mode in (Mode.DOWN, Mode.DEGRADED) if part.get(mode)]
    rest = max((mode for mode in part if mode not in (Mode.DOWN, Mode.DEGRADED)), key=lambda m: part[m], default=None)
    drawn = "" if rest is None else _block(rest, x, 0.0, _HEIGHT[rest])
    below = 0.0
    for mode, share in bad:
        height = min(_TALL - below, max(_LEAST, share * _TALL)) if rest is not None or len(bad) > 1 else _TALL
        drawn += _block(mode, x, below, height)
        below += height
    return drawn


def _block(mode: Mode, x: float, below: float, height: float) -> str:
    width = CELL - (0.0 if mode is Mode.UNOBSERVED else 1.5)
    return (
        f'<rect class="{mode.value}" x="{x:g}" y="{_TALL - below - height:g}" width="{width:g}" height="{height:g}"/>'
    )


def stacked(parts: Sequence[tuple[str, float]], label: str) -> str:
    """Shares of a whole, side by side, with their class names."""
    whole = sum(value for _, value in parts)
    drawn, at = [], 0.0
    for name, value in parts:
        width = value / whole * 1000 if whole else 0.0
        drawn.append(f'<rect class="{escape(name)}" x="{at:.1f}" y="0" width="{max(width - 3, 0.5):.1f}" height="20"/>')
        at += width
    return _svg("stacked", 1000, 20, "".join(drawn), label)


def gauge(share: float, label: str) -> str:
    """How much of something is used up: over 1 is over the edge."""
    filled = min(max(share, 0.0), 1.0) * 1000
    level = "down" if share > 1 else "degraded" if share > 0.75 else "up"
    drawn = f'<rect class="rest" width="1000" height="20"/><rect class="{level}" width="{filled:.1f}" height="20"/>'
    return _svg("stacked", 1000, 20, drawn, label)


def scale(rows: Sequence[Whisker]) -> list[float]:
    """The ticks around all that is to be shown, at least two."""
    known = [x for row in rows for x in (row.value, row.low, row.high) if x is not None and x > 0]
    first = sum(tick <= min(known) for tick in TICKS) - 1 if known else 0
    last = next((i for i, tick in enumerate(TICKS) if known and tick >= max(known)), len(TICKS) - 1)
    first = min(max(first, 0), len(TICKS) - 2)
    return list(TICKS[first : max(last, first + 1) + 1])


def position(value: float, ticks: Sequence[float]) -> float:
    """Where a value stands between the first tick (0) and the last (1)."""
    begin, end = math.log(ticks[0]), math.log(ticks[-1])
    return (math.log(min(max(value, ticks[0]), ticks[-1])) - begin) / (end - begin)


def whisker(row: Whisker, ticks: Sequence[float], label: str) -> str:
    """One value with its interval on a logarithmic axis; an open end is an arrow."""

    def x(value: float) -> float:
        return 10 + position(value, ticks) * 980

    drawn = [f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="24"/>' for at in map(x, ticks)]
    if row.low is not None:
        right = 990.0 if row.high is None else x(row.high)
        drawn.append(f'<line class="whisker" x1="{x(row.low):.1f}" x2="{right:.1f}" y1="12" y2="12"/>')
        drawn.append(f'<line class="whisker" x1="{x(row.low):.1f}" x2="{x(row.low):.1f}" y1="6" y2="18"/>')
        if row.high is None:
            drawn.append('<path class="whisker" d="M980 6 L990 12 L980 18"/>')
        else:
            drawn.append(f'<line class="whisker" x1="{right:.1f}" x2="{right:.1f}" y1="6" y2="18"/>')
    if row.value is not None and row.value > 0:
        drawn.append(f'<line class="dot" x1="{x(row.value):.1f}" x2="{x(row.value):.1f}" y1="3" y2="21"/>')
    return _svg("whiskers", 1000, 24, "".join(drawn), label)


def _svg(kind: str, width: float, height: float, content: str, label: str) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}"><title>{escape(label)}</title>{content}</svg>'
    )
