"""What ``hasup simulate`` predicts, beside what a real run then shows.

    python benchmarks/predicted.py [--minutes M] [--mean S] [--start S] [--hangs PERCENT] [--seed N]

Three replicas of a program that lives for an exponential time (by a seed) and then crashes, or hangs; two of them must
be ready.
First hasup predicts, from the configuration and from that mean; then it runs them, and reports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hasup.core.availability import Estimate, availability, mtbf, mttr

Document = dict[str, Any]

CONFIG = """
[supervisor]
name = "predicted"

[programs.web]
command = "{python} mortal.py --mean {mean} --start {start} --hangs {hangs} --seed {seed}"
replicas = 3
need = 2
ready.notify = true
heartbeat.timeout = "2s"

[programs.web.restart]
delay = "500ms"
factor = 2.0
max_delay = "4s"
jitter = 0.2
reset_after = "8s"
"""
MORTAL = '''
"""Ready so long after it was spawned, then alive for a time drawn by seed, replica and how many lives it had."""
import argparse, os, random, signal, sys, time
import hasup

parser = argparse.ArgumentParser()
for name in ("--mean", "--start", "--hangs", "--seed"):
    parser.add_argument(name, type=float)
options = parser.parse_args()
with open("/proc/self/stat") as file:
    spawned = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
replica = os.environ["HASUP_REPLICA"]
with open(f"lives.{replica}", "a") as lives:
    lives.write(".")
    chance = random.Random(f"{options.seed}/{replica}/{lives.tell()}")
life, hangs = chance.expovariate(1 / options.mean), chance.random() < options.hangs / 100
time.sleep(max(0.0, spawned + options.start - time.clock_gettime(time.CLOCK_BOOTTIME)))  # what a start takes
hasup.ready()
ends = time.monotonic() + life
while (left := ends - time.monotonic()) > 0:
    hasup.heartbeat()
    time.sleep(min(left, 1.0))  # its life: half the timeout of its heartbeat at a time
if hangs:
    signal.pause()
sys.exit(3)
'''


def hasup(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "hasup", *argv], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def predict(folder: Path, options: argparse.Namespace, *more: str) -> Document:
    """The program, as ``simulate`` expects it."""
    given = (
        "--mtbf",
        f"{options.mean}s",
        "--start",
        f"{options.start}s",
        "--hangs",
        f"{options.hangs}%",
        "--years",
        "1",
    )
    answer: Document = json.loads(hasup(folder, "simulate", "--json", *given, *more))["programs"][0]
    return answer


def measure(folder: Path, seconds: float) -> Document:
    """The program, as ``report`` tells of it after so long."""
    hasup(folder, "start", "-d")
    try:
        time.sleep(seconds)  # this is what the benchmark is about
        answer: Document = json.loads(hasup(folder, "report", "--json"))["programs"][0]
        return answer
    finally:
        hasup(folder, "stop")


def compare(one: Document, three: Document, mean: float, found: Document) -> Iterator[tuple[str, float, Estimate]]:
    """What it is about, the prediction, and the measurement with its interval; replicas are taken together."""
    replicas = found["replicas"]
    up, down = (sum(replica["seconds"][mode] for replica in replicas) for mode in ("up", "down"))
    failures = sum(replica["failures"] for replica in replicas)
    repairs = sum(int(replica["mttr_s"]["value"] is not None) * replica["failures"] for replica in replicas)
    yield "availability of one, %", 100 * one["formula"], percent(availability(up, down, failures))
    measured = Estimate(found["availability"], **found["availability_90"])
    yield "two of three, % (formula)", 100 * three["formula"], percent(measured)
    yield "two of three, % (simulated)", 100 * three["simulated"]["value"], percent(measured)
    yield "MTBF of one, s", mean, mtbf(up, failures)
    for part in ("detect", "delay", "start") if one["repair_s"]["detect"] else ("delay", "start"):
        spent = sum((replica["mttr_parts_s"][part]["value"] or 0.0) * replica["failures"] for replica in replicas)
        yield f"repair: {part}, s", one["repair_s"][part], mttr(spent, repairs)


def percent(estimate: Estimate) -> Estimate:
    return Estimate(*(None if part is None else 100 * part for part in (estimate.value, estimate.low, estimate.high)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--mean", type=float, default=8.0, help="seconds of a life")
    parser.add_argument("--start", type=float, default=0.5, help="seconds until it is ready")
    parser.add_argument("--hangs", type=float, default=0.0, help="percent of its failures")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "hasup.toml").write_text(CONFIG.format(python=sys.executable, **vars(options)))
        (folder / "mortal.py").write_text(MORTAL)
        os.environ["HASUP_CONFIG"] = str(folder / "hasup.toml")
        one = predict(folder, options, "--replicas", "web=1", "--set", "programs.web.need=1")
        three = predict(folder, options)
        found = measure(folder, options.minutes * 60)
    crashes = sum(replica["failures"] for replica in found["replicas"])
    print(f"{options.minutes:g} minutes, {crashes} crashes, two of three missed {found['failures']} times")
    print(f"{'':28}{'predicted':>10}{'measured':>10}  90% interval")
    for what, predicted, seen in compare(one, three, options.mean, found):
        low, high = seen.low or 0.0, seen.high or 0.0
        verdict = "" if low <= predicted <= high else "  outside"
        print(f"{what:28}{predicted:10.2f}{seen.value or 0.0:10.2f}  {low:.2f} to {high:.2f}{verdict}")


if __name__ == "__main__":
    main()
