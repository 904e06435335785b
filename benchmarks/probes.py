"""What probes cost: the processor time of hasup with 300 probed replicas, as a share of one core.

    PYTHONPATH=supervisor python benchmarks/probes.py [--replicas 300] [--interval 1s] [--seconds 20] [--only KIND…]

Each kind of probe runs by itself under a hasup of its own, against one small server in another process, whose time does
not count. ``none`` is the same without probes. Commands count from their fork on. Prints a table in Markdown.
"""

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROBES = {
    "none": "",
    "tcp": 'tcp = "127.0.0.1:{port}"',
    "http": 'http = "http://127.0.0.1:{port}/healthz"',
    "http, body": 'http = "http://127.0.0.1:{port}/healthz", body = "^ok"',
    "exec": 'exec = ["/bin/true"]',
}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENCE_S = 120.0
TICKS = os.sysconf("SC_CLK_TCK")


def serve(listener: socket.socket) -> None:
    """Answer every request, for ever."""
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                client, _ = listener.accept()
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            else:
                with clients.pop(fd) as client:
                    if client.recv(4096):
                        client.sendall(ANSWER)


def processor_s(pid: int) -> tuple[float, float]:
    """Processor time that a process has used so far, and that of its children that have ended, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, children = (sum(map(int, fields[at : at + 2])) / TICKS for at in (11, 13))
    return own, children


class Site:
    """A hasup in a folder of its own."""

    def __init__(self, folder: str, config: str) -> None:
        self.folder = folder
        (Path(folder) / "hasup.toml").write_text(config)

    def hasup(self, *arguments: str) -> str:
        argv = [sys.executable, "-m", "hasup", *arguments]
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return done.stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.hasup("status", "--json"))
        return found

    def usage(self, seconds: float) -> list[float]:
        """The shares of one core that core, guardian and commands use while nobody asks anything."""
        own = self.status()["supervisor"]

        def used() -> tuple[float, ...]:
            return (processor_s(own["core_pid"])[0], *processor_s(own["guardian_pid"]))

        began, before = time.monotonic(), used()
        time.sleep(seconds)  # what is measured is what happens meanwhile
        took, after = time.monotonic() - began, used()
        return [(b - a) / took for a, b in zip(before, after, strict=True)]


def measure(kind: str, port: int, options: argparse.Namespace) -> tuple[list[float], int]:
    """The shares of core, guardian and commands, and how many replicas were ready in the end."""
    probe = PROBES[kind].format(port=port)
    health = f'health = {{ {probe}, interval = "{options.interval}", timeout = "10s" }}\n' if probe else ""
    config = f'[programs.web]\ncommand = "sleep 100000"\nreplicas = {options.replicas}\nready.after = "100ms"\n{health}'
    with tempfile.TemporaryDirectory() as folder:
        site = Site(folder, config)
        site.hasup("start", "-d")
        try:
            time.sleep(3.0)  # what the start costs is another matter
            shares = site.usage(options.seconds)
            ready = site.status()["programs"][0]["ready"]
        finally:
            site.hasup("stop")
    return shares, ready


def with_server(work: Callable[[int], None]) -> None:
    """Call ``work`` with the port of a server that answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        pid = os.fork()
        if pid == 0:
            serve(listener)
        try:
            work(listener.getsockname()[1])
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=300)
    parser.add_argument("--interval", default="1s")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--only", nargs="*", choices=list(PROBES), default=list(PROBES))
    options = parser.parse_args()

    def work(port: int) -> None:
        print(f"{options.replicas} replicas, probed every {options.interval}\n")
        print("| probe | core | guardian | commands | ready |\n|---|---|---|---|---|")
        for kind in options.only:
            shares, ready = measure(kind, port, options)
            print(f"| {kind} | {' | '.join(f'{share:.1%}' for share in shares)} | {ready} |", flush=True)

    with_server(work)


if __name__ == "__main__":
    main()
