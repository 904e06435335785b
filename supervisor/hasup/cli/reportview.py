"""The page of ``hasup report``."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hasup.cli.past import Past, chosen, no_garbage, past
from hasup.cli.table import Cell, Column, render
from hasup.cli.terminal import Terminal, duration, terminal, write_json
from hasup.report.document import document

Document = dict[str, Any]

_COLUMNS: Final = (
    Column("NAME", longest=28),
    Column("AVAILABLE", right=True),
    Column("90%", worth=2),
    Column("FAILURES", right=True),
    Column("MTBF", right=True),
    Column("90%", worth=1),
    Column("MTTR", right=True),
    Column("90%", worth=0),
    Column("DOWN", right=True, worth=4),
    Column("NOT COUNTED", right=True, worth=3),
)
_PART_NAMES: Final = {"detect": "noticed", "end": "ended", "delay": "waited", "start": "started"}


def show(
    config: str | None, names: Sequence[str], since: str | None, until: str | None, *, as_json: bool, html: str | None
) -> int:
    """Print it, as text or as JSON, or write it to a file as a page."""
    with no_garbage():
        found = past(config, since, until)
        shown = narrowed(found, names)
        if html is not None:
            from hasup.cli.reporthtml import write

            write(html, found, shown)
        if as_json:
            write_json(shown)
        elif html is not None:
            sys.stdout.write(f"wrote {html}\n")
        else:
            sys.stdout.write("\n".join(page(found, shown, terminal())) + "\n")
    return 0


def narrowed(found: Past, names: Sequence[str]) -> Document:
    """The document with only what was named in it. The system is always that of all programs."""
    wanted = chosen(found, names)
    whole = document(found.lines, found.programs, found.history, found.since, found.until, iso)
    programs = []
    for program in whole["programs"]:
        if program["name"] in wanted:
            replicas = wanted[program["name"]]
            kept = [one for one in program["replicas"] if replicas is None or one["name"] in replicas]
            programs.append(program | {"replicas": kept})
    return whole | {"programs": programs}


def iso(at: float) -> str:
    """UTC, to the millisecond, with a final Z."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def page(found: Past, shown: Document, screen: Terminal) -> Iterator[str]:
    """The lines of the report."""
    begin, end = (datetime.fromtimestamp(at).astimezone() for at in (found.since, found.until))
    span = f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} ({duration(found.until - found.since)})"
    yield screen.plain(f"{found.name}, {span}")
    yield ""
    yield from render(_COLUMNS, [_row(*one) for one in _rows(shown)], screen)
    yield ""
    for line in notes(shown):
        yield screen.plain(line)


def _rows(shown: Document) -> Iterator[tuple[str, Document, bool]]:
    """Name, figures, and whether it stands out."""
    for program in shown["programs"]:
        count = len(program["replicas"])
        needs = f" ({program['need']} of {count})" if count > 1 else ""
        yield f"{program['name']}{needs}", program, True
        if count > 1:
            for replica in program["replicas"]:
                yield f"  {replica['name']}", replica, False
    yield "all together", shown["system"], True


def _row(name: str, figures: Document, stands_out: bool) -> list[Cell]:
    seconds = figures["seconds"]
    styles = ("bold",) if stands_out else ()
    interval = figures["availability_90"]
    return [
        Cell(name, styles),
        Cell(percent(figures["availability"]), styles),
        Cell(between(interval, percent)),
        Cell(str(figures["failures"])),
        Cell(mean(figures["mtbf_s"])),
        Cell(between(figures["mtbf_s"], duration)),
        Cell(mean(figures["mttr_s"])),
        Cell(between(figures["mttr_s"], duration)),
        Cell(duration(seconds["down"])),
        Cell(duration(seconds["unobserved"] + seconds["stopped"] + seconds["starting"])),
    ]


def mean(estimate: Document) -> str:
    """The value of an estimate, in words."""
    return "-" if estimate["value"] is None else duration(estimate["value"])


def between(interval: Document, shown: Callable[[float], str]) -> str:
    """The interval of an estimate, in words; empty when there is none."""
    low, high = interval["low"], interval["high"]
    if low is None:
        return ""
    return f"more than {shown(low)}" if high is None else f"{shown(low)} to {shown(high)}"


def percent(share: float | None) -> str:
    """``"99.95%"``: with as many digits as show the first that is no nine, at most six; ``"-"`` for None."""
    if share is None:
        return "-"
    if share == 1:
        return "100%"
    if 0 < share < 0.00005:
        return "<0.01%"
    missing = max(1 - share, 1e-12) * 100
    digits = min(6, max(2, 1 - math.floor(math.log10(missing))))
    return ">99.999999%" if missing < 1e-6 else f"{share * 100:.{digits}f}%"


def notes(shown: Document) -> Iterator[str]:
    """What does not fit into a table, a line each."""
    for program in shown["programs"]:
        yield from _repair(program)
        yield from _budget(program)
    yield from whole(shown)


def whole(shown: Document) -> Iterator[str]:
    """What is to be said of all together."""
    system = shown["system"]
    if len(system["programs"]) > 1:
        product = system["if_independent"]
        yield f"all together: {', '.join(system['programs'])} at the same time, as measured" + (
            "" if product is None else f"; the product of their availabilities would be {percent(product)}"
        )
    restarts = shown["hasup"]["core_restarts"]
    if restarts:
        yield f"hasup's own core was replaced {_times(restarts)}; no program was touched by that"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _repair(program: Document) -> Iterator[str]:
    for replica in program["replicas"]:
        if replica["planned_stops"]:
            yield f"{replica['name']}: stopped or restarted {_times(replica['planned_stops'])} as planned"
        parts = {name: one["value"] for name, one in replica["mttr_parts_s"].items() if one["value"]}
        if parts:
            spent = ", ".join(f"{_PART_NAMES[name]} {duration(value)}" for name, value in parts.items())
            results = ", ".join(f"{count} {result}" for result, count in replica["results"].items())
            failed = f"; {replica['failed_starts']} starts failed" if replica["failed_starts"] else ""
            yield f"{replica['name']}: {results}; mean time to repair: {spent}{failed}"


def _budget(program: Document) -> Iterator[str]:
    budget = program["budget"]
    if budget is None:
        return
    burn = ", ".join(f"{window} {rate:.1f}" for window, rate in budget["burn_rate"].items() if rate is not None)
    spent = ""
    if budget["left"] is not None:
        spent = f" ({budget['left']:.0%} left)" if budget["left"] >= 0 else f" ({1 - budget['left']:.1f} times as much)"
    yield (
        f"{program['name']}: objective {budget['objective_percent']:g}%: {duration(budget['spent_s'])} down of"
        f" {duration(budget['allowed_s'])} allowed{spent}" + (f"; burn rate {burn}" if burn else "")
    )
