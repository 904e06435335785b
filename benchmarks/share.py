"""One socket shared by three workers, beside the same workers behind HAProxy, hasup's dispatcher, and SO_REUSEPORT.

    PYTHONPATH=supervisor python benchmarks/share.py [--seconds 3] [--rounds 5] [--connections 64]

Needs wrk; HAProxy is compared where it is installed. All stand ready in one hasup; in each round each has its turn, on
the whole machine. Printed: requests a second, the 99th percentile, how connections and requests were spread over the
three workers (largest first), and the ratio to HAProxy as the median of the rounds' own. Then one worker is stopped:
how many of 300 requests are answered within a second. Last, what becomes of connections that wait on a member of an
SO_REUSEPORT group that ends (with tcp_migrate_req: root only).
"""

import argparse
import contextlib
import json
import mmap
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from common import HAPROXY, free_port

SOURCE = Path(__file__).resolve().parents[1] / "supervisor"
WORKERS = 3
SHAPES = {"one request a connection": ["-H", "Connection: close"], "keep-alive": []}
TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}
WORKER = '''
"""Answers 200 bytes on the socket that it is handed, at $REUSEPORT or at $PORT; counts in a file that it maps."""
import mmap, os, select, socket, sys

answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 200\\r\\n"
keep, close = answer + b"\\r\\n" + b"x" * 200, answer + b"Connection: close\\r\\n\\r\\n" + b"x" * 200
if "LISTEN_FDS" in os.environ:
    listener = socket.socket(fileno=3)
else:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if "REUSEPORT" in os.environ:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", int(os.environ.get("REUSEPORT") or os.environ["PORT"])))
    listener.listen(4096)
listener.setblocking(False)
with open(f"{os.environ['HASUP_PROGRAM']}.{os.environ['HASUP_REPLICA']}.count", "w+b") as file:
    file.truncate(16)
    count = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")
poll, clients = select.epoll(), {}
poll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
while True:
    for fd, _ in poll.poll():
        if fd == listener.fileno():
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                continue  # another worker took it
            client.setblocking(False)
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
            count[0] += 1
            continue
        try:
            data = clients[fd].recv(65536)
        except OSError:
            data = b""
        if data:
            ends = b"Connection: close" in data
            clients[fd].send(close if ends else keep)
            count[1] += 1
        if not data or ends:
            poll.unregister(fd)
            clients.pop(fd).close()
'''
CONFIG = """
[defaults]
command = "{python} worker.py"
replicas = {workers}
[programs.shared]
listen = {{ address = "127.0.0.1:{shared}", mode = "share", backlog = 4096 }}
[programs.proxied]
port = "auto"
listen = {{ address = "127.0.0.1:{proxied}", max_connections = 8192, backlog = 4096 }}
[programs.apart]
port = "auto"
[programs.grouped]
env.REUSEPORT = "{grouped}"
"""


@contextlib.contextmanager
def everybody(folder: Path) -> Iterator[tuple[dict[str, tuple[str, int]], dict[str, int]]]:
    """Name -> the program that answers, and its port; program -> the process of one of its workers."""
    ports = {name: free_port() for name in ("shared", "proxied", "grouped", "haproxy")}
    (folder / "worker.py").write_text(WORKER)
    (folder / "hasup.toml").write_text(CONFIG.format(python=sys.executable, workers=WORKERS, **ports))
    environ = os.environ | {"PYTHONPATH": str(SOURCE)}

    def hasup(*words: str) -> str:
        argv = [sys.executable, "-m", "hasup", *words]
        return subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout

    hasup("start", "-d")
    with contextlib.ExitStack() as stack:
        stack.callback(hasup, "stop")
        programs = {one["name"]: one["replicas"] for one in json.loads(hasup("status", "--json"))["programs"]}
        ways = {"share": ("shared", ports["shared"])}
        if shutil.which("haproxy"):
            servers = "\n".join(f"  server {one['name']} 127.0.0.1:{one['port']}" for one in programs["apart"])
            (folder / "haproxy.cfg").write_text(HAPROXY.format(port=ports["haproxy"], servers=servers))
            process = subprocess.Popen(["haproxy", "-f", str(folder / "haproxy.cfg")])
            stack.callback(process.wait)
            stack.callback(process.terminate)
            ways["HAProxy"] = ("apart", ports["haproxy"])
        ways |= {"proxy": ("proxied", ports["proxied"]), "SO_REUSEPORT": ("grouped", ports["grouped"])}
        for _, port in ways.values():
            wait_for(port)
        pids = {name: replicas[-1]["pid"] for name, replicas in programs.items()}
        yield ways, pids


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)  # a poll of a condition
    raise SystemExit(f"nobody listens on {port}")


def counts(folder: Path, program: str) -> list[tuple[int, int]]:
    """Connections and requests of each worker so far."""
    found = []
    for number in range(1, WORKERS + 1):
        with open(folder / f"{program}.{number}.count", "rb") as file:
            found.append(tuple(memoryview(mmap.mmap(file.fileno(), 16, access=mmap.ACCESS_READ)).cast("Q")))
    return found


