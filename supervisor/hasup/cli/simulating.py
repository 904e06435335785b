"""The page of ``hasup simulate``."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from hasup.cli.errors import UNKNOWN_NAME, USAGE, Failure
from hasup.cli.past import past
from hasup.cli.reportview import between, percent
from hasup.cli.table import Cell, Column, render
from hasup.cli.terminal import Terminal, duration, terminal, write_json
from hasup.config import load, units
from hasup.core.names import no_such
from hasup.model.spec import Config
from hasup.report.document import document
from hasup.simulate.assumptions import Given, assume_all
from hasup.simulate.expect import YEAR_S, expect

Document = dict[str, Any]

_FEW: Final = 3  # failures: the mean of fewer says little
_HANGS: Final = ("heartbeat", "health")
_BAR: Final = 30
_COLUMNS: Final = (
    Column("NAME", longest=28),
    Column("FORMULA", right=True),
    Column("SIMULATED", right=True),
    Column("90%", worth=1),
    Column("DOWN A YEAR", right=True),
    Column("MTBF", right=True, worth=3),
    Column("HANGS", right=True, worth=0),
    Column("NOTICED IN", right=True, worth=2),
    Column("START", right=True, worth=2),
)


class Question(NamedTuple):
    """What was asked on the command line."""

    years: float
    events: int
    mtbf: Sequence[str]
    start: Sequence[str]
    hangs: Sequence[str]
    replicas: Sequence[str]
    settings: Sequence[str]
    seed: int


def simulate(config: str | None, asked: Question, *, as_json: bool) -> int:
    """Simulate and print."""
    loaded = _configuration(config, asked)
    assumed = assume_all(loaded, _given(loaded, asked, _measured(config, loaded)))
    if not any(program.kind == "service" for program in loaded.programs.values()):
        raise Failure("there is no service in the configuration; tasks have no availability")
    screen = terminal()
    found = expect(
        loaded,
        assumed,
        seconds=asked.years * YEAR_S,
        most_events=asked.events,
        seed=asked.seed,
        progress=_progress(terminal(sys.stderr)),
    )
    if as_json:
        write_json(found)
    else:
        sys.stdout.write("\n".join(page(loaded.supervisor.name, found, screen)) + "\n")
    return 0


def _configuration(config: str | None, asked: Question) -> Config:
    settings = [*asked.settings, *(_replicas(text) for text in asked.replicas)]
    return load(Path(config) if config else None, os.environ, Path.cwd(), settings)


def _replicas(text: str) -> str:
    name, equals, count = text.partition("=")
    if not equals or not count.isdigit():
        raise Failure(f"--replicas {text}: expected PROGRAM=N", USAGE)
    return f"programs.{name}.replicas={count}"


# --- what is known ----------------------------------------------------------------------------------------------------
def _measured(config: str | None, loaded: Config) -> dict[str, Given]:
    """What the journal says of the programs, where it has seen enough failures."""
    known = past(config, None, None)
    figures = document(known.lines, known.programs, known.history, known.since, known.until, str)
    return {p["name"]: _from_report(p) for p in figures["programs"] if p["name"] in loaded.programs}


def _from_report(program: Document) -> Given:
    replicas = program["replicas"]
    failures = sum(replica["failures"] for replica in replicas)
    if failures < _FEW:
        return Given()
    up = sum(replica["seconds"]["up"] + replica["seconds"]["degraded"] for replica in replicas)
    hangs = sum(count for r in replicas for result, count in r["results"].items() if result in _HANGS)
    starts = [one["mttr_parts_s"]["start"]["value"] for one in replicas]
    known = [value for value in starts if value is not None]
    start = sum(known) / len(known) if known else None
    return Given(mtbf_s=max(up / failures, 1e-3), start_s=start, hangs=hangs / failures, measured=True)


def _given(loaded: Config, asked: Question, measured: Mapping[str, Given]) -> dict[str, Given]:
    """What the command line says, over what was measured."""
    mtbf = _by_program(loaded, "--mtbf", asked.mtbf, units.duration, "30d or web=1h")
    start = _by_program(loaded, "--start", asked.start, units.duration, "2s or web=2s")
    hangs = _by_program(loaded, "--hangs", asked.hangs, lambda text: units.percent(text) / 100, "10% or web=10%")
    given = {}
    for name in loaded.programs:
        found = measured.get(name, Given())
        if name in mtbf:
            found = found._replace(mtbf_s=max(mtbf[name], 1e-3), measured=False)
        given[name] = found._replace(start_s=start.get(name, found.start_s), hangs=hangs.get(name, found.hangs))
    return given


def _by_program(
    loaded: Config, option: str, texts: Sequence[str], read: Callable[[str], float], like: str
) -> dict[str, float]:
    """``web=1h`` for one program, ``1h`` for all; the more special one holds."""
    general: dict[str, float] = {}
    special: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if equals and name not in loaded.programs:
            raise Failure(no_such(name, {known: [] for known in loaded.programs}, ()), UNKNOWN_NAME)
        try:
            number = read(value)
        except ValueError:
            raise Failure(f"{option} {text}: expected something like {like}", USAGE) from None
        special.update({name: number} if equals else {})
        general.update({} if equals else dict.fromkeys(loaded.programs, number))
    return general | special


# --- what is shown ----------------------------------------------------------------------------------------------------
def page(name: str, found: Document, screen: Terminal) -> Iterator[str]:
    """The lines of the page."""
    years = found["simulated_s"] / YEAR_S
    yield screen.plain(f"{name}: {years:.3g} years simulated, {found['events']:,} events")
    yield ""
    rows = [_row(program) for program in found["programs"]]
    whole = found["system"]
    rows.append([Cell("all together", ("bold",)), *_shares(whole), *[Cell("")] * 4])
    yield from render(_COLUMNS, rows, screen)
    yield ""
    for program in found["programs"]:
        yield from map(screen.plain, _costs(program))
    yield screen.plain("* assumed; the others are from the journal or the command line" if _guessed(found) else "")


def _row(program: Document) -> list[Cell]:
    assumed = program["assumed"]
    count, need = program["replicas"], program["need"]
    noticed = assumed["detect_s"]
    guessed = "*" if assumed["guessed"] else ""
    return [
        Cell(f"{program['name']} ({need} of {count})" if count > 1 else program["name"]),
        *_shares(program),
        Cell(f"{duration(assumed['mtbf_s'])}{guessed}"),
        Cell(f"{assumed['hangs']:.0%}"),
        Cell("-" if noticed is None else duration(noticed)),
        Cell(duration(assumed["start_s"])),
    ]


def _shares(figures: Document) -> list[Cell]:
    simulated = figures["simulated"]
    return [
        Cell(percent(figures["formula"])),
        Cell(percent(simulated["value"]), ("bold",)),
        Cell(between(simulated, percent)),
        Cell(duration(figures["down_s_per_year"])),
    ]


def _costs(program: Document) -> Iterator[str]:
    """What its replicas' downtime is made of."""
    costs = [one for one in program["costs"] if one["share"] >= 0.005]
    if costs:
        most, *others = costs
        rest = "".join(f", {one['setting']} {one['share']:.0%}" for one in others)
        yield f"{program['name']}: {most['setting']} is {most['share']:.0%} of the downtime of its replicas{rest}"
    if program["assumed"]["hangs"] and program["assumed"]["detect_s"] is None:
        yield f"{program['name']}: nothing notices a hang; a heartbeat or a health probe would"


def _guessed(found: Document) -> bool:
    return any(program["assumed"]["guessed"] for program in found["programs"])


def _progress(screen: Terminal) -> Callable[[float], None]:
    """A bar on stderr, on a terminal only."""

    def show(share: float) -> None:
        done = int(share * _BAR)
        text = screen.plain(f"simulating {'█' * done}{'·' * (_BAR - done)} {share:.0%}") if share < 1 else ""
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    return show if screen.interactive else lambda _share: None
