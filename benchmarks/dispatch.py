"""The dispatcher beside HAProxy (tcp mode), nginx (stream) and a direct connection: the same backend, one run.

    PYTHONPATH=supervisor python benchmarks/dispatch.py [--seconds 3] [--rounds 5] [--connections 64]
        [--json FILE] [--write]

Needs wrk and nginx (the backend is an nginx that answers 200 bytes); HAProxy and nginx's stream module are compared
where they are installed. Backend and load run on the first processor, the proxies on the last. In each round every
proxy has its turn, so that what else the machine does hits all alike; figures are medians of the rounds, ratios are
medians of the rounds' own ratios. On a busy machine only the ratios, and what a request costs in processor time ("µs
each"), mean anything.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from common import HAPROXY, free_port
from page import put

ANSWER = "x" * 200
BULK = 10_000_000
SOURCE = Path(__file__).parents[1] / "supervisor"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
SHAPES = {"keep-alive": [], "one request a connection": ["-H", "Connection: close"], "bulk": []}
UNITS = {"": 1, "k": 1e3, "M": 1e6, "K": 1024, "MB": 2**20, "GB": 2**30, "KB": 1024}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

BACKEND = """
worker_processes 1; daemon off; pid {dir}/backend.pid; error_log {dir}/error.log;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen unix:{dir}/backend.sock;
    location / {{ return 200 "{answer}"; }} location /bulk {{ alias {dir}/bulk; }} }} }}
"""
STREAM = """
worker_processes 1; daemon off; pid {dir}/stream.pid; error_log {dir}/error.log; load_module {module};
events {{ worker_connections 8192; }}
stream {{ upstream web {{ {servers} }}
  server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass web; }} }}
