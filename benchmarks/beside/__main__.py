"""hasup beside its peers, in one run: ``python benchmarks/beside [--only hasup,runit] [--quick] [--write]``.

What is installed is measured: supervisord and circus (pip), runit, s6 and daemontools (apt), pm2 (npm). The peers are
taken in turn within each round, so that a busy minute of the machine falls on all of them. Prints a table; ``--write``
puts it into docs/benchmarks.md. Needs a C compiler.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1]))
sys.path.insert(2, str(Path(__file__).parents[2]))

import measure
from page import put
from peers import PEERS, Hasup, Missing, Peer, WatchedHasup

Table = dict[str, dict[str, list[float]]]  # measure -> peer -> values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="peers, separated by commas")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that everything works")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tries", type=int, default=20, help="kills of each kind in a round")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        child = f"{folder}/child"
        subprocess.run(["cc", "-O2", "-o", child, str(Path(__file__).with_name("child.c"))], check=True)
        kinds = list(_installed(options.only, child))
        table: Table = defaultdict(lambda: defaultdict(list))
        for number in range(1 if options.quick else options.rounds):
            for title, deed in _measures(child, options.quick, options.tries, number):
                for kind in kinds:
                    _take(table, title, kind, deed)
        table["bare interpreter"]["hasup"] = measure.interpreter(20)
    text = _text(table, kinds, options.rounds)
    print(text)
    if options.write:
        put("beside", text)


def _installed(only: str, child: str) -> Iterator[type[Peer]]:
    for kind in PEERS:
        if only and kind.name not in only.split(","):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                kind(Path(folder), {"a": [child, "starts", "a", "1", "1"]}).argv()
        except Missing as error:
            print(f"not installed: {kind.name} ({error})", file=sys.stderr)
        else:
            yield kind


Deed = Callable[[type[Peer]], dict[str, list[float]]]


def _measures(child: str, quick: bool, tries: int, number: int) -> Iterator[tuple[str, Deed]]:
    most, many, some = (30, 20, 10) if quick else (1000, 300, 100)
    tries = 4 if quick else tries

    def crash(title: str, count: int, age: float) -> tuple[str, Deed]:
        return title, lambda kind: {title: measure.crash(kind, child, count, tries, age, number)}

    def start_and_stop(count: int) -> Deed:
        def deed(kind: type[Peer]) -> dict[str, list[float]]:
            started, stopped = measure.start_and_stop(kind, child, count)
            return {f"cold start of {count}": [started], f"clean stop of {count}": [stopped]}

        return deed

    def idle(count: int) -> Deed:
        def deed(kind: type[Peer]) -> dict[str, list[float]]:
            spent, memory = measure.idle(kind, child, count, 5.0 if quick else 20.0)
            return {f"idle CPU a minute, {count} programs (s)": [spent], f"memory, {count} programs (MiB)": [memory]}

        return deed

    def logs(kind: type[Peer]) -> dict[str, list[float]]:
        if not kind.log_of:
            return {}
        seconds, spent, lost = measure.logs(kind, child, 50_000 if quick else 1_000_000, 100)
        return {
            "log lines: writer": [seconds],
            "log lines: supervisor CPU": [spent],
            "lines lost or cut": [float(lost)],
        }

    yield crash("crash to replacement, 10 programs", 10, 1.3)
    yield crash(f"crash to replacement, {many} programs", many, 1.3)
    yield crash("crash to replacement, younger than 1 s", 10, 0.0)
    yield f"all {many} killed", lambda kind: {f"all {many} killed": measure.mass(kind, child, many, 1 if quick else 3)}
    yield "1", start_and_stop(1)
    yield str(some), start_and_stop(some)
    yield str(most), start_and_stop(most)
    for count in (10, many, most):
        yield f"idle, {count}", idle(count)

    yield from _of_hasup(child, quick, (10, many, most))
    yield "status", lambda kind: {f"status, {some} programs": measure.status(kind, child, some, 3 if quick else 10)}
    yield "logs", logs


def _of_hasup(child: str, quick: bool, sizes: tuple[int, int, int]) -> Iterator[tuple[str, Deed]]:
    """What only hasup has, or is measured for."""

    def own(deed: Callable[[], dict[str, list[float]]]) -> Deed:
        return lambda kind: deed() if kind is Hasup else {}

    def settled(count: int) -> dict[str, list[float]]:
        """It looks at each program 10 and 20 s after its start, and every 30 s as long as it does nothing."""
        spent, _ = measure.idle(Hasup, child, count, *((5.0, (), 3.0) if quick else (60.0, (), 25.0)))
        return {f"the same from 25 s on, {count} programs (s)": [spent]}

    def watched(count: int) -> dict[str, list[float]]:
        spent, _ = measure.idle(WatchedHasup, child, count, 5.0 if quick else 20.0, ("beat",))
        return {f"the same, {count} watched: a beat a second, sampled every 5 s (s)": [spent]}

    for count in sizes:
        yield f"settled, {count}", own(partial(settled, count))
        yield f"watched, {count}", own(partial(watched, count))
    count = sizes[1]
    title = f"core killed and a child with it, {count} programs"
    yield "core death", own(lambda: {title: measure.core_death(child, count, 1 if quick else 8)})


def _take(table: Table, title: str, kind: type[Peer], deed: Deed) -> None:
    print(f"{title}: {kind.name}", file=sys.stderr, flush=True)
    try:
        for name, values in deed(kind).items():
            table[name][kind.name] += values
    except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
        print(f"  failed: {error}", file=sys.stderr, flush=True)
        table[title][kind.name] += []


def _text(table: Table, kinds: list[type[Peer]], rounds: int) -> str:
    names = [kind.name for kind in kinds]
    lines = [
        f"Measured on {datetime.date.today():%Y-%m-%d} on a machine with {os.cpu_count()} cores, Linux "
        f"{platform.release().split('-')[0]}, Python {platform.python_version()}; {rounds} rounds, the peers in turn "
        "within each. Milliseconds unless it says otherwise: median / 99th percentile where there are ten values or "
        "more, else median (lowest to highest). A dash: it has no such thing, or did not get there.", "",
        f"| measure | {' | '.join(names)} |", f"|---|{'---|' * len(names)}",
    ]  # fmt: skip
    for title, row in table.items():
        scale = 1.0 if "(" in title or "lines lost" in title else 1000.0
        lines.append(f"| {title} | {' | '.join(_cell(row.get(name, []), scale) for name in names)} |")
    versions = [f"{kind.name} {version}" for kind in kinds if (version := _version(kind))]
    return "\n".join([*lines, "", f"Versions: {', '.join(versions)}.", ""])


def _cell(values: list[float], scale: float) -> str:
    if not values:
        return "–"
    shown = sorted(value * scale for value in values)
    middle = statistics.median(shown)
    if len(shown) >= 10:
        return f"{_number(middle)} / {_number(shown[min(len(shown) - 1, int(len(shown) * 0.99))])}"
    return _number(middle) if len(shown) == 1 else f"{_number(middle)} ({_number(shown[0])} to {_number(shown[-1])})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _version(kind: type[Peer]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return kind(Path(folder), {"a": ["true"]}).version()


if __name__ == "__main__":
    main()
