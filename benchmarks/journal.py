"""How long a million events take: to write, to report on, to search; and how large they are.

    python benchmarks/journal.py [--events N] [--days D] [--into FOLDER] [--lag]

Ten replicas of three programs live and crash at random for some days. Written by the journal itself, then read by the
commands, each in a process of its own. With --into the folder is kept (and used again), and holds a configuration.
With --lag instead: how late a main loop comes to what it does each hundredth of a second, while all are written as
fast as they can be.
"""

import argparse
import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from hasup.journal import Journal
from hasup.loop import Loop
from hasup.model.status import EventRecord

TICK_S = 0.01
FULL = 8_000  # in the queue, which holds ten thousand
CONFIG = """
[supervisor]
name = "shop"
[programs.db]
command = "sleep 60"
objective = "99.9%"
[programs.web]
command = "sleep 60"
replicas = 6
need = 4
depends_on = ["db"]
objective = "99.95%"
heartbeat = "10s"
[programs.worker]
command = "sleep 60"
replicas = 3
need = 1
depends_on = ["db"]
"""
REPLICAS = {"db": 1, "web": 6, "worker": 3}
CAUSES = (
    ("backoff", "exited with code 3", {"result": "exit-code", "exit_code": 3}),
    ("backoff", "killed by SIGKILL", {"result": "signal", "signal": "SIGKILL"}),
    ("aborting", "hung: no sign of life for 10 s", {}),
    ("stopping", "restarted by operator", {}),
)


class Life:
    """One replica: its state, and when its next event comes."""

    def __init__(self, chance: random.Random, program: str, index: int, at: float, scale: float) -> None:
        self.name, self.program = f"{program}.{index}", program
        self.next = at + index / 100
        self._chance, self._scale = chance, scale
        self._state, self._cause, self._generation = "stopped", CAUSES[0], 0

    def event(self) -> tuple[str, str, str, dict[str, object]]:
        """Old state, new state, reason and facts; the time of the next one is drawn."""
        old, detail, reason = self._state, {}, "what it waited for is there"
        if old == "running":
            self._cause = self._chance.choices(CAUSES, (50, 20, 10, 20))[0]
            self._state, reason, detail = self._cause[0], self._cause[1], dict(self._cause[2])
        elif old in ("aborting", "stopping"):
            self._state = "backoff" if old == "aborting" else "starting"
            detail = {"result": "heartbeat" if old == "aborting" else "operator"}
        elif old == "starting":
            self._state, reason = "running", "ready: it said so (READY=1)"
        else:
            self._state = "starting"
        self._generation += self._state == "starting"
        means = {"running": 40.0 * self._scale, "aborting": 0.5, "stopping": 1.0, "backoff": 1.5, "starting": 2.0}
        self.next += self._chance.expovariate(1 / means[self._state])
        facts = {"ready": self._state == "running", "wanted": True, "generation": self._generation}
        return old, self._state, reason, facts | detail


def events(count: int, days: float) -> Iterator[EventRecord]:
    """So many events, the last of them now."""
    chance = random.Random(5)
    begin = time.time() - days * 86_400
    scale = days * 86_400 * 10 / count * 3.3 / 40  # a life has a good three events
    lives = [Life(chance, p, i, 0.0, scale) for p, n in REPLICAS.items() for i in range(1, n + 1)]
    found = []
    for _ in range(count - 1):
        life = min(lives, key=lambda one: one.next)
        at = life.next
        found.append((at, life.name, life.program, *life.event()))
    stretch = days * 86_400 / found[-1][0]
    yield EventRecord(1, iso(begin), "hasup-started", None, None, "hasup started")
    for seq, (at, name, program, old, new, reason, facts) in enumerate(found, 2):
        yield EventRecord(seq, iso(begin + at * stretch), "state", old, new, reason, name, program, facts)


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(path: Path, count: int, days: float) -> None:
    """In a process of its own: what it needs for this is not to be seen in what the commands need."""
    records = list(events(count, days))
    journal = Journal(str(path), print, rows=2 * count, age_s=2 * days * 86_400)
    begin, used, slowest = time.perf_counter(), time.process_time(), 0.0
    for n, record in enumerate(records):
        before = time.perf_counter()
        journal.append(record)
        slowest = max(slowest, time.perf_counter() - before)
        if n % 5_000 == 4_999:
            journal_wait(journal)
    assert journal.close(600)
    took = time.perf_counter() - begin
    processor = time.process_time() - used
    print(f"write: {took:.1f} s, {processor:.1f} s of the processor; slowest append {slowest * 1000:.1f} ms")


