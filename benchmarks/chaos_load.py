"""Ten minutes of kills, reloads and scaling under load: which requests fail, and why.

    PYTHONPATH=supervisor python benchmarks/chaos_load.py [--minutes 10] [--seed 1] [--mode share]
        [--dispatchers 2] [--keep FOLDER]

Replicas, the dispatcher and the core are killed by SIGKILL at times drawn from the seed, while an operator reloads the
program and scales it between two and five replicas. Two loads ask meanwhile: wrk, one request a connection, whose
errors are counted by kind; and clients, half of them over keep-alive, whose every failed request is held against the
kills. A request may fail only when it was on its way while a replica or the dispatcher was killed. A keep-alive
connection that is closed before a byte of the next answer has come is no failure: that request is asked again, and
counted apart. It ends with 1 when a failure is not explained, when a connection was refused, or when wrk had more
errors than it had connections at the kills.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "supervisor"
CLIENTS = 16
WRK_CONNECTIONS = 16
PATIENCE_S = 60.0
SLACK_S = 0.1  # a kill is noticed, and noted, a little later
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
CONFIG = """
[programs.web]
command = "{python} -m hasup.demo.web"
replicas = 3
{port}
ready.notify = true
restart = {{ delay = "50ms", factor = 1 }}
listen = {{ address = "127.0.0.1:{listen}", mode = "{mode}"{more} }}
logs.stdout = "null"
"""


@dataclass
class Failure:
    """Of one request: when it began and failed (monotonic seconds), how, and the process that it was with, if known."""

    began: float
    ended: float
    how: str
    pid: int | None


@dataclass
class Run:
    """What is counted."""

    port: int
    until: float
    random: random.Random
    answered: int = 0
    again: int = 0
    longest: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    kills: list[tuple[float, str, int]] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    not_done: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.until


class Hasup:
    """The command, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = os.environ | {"PYTHONPATH": str(SOURCE), "NO_COLOR": "1"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "hasup", *words]
        return subprocess.run(argv, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=180)

    def status(self) -> dict:  # type: ignore[type-arg]
        done = self.run("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {}


async def client(run: Run, keep_alive: bool) -> None:
    """Asks until the time is up; over one connection as long as it lives, or over one each."""
    while not run.over:
        await connection(run, keep_alive)


async def connection(run: Run, keep_alive: bool) -> None:
    began, writer, pid = time.monotonic(), None, None
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", run.port), PATIENCE_S)
        while True:
            said = await asyncio.wait_for(ask(reader, writer, keep_alive), PATIENCE_S)
            if said is None and pid is not None:
                run.again += 1
                return
            if said is None:
                raise EOFError("closed without an answer")
            pid = int(said.split(b"pid ")[1].split(b")")[0])
            run.answered += 1
            run.longest = max(run.longest, time.monotonic() - began)
            if not keep_alive or run.over:
                return
            await asyncio.sleep(run.random.uniform(0, 0.02))  # a client's pause
            began = time.monotonic()
    except (OSError, EOFError, TimeoutError) as error:
        run.failures.append(Failure(began, time.monotonic(), repr(error), pid))
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep_alive: bool) -> bytes | None:
    """The body of the answer; None when the connection was closed before the first byte of it."""
    try:
        writer.write(REQUEST if keep_alive else CLOSING)
        first = await reader.read(1)
    except (BrokenPipeError, ConnectionResetError):
        if keep_alive:
            return None
        raise
    if not first:
        return None
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))


async def killer(run: Run, hasup: Hasup) -> None:
    """Kills something every second or so; sometimes it lets a reload come to its end."""
    kinds = ["replica", "replica", "dispatcher", "core"]
    while not run.over:
        calm = 15.0 if run.random.random() < 0.05 else 0.0
        await asyncio.sleep(calm + run.random.uniform(0.2, 2.0))  # as the seed says
        kind = run.random.choice(kinds)
        status = await asyncio.to_thread(hasup.status)
        pids = victims(status, kind)
        if pids:
            kill(run, kind, run.random.choice(pids))


def victims(status: dict, kind: str) -> list[int]:  # type: ignore[type-arg]
    """Processes of a kind; of the replicas those that are ready, and never the last."""
    if not status:
        return []
    if kind == "core":
        return [status["supervisor"]["core_pid"]]
    program = status["programs"][0]
    if kind == "dispatcher":
        return [one["pid"] for one in program["dispatchers"] if one["pid"]]
    ready = [one["pid"] for one in program["replicas"] if one["ready"]]
    return ready if len(ready) > 1 else []


