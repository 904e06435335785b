"""The page of ``hasup status``. No click here: scripts poll it, and an import costs more than all the rest."""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hasup.cli.errors import UNKNOWN_NAME, Failure
from hasup.cli.link import ANSWER_S, ask_again
from hasup.cli.table import Cell, Column, render
from hasup.cli.terminal import Terminal, duration, elide, size, terminal, write_json

Document = dict[str, Any]

# state -> shape, colour
_LOOK: Final = {
    "stopped": ("○", "dim"),
    "waiting": ("○", "blue"),
    "starting": ("◐", "blue"),
    "running": ("●", "green"),
    "aborting": ("◐", "red"),
    "backoff": ("▲", "yellow"),
    "stopping": ("◐", "yellow"),
    "completed": ("✔", "green"),
    "failed": ("✖", "red"),
}
_PLANNED: Final = re.compile("[;:] (restart|next try) in [0-9.]+ s$")  # as it was decided: what is left of it is shown
_COLUMNS: Final = (
    Column("", gap=1),
    Column("NAME", longest=28),
    Column("STATE"),
    Column("READY", worth=0),
    Column("PID", right=True, worth=3),
    Column("UPTIME", right=True, worth=6),
    Column("RESTARTS", right=True, worth=5),
    Column("CPU", right=True, worth=1),
    Column("MEM", right=True, worth=2),
    Column("LAST", worth=4),
)


def show(config: str | None, names: Sequence[str], as_json: bool) -> int:
    """Print the status of these (all), as a table or as JSON."""
    document = chosen(ask_again(config, "status", timeout=ANSWER_S), names)
    if as_json:
        write_json(document)
    else:
        sys.stdout.write(page(document, terminal(), time.time()))
    return 0


def chosen(document: Document, names: Sequence[str]) -> Document:
    """The document with only these programs, replicas and groups in it; Failure when there is none of a name."""
    if not names:
        return document
    wanted = set(names)
    programs = []
    found: set[str] = set()
    for program in document["programs"]:
        own = wanted & {program["name"], *program["groups"]}
        replicas = [r for r in program["replicas"] if own or r["name"] in wanted]
        found |= own | {r["name"] for r in replicas if r["name"] in wanted}
        if replicas or own:
            programs.append({**program, "replicas": replicas})
    if found != wanted:
        raise _unknown(document, sorted(wanted - found))
    return {**document, "programs": programs}


def _unknown(document: Document, names: Sequence[str]) -> Failure:
    from hasup.core.names import no_such

    slots = {program["name"]: [r["name"] for r in program["replicas"]] for program in document["programs"]}
    groups = sorted({group for program in document["programs"] for group in program["groups"]})
    return Failure("\n".join(no_such(name, slots, groups) for name in names), UNKNOWN_NAME)


def page(document: Document, screen: Terminal, now: float) -> str:
    """The whole page. ``now``: seconds since 1970, to say how long ago something was."""
    return "".join(f"{line}\n" for _, line in labelled(document, screen, now))


def labelled(document: Document, screen: Terminal, now: float) -> Iterator[tuple[str | None, str]]:
    """The lines of the page, each with the replica whose row it is."""
    yield from ((None, line) for line in _header(document, screen))
    rows, names, notes = [], [], []
    for program in document["programs"]:
        for replica in _shown(program):
            rows.append(_row(replica, now))
            names.append(replica["name"])
            notes.append(_note(replica))
    if not rows:
        yield None, screen.plain("no programs")
        return
    titles, *lines = render(_COLUMNS, rows, screen)
    yield None, titles
    for name, line, note in zip(names, lines, notes, strict=True):
        yield name, line
        if note:
            yield None, screen.paint(_cut(f"  └ {note}", screen), "dim")
    yield from ((None, line) for line in _listening(document, screen))
    yield from ((None, line) for line in _scaled(document, screen))


def _shown(program: Document) -> list[Document]:
    """Its replicas, and its dispatchers that are not well."""
    known = program.get("dispatchers") or [program.get("dispatcher")]
    sick = [one for one in known if one and one["wanted"] and not one["ready"]]
    return [*program["replicas"], *sick]


def _header(document: Document, screen: Terminal) -> Iterator[str]:
    own = document["supervisor"]
    replicas = [r for program in document["programs"] for r in program["replicas"]]
    wanted = [r for r in replicas if r["wanted"] and r["state"] != "completed"]
    ready = sum(r["ready"] for r in wanted)
    well = ready == len(wanted)
    parts = [f"{ready} of {len(wanted)} ready", f"up {duration(own['uptime_s'])}", f"pid {own['guardian_pid']}"]
    if own["core_restarts"]:
        parts.append(f"core restarts {own['core_restarts']}")
    if own["stopping"]:
        parts.append("stopping")
    shape = screen.paint(screen.plain("●" if well else "▲"), "green" if well else "yellow")
    name = _cut(own["name"], screen, 2)
    yield f"{shape} {screen.paint(name, 'bold')}{_cut('  ' + ' · '.join(parts), screen, 2 + len(name))}"
    for trouble in own["degraded"]:
        yield screen.paint(_cut(f"▲ {trouble}", screen), "yellow")


