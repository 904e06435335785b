"""The page of ``hasup history``."""

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from hasup.cli.past import Past, chosen, no_garbage, past
from hasup.cli.reportview import iso, percent
from hasup.cli.terminal import Terminal, duration, elide, terminal, write_json
from hasup.cli.usageview import curves, document, drawn
from hasup.journal.reader import Unreadable
from hasup.journal.usage import Used, read_usage
from hasup.report.bar import cells, shares
from hasup.report.figures import figures
from hasup.report.model import Mode, Outage, Timeline

_WIDTH: Final = 80  # where the terminal's is not known
_NARROWEST: Final = 10
_DAY_S: Final = 86_400.0
# mode -> in Unicode, in ASCII, colour
_LOOK: Final = {
    Mode.UP: ("█", "#", "green"),
    Mode.DEGRADED: ("▓", "%", "yellow"),
    Mode.STARTING: ("▒", "+", "blue"),
    Mode.DOWN: ("▁", "_", "red"),
    Mode.STOPPED: ("·", ".", "dim"),
    Mode.UNOBSERVED: (" ", " ", "dim"),
}


class Shown(NamedTuple):
    """One bar."""

    name: str
    timeline: Timeline
    program: bool
    used: Sequence[Used] = ()


def show(
    config: str | None, names: Sequence[str], since: str | None, until: str | None, count: int, *, as_json: bool
) -> int:
    """Print it, as text or as JSON."""
    with no_garbage():
        found = past(config, since, until, _DAY_S)
        bars = list(_bars(found, names))
        if names:
            bars = _with_usage(found, bars)
        if as_json:
            write_json(
                {"since": iso(found.since), "until": iso(found.until), "names": [_document(one) for one in bars]}
            )
        else:
            sys.stdout.write("\n".join(page(found, bars, count, terminal())) + "\n")
    return 0


def _bars(found: Past, names: Sequence[str]) -> Iterator[Shown]:
    """Each program, and its replicas where there are several; or just the replicas that were named."""
    for program, wanted in chosen(found, names).items():
        replicas = found.lines.replicas[program]
        if wanted is None:
            yield Shown(program, found.lines.programs[program], True)
        for name, timeline in replicas.items():
            if (wanted is None and len(replicas) > 1) or (wanted is not None and name in wanted):
                yield Shown(name, timeline, False)


def _with_usage(found: Past, bars: Sequence[Shown]) -> list[Shown]:
    """The same, with what each replica used; a program that is a single replica stands for it."""
    alone = {name: list(replicas) for name, replicas in found.lines.replicas.items() if len(replicas) == 1}
    slots = {one.name: alone.get(one.name, [""])[0] if one.program else one.name for one in bars}
    try:
        used = read_usage(found.journal, [slot for slot in slots.values() if slot], found.since, found.until)
    except Unreadable:  # what is asked for is the bars
        used = {}
    return [one._replace(used=used.get(slots[one.name], ())) for one in bars]


def page(found: Past, bars: Sequence[Shown], count: int, screen: Terminal) -> Iterator[str]:
    """The lines: bars, what their parts mean, incidents."""
    width = max((len(one.name) for one in bars), default=0)
    words = [curve.words for one in bars for curve in curves(one.used, found.since, found.until, 1)]
    width = max(width, len(" cpu")) if words else width
    room = max(_NARROWEST, (screen.width or _WIDTH) - width - max(map(len, ["100.00%", *words])) - 4)
    for one in bars:
        bar = "".join(_cells(mode, len(list(run)), screen) for mode, run in groupby(cells(one.timeline, room)))
        share = percent(figures(one.timeline)["availability"])
        yield f"{screen.paint(screen.plain(one.name.ljust(width)), 'bold')}  {bar}  {share}".rstrip()
        for curve in curves(one.used, found.since, found.until, room):
            yield f"{curve.label.ljust(width)}  {screen.paint(drawn(curve, screen), 'cyan')}  {curve.words}"
    form = "%H:%M:%S" if found.until - found.since <= _DAY_S else "%Y-%m-%d %H:%M"
    begin, end = (f"{datetime.fromtimestamp(at).astimezone():{form}}" for at in (found.since, found.until))
    yield f"{' ' * width}  {begin}{end.rjust(room - len(begin)) if room > 2 * len(end) else ''}"
    yield ""
    for one in bars:
        yield f"{screen.plain(one.name.ljust(width))}  {_legend(one.timeline, screen)}"
    yield from _incidents(bars, count, screen)


def _cells(mode: Mode, count: int, screen: Terminal) -> str:
    shape, plain, colour = _LOOK[mode]
    text = (shape if screen.unicode else plain) * count
    return screen.paint(text, colour) if text.strip() else text


def _legend(timeline: Timeline, screen: Terminal) -> str:
    parts = [
        f"{_cells(mode, 1, screen)} {mode.value} {percent(share)}".strip() for mode, share in shares(timeline).items()
    ]
    return "  ".join(parts)


def _incidents(bars: Sequence[Shown], count: int, screen: Terminal) -> Iterator[str]:
    """What went wrong, the last one last; of a program and its replicas each."""
    found = sorted(((outage, one) for one in bars for outage in _failures(one)), key=lambda pair: pair[0].start)
    yield ""
    if not found:
        yield "no incident"
    elif len(found) > count:
        yield f"{len(found)} incidents, the last {count}:" if count else f"{len(found)} incidents"
    width = max((len(one.name) for _, one in found), default=0)
    for outage, one in found[len(found) - min(count, len(found)) :]:
        at = f"{datetime.fromtimestamp(outage.start).astimezone():%Y-%m-%d %H:%M:%S}"
        lasted = "still" if outage.end is None else duration(outage.end - outage.start)
        words = f"{at}  {one.name.ljust(width)}  {lasted.rjust(7)}  {outage.reason}"
        yield screen.plain(words if screen.width is None else elide(words, screen.width))


def _failures(one: Shown) -> list[Outage]:
    return [outage for outage in one.timeline.outages if not outage.planned]


def _document(one: Shown) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": "program" if one.program else "replica",
        "availability": figures(one.timeline)["availability"],
        "shares": {mode.value: round(share, 9) for mode, share in shares(one.timeline).items()},
        "segments": [
            {"from": iso(start), "to": iso(end), "mode": mode.value} for start, end, mode in one.timeline.segments
        ],
        "incidents": [
            {
                "at": iso(outage.start),
                "until": None if outage.end is None else iso(outage.end),
                "seconds": None if outage.end is None else round(outage.end - outage.start, 3),
                "reason": outage.reason,
                "result": outage.result,
            }
            for outage in _failures(one)
        ],
        **({"samples": document(one.used)} if one.used else {}),
    }