def kill(run: Run, kind: str, pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        run.kills.append((time.monotonic(), kind, pid))
        run.did[f"{kind} killed"] += 1


async def operator(run: Run, hasup: Hasup) -> None:
    """Reloads, or scales."""
    while not run.over:
        await asyncio.sleep(run.random.uniform(0.5, 4))  # as the seed says
        words = run.random.choice([("reload", "web"), ("scale", f"web={run.random.randint(2, 5)}")])
        done = await asyncio.to_thread(hasup.run, *words)
        run.did[f"{words[0]}, exit code {done.returncode}"] += 1
        if done.returncode:
            run.not_done.append(f"hasup {' '.join(words)}: {(done.stderr or done.stdout).strip()}")


def why(run: Run, failure: Failure) -> str:
    """The kill that a failure is due to; empty when there is none."""
    of = {
        kind
        for at, kind, pid in run.kills
        if failure.began - SLACK_S <= at <= failure.ended + SLACK_S
        and (kind == "dispatcher" or (kind == "replica" and failure.pid in (None, pid)))
    }
    if "refused" in failure.how:
        return ""
    return next((f"in flight when the {kind} was killed" for kind in ("replica", "dispatcher") if kind in of), "")


def verdict(run: Run, wrk: str) -> int:
    for what, number in sorted(run.did.items()):
        print(f"{number:6} {what}")
    for line in sorted(set(run.not_done)):
        print(f"       {line}")
    reasons = Counter(why(run, failure) for failure in run.failures)
    print(f"clients: {run.answered:,} answered, {len(run.failures)} failed, the slowest after {run.longest:.1f} s")
    print(f"       {run.again} were closed at rest, and asked again")
    for reason, number in reasons.most_common():
        print(f"{number:6} {reason or 'NOT EXPLAINED'}")
    for failure in run.failures:
        if not why(run, failure):
            near = [(f"{at - failure.ended:+.2f} s", kind, pid) for at, kind, pid in run.kills
                    if abs(at - failure.ended) < 3]  # fmt: skip
            print(f"       {failure.ended - failure.began:.2f} s, {failure.how}, pid {failure.pid}; kills near: {near}")
    return int(bool(reasons[""]) or wrk_is_at_fault(run, wrk))


def wrk_is_at_fault(run: Run, text: str) -> bool:
    requests = re.search(r"(\d+) requests in", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    connect, read, write, timeout = map(int, errors.groups()) if errors else (0, 0, 0, 0)
    most = WRK_CONNECTIONS * sum(kind != "core" for _, kind, _ in run.kills)
    print(f"wrk: {int(requests[1]) if requests else 0:,} answered, connect {connect}, read {read}, write {write}, "
          f"timeout {timeout}; connections at the kills: {most}")  # fmt: skip
    print("     " + " ".join(line.strip() for line in text.splitlines() if "Non-2xx" in line or "Latency" in line))
    return connect > 0 or read + write > most or "Non-2xx" in text


async def load(run: Run, hasup: Hasup, seconds: int) -> str:
    """What wrk printed."""
    wrk = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{WRK_CONNECTIONS}", f"-d{seconds}", "--timeout", "30", "-H", "Connection: close",
        f"http://127.0.0.1:{run.port}/", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    clients = [client(run, number % 2 == 0) for number in range(CLIENTS)]
    await asyncio.gather(*clients, killer(run, hasup), operator(run, hasup))
    return (await wrk.communicate())[0].decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=["proxy", "share"], default="proxy")
    parser.add_argument("--dispatchers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="copy the state folder (events, logs) there at the end")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as name:
        hasup = Hasup(Path(name))
        proxy = options.mode == "proxy"
        text = CONFIG.format(
            python=sys.executable, listen=port, mode=options.mode, port='port = "auto"' if proxy else "",
            more=f', drain_timeout = "5s", dispatchers = {options.dispatchers}' if proxy else "",
        )  # fmt: skip
        (hasup.folder / "hasup.toml").write_text(text)
        started = hasup.run("start", "-d")
        if started.returncode:
            raise SystemExit(started.stderr)
        try:
            seconds = round(options.minutes * 60)
            run = Run(port, time.monotonic() + seconds, random.Random(options.seed))
            return verdict(run, asyncio.run(load(run, hasup, seconds)))
        finally:
            hasup.run("stop")
            if options.keep:
                shutil.copytree(
                    hasup.folder / ".hasup", options.keep, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True
                )


if __name__ == "__main__":
    sys.exit(main())
