"""How long each symptom takes to be noticed: p50 and p99 over many tries, as a share of what is configured.

    PYTHONPATH=supervisor python benchmarks/detection.py [--tries 50] [--only NAME…]

Each symptom runs by itself under a hasup of its own, on a few replicas that fall ill over and over. A program writes
down when it falls ill (hasup.demo.ailing), hasup when it noticed (the journal). Prints a table in Markdown.
"""

import argparse
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

ILL = "${HASUP_PYTHON} -m hasup.demo.ailing"
HTTP = 'http = "http://127.0.0.1:${PORT}/"'
AGAIN = 'restart = { delay = "50ms", max_delay = "50ms", jitter = 1 }\n'
PATIENCE_S = 600.0
Event = dict[str, Any]


class Symptom(NamedTuple):
    """``bound_s`` is what is configured: noticed within that, apart from hasup's own delay; None: at once."""

    name: str
    configured: str
    bound_s: float | None
    toml: str
    noticed: Callable[[Event], bool]
    replicas: int = 5
    from_start: bool = False  # it is ill from its start, which the journal knows


def ailing(what: str, options: str, *, arguments: str = "--after 0.2 --spread 1") -> str:
    return f'[programs.a]\ncommand = "{ILL} {what} {arguments}"\nready.notify = true\n{AGAIN}{options}\n'


def becomes(state: str) -> Callable[[Event], bool]:
    return lambda event: event["event"] == "state" and event["to"] == state


def says(kind: str) -> Callable[[Event], bool]:
    return lambda event: event["event"] == kind


def limit(name: str, above: str, lasting: str = "0s") -> str:
    """Ends it by a signal: those that are restarted for a limit go one by one, which is not what is measured here."""
    return f'limits.{name} = {{ above = {above}, for = "{lasting}", action = "signal:KILL" }}'


AT_ONCE = "--after 0.2 --spread 1 --at-once 40"
PORT = 'port = "auto"\n'
SLOW = f'health = {{ {HTTP}, interval = "200ms", timeout = "5s", slow = "100ms" }}\n'
HALF_DEAD = f'health = {{ {HTTP}, interval = "200ms", timeout = "500ms", failures = 3 }}\nabort.signal = "KILL"'
DEPENDS = 'depends_on = { a = { condition = "ready", restart = true } }\n'
SYMPTOMS = (
    Symptom(
        "deadlock",
        "heartbeat.timeout = 1s",
        1.0,
        ailing("deadlock", 'heartbeat.timeout = "1s"\nabort.signal = "KILL"'),
        becomes("aborting"),
    ),
    Symptom(
        "busy loop", "cpu above 10% for 1s", 1.0, ailing("busy", limit("cpu", '"10%"', "1s")), says("limit"), replicas=1
    ),
    Symptom(
        "leak",
        "memory, sampled each 1s",
        1.0,
        ailing("leak", limit("memory", '"100MiB"'), arguments=AT_ONCE),
        says("limit"),
        replicas=2,
    ),
    Symptom(
        "descriptor leak",
        "open_files, sampled each 1s",
        1.0,
        ailing("descriptors", limit("open_files", "30"), arguments=AT_ONCE),
        says("limit"),
    ),
    Symptom(
        "thread leak",
        "threads, sampled each 1s",
        1.0,
        ailing("threads", limit("threads", "30"), arguments=AT_ONCE),
        says("limit"),
    ),
    Symptom(
        "zombie children",
        "processes, sampled each 1s",
        1.0,
        ailing("children", limit("processes", "30"), arguments=AT_ONCE),
        says("limit"),
    ),
    Symptom(
        "age",
        "age = 2s",
        2.0,
        ailing("silent", PORT + limit("age", '"2s"')),
        says("limit"),
        from_start=True,
    ),
    Symptom(
        "slow answers",
        "interval 200ms, answers take 400ms",
        0.6,
        ailing("slow", PORT + SLOW + limit("age", '"3s"')),
        says("degraded"),
    ),
    Symptom(
        "accepts, never answers",
        "3 failures, interval 200ms, timeout 500ms",
        1.7,
        ailing("silent", PORT + HALF_DEAD),
        becomes("aborting"),
    ),
    Symptom(
        "start without end",
        "ready.timeout = 1s",
        1.0,
        f'[programs.a]\ncommand = "sleep 1000"\nready = {{ notify = true, timeout = "1s" }}\n{AGAIN}',
        becomes("stopping"),
        from_start=True,
    ),
    Symptom("crash", "at once", None, ailing("crash", ""), becomes("backoff")),
    Symptom(
        "dependency gone",
        "at once",
        None,
        ailing("crash", "") + f'[programs.b]\ncommand = "sleep 1000"\nready.after = 0\n{AGAIN}{DEPENDS}',
        lambda event: event["replica"] == "b.1" and event["to"] == "stopping",
        replicas=1,
    ),
)