"""


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Peer:
    """Something to be measured: a port, and the process whose memory and processor time count."""

    def __init__(self, name: str, port: int, argv: list[str] | None, cpu: int, **options: object) -> None:
        self.name = name
        self.port = port
        self.process = None if argv is None else subprocess.Popen(
            argv, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}), **options  # type: ignore[call-overload]
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not answers(port):
            if time.monotonic() > deadline:
                raise SystemExit(f"{name} does not listen")
            time.sleep(0.02)  # a poll of a condition

    def processes(self) -> list[int]:
        """The process and its children (nginx's worker)."""
        if self.process is None:
            return []
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def memory(self) -> int:
        """Resident bytes of the largest of its processes."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.processes()]
        return max(pages, default=0) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Processor seconds so far."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.processes()) / 1e9

    def end(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def start_dispatcher(name: str, addresses: list[str], cpu: int) -> tuple[Peer, socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    orders = {"name": "web", "listen_fd": listener.fileno(), "control_fd": far.fileno(),
              "max_connections": 8192, "drain_timeout": 0}  # fmt: skip
    rows = [
        {"name": f"web.{n}", "address": address, "weight": 1, "state": "ready"} for n, address in enumerate(addresses)
    ]
    near.send(json.dumps({"revision": 1, "backends": rows}).encode())
    port = listener.getsockname()[1]
    environ = {"PYTHONPATH": str(SOURCE), "HASUP_DISPATCH": json.dumps(orders)}
    peer = Peer(name, port, [sys.executable, "-P", "-m", "hasup.dispatch"], cpu,
                env=environ, pass_fds=(listener.fileno(), far.fileno()))  # fmt: skip
    listener.close()
    far.close()
    return peer, near


@contextlib.contextmanager
def everybody(folder: Path) -> Iterator[list[Peer]]:
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:

        def started(peer: Peer) -> Peer:
            stack.callback(peer.end)
            return peer

        back, names = free_port(), {"dir": folder, "answer": ANSWER, "module": STREAM_MODULE}
        (folder / "bulk").write_bytes(bytes(BULK))
        config = folder / "backend.conf"
        config.write_text(BACKEND.format(port=back, **names))
        started(Peer("backend", back, ["nginx", "-c", str(config)], first))
        peers = [Peer("direct", back, None, last)]
        if shutil.which("haproxy"):
            for name, address in (("HAProxy", f"127.0.0.1:{back}"), ("HAProxy, unix", f"unix@{folder}/backend.sock")):
                port, config = free_port(), folder / f"{name}.cfg"
                config.write_text(HAPROXY.format(port=port, servers=servers("  server s{n} {a}\n", address)))
                peers.append(started(Peer(name, port, ["haproxy", "-f", str(config)], last)))
        if STREAM_MODULE.exists():
            port, config = free_port(), folder / "stream.conf"
            config.write_text(STREAM.format(port=port, servers=servers("server {a};", f"127.0.0.1:{back}"), **names))
            peers.append(started(Peer("nginx stream", port, ["nginx", "-c", str(config)], last)))
        for name, address in (("hasup", f"127.0.0.1:{back}"), ("hasup, unix", f"unix:{folder}/backend.sock")):
            peer, channel = start_dispatcher(name, [address] * 3, last)
            stack.enter_context(channel)
            peers.append(started(peer))
        yield peers


def servers(form: str, address: str) -> str:
    """Three replicas, as hasup has them."""
    return "".join(form.format(n=number, a=address) for number in range(3))


def measure(peer: Peer, shape: str, options: argparse.Namespace) -> dict[str, float]:
    path = "/bulk" if shape == "bulk" else "/"
    connections = 4 if shape == "bulk" else options.connections
    before = peer.cpu()
    done = subprocess.run(
        ["taskset", "-c", str(min(os.sched_getaffinity(0))), "wrk", "-t1", f"-c{connections}", f"-d{options.seconds}",
         "--latency", *SHAPES[shape], f"http://127.0.0.1:{peer.port}{path}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    text = done.stdout
    transfer = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", text)
    requests = re.search(r"Requests/sec:\s+([\d.]+)", text)
    tail = re.search(r"99%\s+([\d.]+)(\w+)", text)
    count = re.search(r"(\d+) requests in", text)
    if not (transfer and requests and tail and count):
        raise SystemExit(text)
    errors = re.search(r"Socket errors: (.*)|Non-2xx.*", text)
    if errors:
        print(f"  {peer.name}, {shape}: {errors.group(0)}", file=sys.stderr)
    speed = float(transfer[1]) * UNITS[transfer[2]] if shape == "bulk" else float(requests[1])
    cpu = peer.cpu() - before
    return {"speed": speed, "p99": float(tail[1]) * TIMES[tail[2]], "cpu": cpu / options.seconds,
            "cost": cpu / max(1, int(count[1]))}  # fmt: skip


def show(results: dict[str, dict[str, list[dict[str, float]]]], peers: list[Peer]) -> None:
    for shape, by_peer in results.items():
        print(f"\n{shape} ({'MB/s' if shape == 'bulk' else 'requests/s'})")
        print(f"  {'':16}{'median':>10}{'p99 ms':>9}{'CPU':>7}{'µs each':>9}{'/ HAProxy':>11}{'/ direct':>10}")
        for name, runs in by_peer.items():
            speed = statistics.median(run["speed"] for run in runs) / (1e6 if shape == "bulk" else 1)
            p99 = statistics.median(run["p99"] for run in runs) * 1000
            cpu = statistics.median(run["cpu"] for run in runs)
            cost = statistics.median(run["cost"] for run in runs) * 1e6
            ratios = [ratio(runs, by_peer.get(other)) for other in ("HAProxy", "direct")]
            print(f"  {name:16}{speed:10,.0f}{p99:9.2f}{cpu:7.0%}{cost:9,.1f}{ratios[0]:>11}{ratios[1]:>10}")
    print("\nmemory, MB: " + ", ".join(f"{peer.name} {peer.memory() / 1e6:.1f}" for peer in peers if peer.process))


def table(results: dict[str, dict[str, list[dict[str, float]]]], peers: list[Peer], options: argparse.Namespace) -> str:
    """For docs/benchmarks.md: ratios to HAProxy, processor time and p99, of each shape."""
    shapes = list(results)
    setting = (
        f"{options.connections} connections (bulk: 4), 200-byte answers (bulk: {BULK // 1_000_000} MB), three "
        f"replicas; medians of {options.rounds} rounds of {options.seconds} s; {len(os.sched_getaffinity(0))} cores. "
        "Each cell: speed beside HAProxy's with replicas on TCP · processor microseconds a request · p99 in "
        f"milliseconds. The load average was {os.getloadavg()[2]:.0f}: where that is more than two, others had "
        "their share of the cores, and the second figure is the one to go by."
    )
    lines = [
        *textwrap.wrap(setting, 120),
        "",
        f"| | {' | '.join(shapes)} | memory, MB |",
        "|---" * (len(shapes) + 2) + "|",
    ]
    for peer in peers:
        cells = []
        for shape in shapes:
            runs = results[shape][peer.name]
            cost, p99 = (statistics.median(run[key] for run in runs) for key in ("cost", "p99"))
            parts = [ratio(runs, results[shape].get("HAProxy")), f"{cost * 1e6:,.1f}" if peer.process else "-"]
            cells.append(" · ".join([*parts, f"{p99 * 1000:.0f}"]))
        memory = f"{peer.memory() / 1e6:.1f}" if peer.process else "-"
        lines.append(f"| {peer.name} | {' | '.join(cells)} | {memory} |")
    return "\n".join(lines)


def ratio(runs: list[dict[str, float]], others: list[dict[str, float]] | None) -> str:
    if not others:
        return "-"
    return f"{statistics.median(a['speed'] / b['speed'] for a, b in zip(runs, others, strict=True)):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=SHAPES, metavar="SHAPE")
    parser.add_argument("--only", nargs="*", metavar="PEER", help="only these, such as HAProxy and hasup")
    options = parser.parse_args()
    for tool in ("wrk", "nginx", "taskset"):
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # nginx's worker may be another user
        with everybody(Path(folder)) as everyone:
            peers = [peer for peer in everyone if not options.only or peer.name in options.only]
            results: dict[str, dict[str, list[dict[str, float]]]] = {
                shape: {peer.name: [] for peer in peers} for shape in options.shapes
            }
            for _ in range(options.rounds):
                for shape in options.shapes:
                    for peer in peers:
                        results[shape][peer.name].append(measure(peer, shape, options))
            show(results, peers)
            if options.write:
                put("dispatcher", table(results, peers, options))
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
