"""``hasup report --html``: one page that needs nothing else."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

from hasup.cli import svg
from hasup.cli.errors import Failure
from hasup.cli.past import Past
from hasup.cli.reportstyle import STYLE
from hasup.cli.reportview import Document, between, mean, percent, whole
from hasup.cli.terminal import duration
from hasup.report.bar import parts, shares
from hasup.report.model import PHASES, Mode, Timeline

_CELLS: Final = 90
_INCIDENTS: Final = 100
_TRACE: Final = 0.001
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_PHASE_NAMES: Final = {
    "detect": "noticed", "end": "ended", "delay": "waited to be started", "start": "started",
}  # fmt: skip


def write(path: str, found: Past, shown: Document) -> None:
    """Write the page in one step; raises Failure."""
    text = "".join(page(found, shown))
    try:
        with open(f"{path}.new", "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        os.replace(f"{path}.new", path)
    except OSError as error:
        raise Failure(f"can't write {path}: {error.strerror}") from error


def page(found: Past, shown: Document) -> Iterator[str]:
    """The page, piece by piece."""
    name = escape(found.name)
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}: availability</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{STYLE}</style></head><body><main>\n'
    )
    span = f"{_time(found.since)} to {_time(found.until)} ({duration(found.until - found.since)})"
    yield f'<h1>{name}</h1><p class="soft">{span}</p>\n'
    yield from _system(found, shown)
    for program in shown["programs"]:
        yield from _program(found, program)
    yield from _means(shown["programs"], "mtbf_s", "Mean time between failures")
    yield from _means(shown["programs"], "mttr_s", "Mean time to repair")
    yield f"<footer>{''.join(f'<p>{escape(line)}</p>' for line in _footer(shown))}</footer>\n</main></body></html>\n"


def _system(found: Past, shown: Document) -> Iterator[str]:
    figures = shown["system"]
    yield '<section class="system"><div class="head"><h2>All together</h2>'
    yield f'<span class="soft">{_within(figures)}</span><span class="share">{percent(figures["availability"])}</span>'
    yield f"</div>{_bar('all together', found.lines.system)}{_times(found)}{_legend(found.lines.system)}"
    yield f"{_stats(figures)}</section>\n"


def _program(found: Past, program: Document) -> Iterator[str]:
    name, count = program["name"], len(found.lines.replicas[program["name"]])
    need = f"{program['need']} of {count} needed" if count > 1 else program["kind"]
    kind = ' class="several"' if count > 1 else ""
    yield f'<section{kind}><div class="head"><h2>{escape(name)}</h2><span class="soft">{need}{_also(program)}</span>'
    yield f'<span class="share">{percent(program["availability"])}</span></div>'
    timeline = found.lines.programs[name]
    yield f'<div class="whole">{_bar(name, timeline)}</div>{_times(found)}{_legend(timeline)}'
    for replica in program["replicas"] if count > 1 else ():
        bar = _bar(replica["name"], found.lines.replicas[name][replica["name"]])
        share = percent(replica["availability"])
        yield f'<div class="row"><span>{escape(replica["name"])}</span>{bar}<span>{share}</span></div>'
    yield f"{_stats(program)}{_budget(program)}{_repair(program)}{_incidents(found, program)}</section>\n"


def _also(program: Document) -> str:
    chain = program["with_dependencies"]
    if len(chain["programs"]) < 2:
        return ""
    return escape(f", {percent(chain['availability'])} together with {', '.join(chain['programs'][1:])}")


def _bar(name: str, timeline: Timeline) -> str:
    spent = ", ".join(f"{mode.value} {percent(share)}" for mode, share in _told(timeline))
    return svg.bar(parts(timeline, _CELLS), f"{name}: {spent}")


def _times(found: Past) -> str:
    return f'<div class="times soft"><span>{_time(found.since)}</span><span>{_time(found.until)}</span></div>'


def _legend(timeline: Timeline) -> str:
    return _keys((mode.value, f"{mode.value} {percent(share)}") for mode, share in _told(timeline))


def _told(timeline: Timeline) -> list[tuple[Mode, float]]:
    """Which part of the time it was what; traces of what is no fault are left out."""
    faults = (Mode.DOWN, Mode.DEGRADED)
    return [(mode, share) for mode, share in shares(timeline).items() if mode in faults or share >= _TRACE]


def _keys(keys: Any) -> str:
    """Coloured squares with their words."""
    square = '<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{}" width="10" height="10" rx="2"/></svg>'
    items = "".join(f"<li>{square.format(name)}{escape(words)}</li>" for name, words in keys)
    return f'<ul class="legend soft">{items}</ul>'


def _within(figures: Document) -> str:
    interval = between(figures["availability_90"], percent)
    return f"90%: {escape(interval)}" if interval else ""


def _stats(figures: Document) -> str:
    seconds, mtbf = figures["seconds"], between(figures["mtbf_s"], duration)
    uncounted = seconds["starting"] + seconds["stopped"] + seconds["unobserved"]
    shown = [
        ("Failures", str(figures["failures"]), ""),
        (
            "Mean time between failures",
            *((mean(figures["mtbf_s"]), mtbf) if figures["failures"] else (mtbf or "-", "")),
        ),
        ("Mean time to repair", mean(figures["mttr_s"]), between(figures["mttr_s"], duration)),
        ("Down", duration(seconds["down"]), f"{duration(uncounted)} not counted"),
    ]
    return f"<dl>{''.join(_stat(*part) for part in shown)}</dl>"


def _stat(name: str, value: str, below: str) -> str:
    return f'<div><dt>{name}</dt><dd><b>{escape(value)}</b><br><span class="soft">{escape(below)}</span></dd></div>'


def _budget(program: Document) -> str:
    budget = program["budget"]
    if budget is None or not budget["allowed_s"]:
        return ""
    spent = budget["spent_s"] / budget["allowed_s"]
    burn = ", ".join(f"{window}: {rate:.1f}" for window, rate in budget["burn_rate"].items() if rate is not None)
    words = (
        f"Objective {budget['objective_percent']:g}%: {spent:.0%} of the error budget is spent,"
        f" {duration(budget['spent_s'])} of {duration(budget['allowed_s'])}"
    )
    rates = f"; burn rate {burn}" if burn else ""
    return f"<figure><figcaption>{escape(words + rates)}</figcaption>{svg.gauge(spent, words)}</figure>"


def _repair(program: Document) -> str:
    """What the repairs of its replicas were spent on."""
    spent = dict.fromkeys(PHASES, 0.0)
    for replica in program["replicas"]:
        for phase, estimate in replica["mttr_parts_s"].items():
            spent[phase] += (estimate["value"] or 0.0) * replica["failures"]
    known = [(phase, value) for phase, value in spent.items() if value > 0]
    if not known:
        return ""
    words = [(phase, f"{_PHASE_NAMES[phase]} {duration(value)}") for phase, value in known]
    label = "Repairs of the replicas: " + ", ".join(text for _, text in words)
    plot = svg.stacked(known, label)
    return f"<figure><figcaption>What repairs were spent on</figcaption>{plot}{_keys(words)}</figure>"


def _incidents(found: Past, program: Document) -> str:
    names = [replica["name"] for replica in program["replicas"]]
    lines = found.lines.replicas[program["name"]]
    outages = sorted((one.start, name, one) for name in names for one in lines[name].outages if not one.planned)
    if not outages:
        return ""
    rows = "".join(
        f"<tr><td>{_time(at)}</td><td>{escape(name)}</td>"
        f"<td>{'still' if one.end is None else duration(one.end - one.start)}</td><td>{escape(one.reason)}</td></tr>"
        for at, name, one in reversed(outages[-_INCIDENTS:])
    )
    count = f"{len(outages)} incidents" if len(outages) != 1 else "1 incident"
    count += " of its replicas" if len(names) > 1 else ""
    last = f", the last {_INCIDENTS}" if len(outages) > _INCIDENTS else ""
    head = "<thead><tr><th>Time</th><th>Replica</th><th>Lasted</th><th>Reason</th></tr></thead>"
    return (
        f'<details><summary>{count}{last}</summary><div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>'
        "</details>"
    )


def _means(programs: Sequence[Document], key: str, title: str) -> Iterator[str]:
    rows = [svg.Whisker(p["name"], p[key]["value"], p[key]["low"], p[key]["high"]) for p in programs]
    rows = [row for row in rows if row.low is not None]
    if not rows:
        return
    ticks = svg.scale(rows)
    yield f'<section><div class="head"><h2>{title}</h2><span class="soft">with its 90% interval</span></div>'
    for row in rows:
        interval = between({"low": row.low, "high": row.high}, duration)
        value = f"> {duration(row.low or 0.0)}" if row.value is None else duration(row.value)
        plot = svg.whisker(row, ticks, f"{row.name}: {value}, {interval}")
        yield f'<div class="row"><span>{escape(row.name)}</span>{plot}<span>{escape(value)}</span></div>'
    yield f'<div class="row"><span></span><div class="axis soft">{_axis(ticks)}</div><span></span></div></section>\n'


def _axis(ticks: Sequence[float]) -> str:
    return "".join(
        f'<span style="left:{1 + svg.position(tick, ticks) * 98:.1f}%">{_tick(tick)}</span>' for tick in ticks
    )


def _tick(seconds: float) -> str:
    return f"{seconds:g}s" if seconds < 60 else duration(seconds)


def _footer(shown: Document) -> Iterator[str]:
    yield from whole(shown)
    yield (
        "Up is ready; down is wanted and not ready after a failure. Planned starts and restarts, stops, and times at"
        " which hasup saw nothing count as neither. Intervals: 90%, exact chi-square for exponential times."
    )


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"