class Ticking:
    """A main loop with something to do each hundredth of a second; how late it comes to it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.lags: list[float] = []
        self._loop = Loop()
        self._work = work
        self._due = self._loop.now() + TICK_S
        self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.now()
        self.lags.append(now - self._due)
        self._work()
        self._due = max(self._due + TICK_S, self._loop.now())
        self._loop.call_at(self._due, self._tick)

    def run(self, done: Callable[[], bool]) -> None:
        while not done():
            self._loop.turn()
        self._loop.close()

    def shown(self) -> str:
        known = sorted(self.lags)
        p50, p99, most = (known[min(len(known) - 1, int(len(known) * part))] * 1000 for part in (0.5, 0.99, 1.0))
        return f"late by {p50:.1f} ms (p50), {p99:.1f} ms (p99), {most:.1f} ms (longest) of {len(known)} times"


def lag(path: Path, count: int, days: float) -> None:
    """The lag of a loop that appends so many events as fast as they can be written, and of one that does not: by
    itself, and while another process writes as many, which takes processors but shares no interpreter with it.
    """
    records = list(events(count, days))
    gc.freeze()  # the benchmark's own million objects
    alone = Ticking(lambda: None)
    end = time.monotonic() + 10
    alone.run(lambda: time.monotonic() > end)
    print(f"loop, nothing written: {alone.shown()}")
    elsewhere = Ticking(lambda: None)
    (path.parent / "other" / ".hasup").mkdir(parents=True)
    argv = [sys.executable, __file__, "--events", str(count), "--into", str(path.parent / "other"), "--write"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        elsewhere.run(lambda: process.poll() is not None)
    print(f"loop, another process writes: {elsewhere.shown()}")
    journal = Journal(str(path), print, rows=2 * count, age_s=2 * days * 86_400)
    left = iter(records)
    written = False

    def fill() -> None:
        nonlocal written
        for record in islice(left, max(0, FULL - journal.waiting)):
            journal.append(record)
        written = not journal.waiting

    busy = Ticking(fill)
    begin = time.monotonic()
    busy.run(lambda: written)
    assert journal.close(600)
    print(f"loop, {count} events written in {time.monotonic() - begin:.1f} s: {busy.shown()}")


def journal_wait(journal: Journal) -> None:
    """Not more at once than the queue holds: what is too much would be dropped."""
    while journal.waiting:
        time.sleep(0.001)  # the writer is at work


def run(folder: Path, *argv: str) -> None:
    begin = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen([sys.executable, "-m", "hasup", *argv], cwd=folder, stdout=nowhere)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    took, processor = time.perf_counter() - begin, used.ru_utime + used.ru_stime
    print(f"hasup {' '.join(argv)}: {took:.2f} s, {processor:.2f} s of the processor, {used.ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--lag", action="store_true", help="only how late the main loop is while they are written")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.lag:
        with tempfile.TemporaryDirectory() as temporary:
            lag(Path(temporary) / "journal.db", options.events, options.days)
        return
    if options.write:
        write(options.into / ".hasup" / "journal.db", options.events, options.days)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.into or Path(temporary)
        (folder / ".hasup").mkdir(parents=True, exist_ok=True)
        (folder / "hasup.toml").write_text(CONFIG)
        path = folder / ".hasup" / "journal.db"
        if not path.exists():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--into", str(folder), "--write"], check=True)
        print(f"size: {path.stat().st_size / 1e6:.0f} MB, {path.stat().st_size / options.events:.0f} bytes an event")
        for argv in (
            ["events", "-n", "10"],
            ["events", "--since", "1h"],
            ["events", "web.3", "-n", "100"],
            ["events", "--kind", "core-restarted"],
            ["report", "--since", "1h"],
            ["report", "--since", "1d"],
            ["report"],
            ["history", "web"],
            ["history", "--since", "30d"],
        ):
            run(folder, *argv)


if __name__ == "__main__":
    main()