def measure(port: int, shape: str, options: argparse.Namespace) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds."""
    argv = ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}", "--latency", *SHAPES[shape]]
    text = subprocess.run([*argv, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True).stdout
    speed, tail = re.search(r"Requests/sec:\s+([\d.]+)", text), re.search(r"99%\s+([\d.]+)(\w+)", text)
    if not (speed and tail) or "Socket errors" in text:
        raise SystemExit(text)
    return float(speed[1]), float(tail[1]) * TIMES[tail[2]]


def spread(before: list[tuple[int, int]], after: list[tuple[int, int]], which: int) -> list[float]:
    done = [late[which] - early[which] for early, late in zip(before, after, strict=True)]
    return sorted((one / max(1, sum(done)) for one in done), reverse=True)


def in_words(parts: list[list[float]]) -> str:
    return " ".join(f"{statistics.median(column):3.0%}" for column in zip(*parts, strict=True))


def rounds(folder: Path, ways: dict[str, tuple[str, int]], options: argparse.Namespace) -> None:
    for shape in SHAPES:
        speeds, tails, spreads = defaultdict(list), defaultdict(list), defaultdict(list)
        for _ in range(options.rounds):
            for name, (program, port) in ways.items():
                before = counts(folder, program)
                speed, tail = measure(port, shape, options)
                after = counts(folder, program)
                speeds[name].append(speed)
                tails[name].append(tail)
                spreads[name].append((spread(before, after, 0), spread(before, after, 1)))
        print(f"\n{shape}\n  {'':14}{'requests/s':>11}{'p99 ms':>8}{'/ HAProxy':>11}  connections  requests")
        for name in ways:
            ratios = [a / b for a, b in zip(speeds[name], speeds.get("HAProxy", []), strict=False)]
            ratio = f"{statistics.median(ratios):.2f}" if ratios else "-"
            figures = f"{statistics.median(speeds[name]):11,.0f}{statistics.median(tails[name]):8.2f}{ratio:>11}"
            connections, requests = zip(*spreads[name], strict=True)
            print(f"  {name:14}{figures}  {in_words(list(connections))}  {in_words(list(requests))}")


def one_stopped(ways: dict[str, tuple[str, int]], pids: dict[str, int]) -> None:
    """Ask 300 times while one worker does nothing: hung, busy, or not started again yet while its socket is kept."""
    print("\none of the three workers is stopped: of 300 requests, answered within a second")
    for name in ("share", "SO_REUSEPORT"):
        program, port = ways[name]
        os.kill(pids[program], signal.SIGSTOP)
        clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(300)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        poll, deadline, answered = select.poll(), time.monotonic() + 1, set[int]()
        for client in clients:
            poll.register(client, select.POLLIN)
        while len(answered) < len(clients) and (left := deadline - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                answered.add(fd)
                poll.unregister(fd)
        print(f"  {name:14}{len(answered):4}")
        for client in clients:
            client.close()
        os.kill(pids[program], signal.SIGCONT)


def queue_of_a_member_that_ends() -> dict[str, int]:
    """Three members, 300 connections that nobody has accepted yet; one member is closed, the others accept."""
    first = member(0)
    port = first.getsockname()[1]
    members = [first, member(port), member(port)]
    clients = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(300)]
    members.pop().close()
    accepted = []
    for one in members:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.append(one.accept()[0])
        one.close()
    for one in accepted:
        one.close()
    fates = {"answered": 0, "reset": 0, "silent": 0}
    for client in clients:
        client.settimeout(1)
        try:
            client.recv(1)
            fates["answered"] += 1
        except ConnectionResetError:
            fates["reset"] += 1
        except TimeoutError:
            fates["silent"] += 1
        client.close()
    return fates


def member(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    one.listen(1024)
    return one


def group_that_shrinks() -> None:
    print("\na member of an SO_REUSEPORT group of three is closed while 300 connections wait")
    if os.geteuid() != 0:
        print(f"  as the kernel is set: {queue_of_a_member_that_ends()}")
        return
    for value in "01":  # in a network namespace of its own
        set_up = f"ip link set lo up && echo {value} >/proc/sys/net/ipv4/tcp_migrate_req"
        argv = ["unshare", "-n", "sh", "-c", f'{set_up} && exec "$@"', "sh", sys.executable, __file__, "--queue"]
        done = subprocess.run(argv, capture_output=True, text=True)
        print(f"  net.ipv4.tcp_migrate_req = {value}: {done.stdout.strip() or done.stderr.strip()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--queue", action="store_true", help="only what becomes of a closed member's connections")
    options = parser.parse_args()
    if options.queue:
        print(queue_of_a_member_that_ends())
        return
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with everybody(folder) as (ways, pids):
            rounds(folder, ways, options)
            one_stopped(ways, pids)
    group_that_shrinks()


if __name__ == "__main__":
    main()