def _row(replica: Document, now: float) -> list[Cell]:
    shape, colour = _shape(replica)
    cpu, memory, uptime = replica["cpu_percent"], replica["memory_bytes"], replica["uptime_s"]
    restarts = replica["restarts"]
    return [
        Cell(shape, (colour,)),
        Cell(replica["name"]),
        Cell(replica["state"], (colour,)),
        Cell("yes" if replica["ready"] else "no"),
        Cell("-" if replica["pid"] is None else str(replica["pid"])),
        Cell("-" if uptime is None else duration(uptime)),
        Cell(str(restarts), ("yellow",) if restarts else ()),
        Cell("-" if cpu is None else f"{cpu:.1f}%"),
        Cell("-" if memory is None else size(memory)),
        Cell(_last(replica["last"], now)),
    ]


def _shape(replica: Document) -> tuple[str, str]:
    shape, colour = _LOOK.get(replica["state"], ("○", "dim"))
    if replica["state"] == "running" and (not replica["ready"] or replica["degraded"]):
        return "▲", "yellow"
    return shape, colour


def _last(last: Document | None, now: float) -> str:
    """``"SIGKILL, 5m ago"``."""
    if last is None:
        return "-"
    result = last["result"]
    if result == "exit-code":
        result = f"exit code {last['exit_code']}"
    elif result == "signal" and last["signal"]:
        result = last["signal"]
    from datetime import datetime

    try:
        passed = max(0.0, now - datetime.fromisoformat(last["at"]).timestamp())
    except ValueError:
        return str(result)
    return f"{result}, {duration(passed)} ago"


def _note(replica: Document) -> str:
    """What is worth a line of its own: why it does not simply run, and what happens next."""
    parts = []
    well = replica["state"] in ("running", "completed") and (replica["ready"] or replica["state"] == "completed")
    waits = replica["next_start_s"] is not None and replica["state"] != "waiting"  # which says its time itself
    if not well or replica["degraded"]:
        parts.append(_PLANNED.sub("", replica["reason"]) if waits else replica["reason"])
    if waits:
        parts.append(f"next try in {replica['next_start_s']:.1f} s")
    if replica["stuck"]:
        parts.append(f"processes {', '.join(map(str, replica['stuck']))} can't be killed")
    if replica["status_text"]:
        parts.append(f'it says "{replica["status_text"]}"')
    return "; ".join(part for part in parts if part)


def _listening(document: Document, screen: Terminal) -> Iterator[str]:
    listening = [program for program in document["programs"] if program["listen"]]
    if listening:
        yield ""
    for program in listening:
        enough = program["ready"] >= program["need"]
        text = f"{program['name']} listens on {program['listen']}: {program['ready']} ready, needs {program['need']}"
        load = program.get("load") or {}
        well = enough and not load.get("full") and not load.get("queued")
        yield screen.paint(_cut(text + _load(load), screen), *(() if well else ("yellow",)))


def _load(load: Document) -> str:
    """``"; 12 connections, 3 waiting, 1 refused"``: of its dispatcher, as far as it told."""
    if "open" not in load:
        return ""
    parts = [f"{load['open']} connection{'' if load['open'] == 1 else 's'}"]
    parts += [f"{load[key]} {word}" for key, word in (("queued", "waiting"), ("refused", "refused")) if load.get(key)]
    parts += ["accepting no more"] if load.get("full") else []
    ejected = sorted(name for name, one in load.get("backends", {}).items() if one.get("ejected"))
    parts += [f"{', '.join(ejected)} set aside for failing"] if ejected else []
    return f"; {', '.join(parts)}"


def _scaled(document: Document, screen: Terminal) -> Iterator[str]:
    """Programs that are scaled by their load: bounds, load, and why there are so many."""
    scaled = [program for program in document["programs"] if program.get("autoscale")]
    if scaled:
        yield ""
    for program in scaled:
        known = program["autoscale"]
        parts = [f"{program['name']}: replicas {known['replicas']} ({known['min']}..{known['max']})"]
        if known["held"]:
            parts.append(f"held until: hasup scale {program['name']}=auto")
        if known["cpu_percent"] is not None:
            parts.append(f"cpu {known['cpu_percent']:.0f}% each")
        if known["connections"] is not None:
            parts.append(f"{known['connections']:.0f} connections each")
        yield _cut(", ".join(parts), screen)
        if known["reason"]:
            yield screen.paint(_cut(f"  └ {known['reason']}", screen), "dim")


def _cut(text: str, screen: Terminal, used: int = 0) -> str:
    """``text`` as this terminal can show it, in what is left of a line."""
    plain = screen.plain(text)
    return plain if screen.width is None else screen.plain(elide(plain, max(0, screen.width - used)))


def watch(config: str | None, names: Sequence[str]) -> int:
    """Show the page again each second; ends by Ctrl-C."""
    screen = terminal()
    while True:
        text = page(chosen(ask_again(config, "status", timeout=ANSWER_S), names), screen, time.time())
        sys.stdout.write(f"\x1b[H\x1b[J{text}" if screen.interactive else f"{text}\n")
        sys.stdout.flush()
        time.sleep(1.0)  # the pace of the display