def measure(symptom: Symptom, tries: int) -> list[float]:
    """Seconds from falling ill to being noticed."""
    with tempfile.TemporaryDirectory() as folder:
        text = symptom.toml.replace("[programs.a]\n", f"[programs.a]\nreplicas = {symptom.replicas}\n")
        Path(folder, "hasup.toml").write_text(text)
        hasup(folder, "start", "-d")
        try:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                found = list(delays(folder, symptom))
                if len(found) >= tries:
                    return found[:tries]
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{symptom.name}: {len(found)} of {tries} tries in {PATIENCE_S:g} s")
                time.sleep(1.0)  # between two looks
        finally:
            hasup(folder, "stop")


def delays(folder: str, symptom: Symptom) -> Iterator[float]:
    """Of each run that was noticed; an illness is paired with the first sign that hasup noticed it after that."""
    events = [json.loads(line) for line in hasup(folder, "events", "--json").splitlines()]
    for number in range(1, symptom.replicas + 1):
        told = [event for event in events if event.get("replica") in (f"a.{number}", "b.1")]
        noticed = [moment(event) for event in told if symptom.noticed(event)]
        onsets = [moment(e) for e in told if becomes("starting")(e)] if symptom.from_start else written(folder, number)
        for onset, after in itertools.pairwise([*onsets, math.inf]):
            first = next((at for at in noticed if onset - 0.001 <= at < after), None)
            if first is not None:
                yield max(0.0, first - onset)


def moment(event: Event) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def written(folder: str, number: int) -> list[float]:
    """When a replica fell ill, by its own words."""
    log = Path(folder, ".hasup", "logs", f"a.{number}.log").read_text(errors="replace")
    return [float(text) for text in re.findall(r"ill at ([0-9.]+)\n", log)]


def hasup(folder: str, *arguments: str) -> str:
    env = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "hasup", *arguments], cwd=folder, env=env, capture_output=True, text=True
    )
    return done.stdout


def row(symptom: Symptom, found: list[float]) -> str:
    ordered = sorted(found)
    p50, p99 = ordered[len(ordered) // 2], ordered[math.ceil(len(ordered) * 0.99) - 1]
    shares = ("–", "–") if symptom.bound_s is None else tuple(f"{100 * p / symptom.bound_s:.0f}%" for p in (p50, p99))
    times = (f"{1000 * p:.0f} ms" for p in (p50, p99))
    return "| " + " | ".join([symptom.name, symptom.configured, *times, *shares]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--only", nargs="*", default=[], help="names of symptoms")
    options = parser.parse_args()
    print(f"{options.tries} tries each, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning\n")
    print("| symptom | configured | p50 | p99 | p50 of it | p99 of it |\n|---|---|---|---|---|---|", flush=True)
    for symptom in SYMPTOMS:
        if not options.only or symptom.name in options.only:
            print(row(symptom, measure(symptom, options.tries)), flush=True)


if __name__ == "__main__":
    main()
