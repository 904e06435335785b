"""Twenty minutes of mixed traffic through one dispatcher: its memory and its descriptors stay flat.

    PYTHONPATH=supervisor python benchmarks/soak.py [--minutes 20] [--seed 1] [--every 10] [--json FILE]

Clients of every kind at once, by a seeded order: small answers one a connection and over keep-alive, large downloads
and uploads, slow readers, half-closed and idle connections, some that reset in the middle and some that never say
anything. Each pauses a little: this is about what is left over, not about speed. Printed each minute: requests so far,
failures, resident memory and descriptors of the dispatcher, of the core and of the guardian. It ends with 1 when a
request failed, when the dispatcher's memory was larger in the last third than ever before by more than a twentieth (it
grows at first, to what the buffers of slow receivers take), or when it holds more descriptors at the end than at the
start.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "supervisor"
LARGE = 8_000_000
PATIENCE_S = 120.0
CONFIG = """
[programs.web]
command = "{python} server.py"
replicas = 3
port = "auto"
ready.tcp = "127.0.0.1:${{PORT}}"
listen = {{ address = "127.0.0.1:{port}" }}
"""
SERVER = """
import asyncio, os

async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            path, length = head.split()[1], 0
            for line in head.split(b"\\r\\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            while length > 0 and (part := await reader.read(min(length, 65536))):
                length -= len(part)
            body = bytes({LARGE} if path == b"/large" else 200)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
            await writer.drain()
            if b"connection: close" in head.lower():
                break
    except (OSError, asyncio.IncompleteReadError):
        pass
    writer.close()

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=1024) as server:
        await server.serve_forever()

asyncio.run(main())
""".replace("{LARGE}", str(LARGE))

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Clients:
    """Each kind is a coroutine: one visit, which raises when something went wrong."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = port
        self.chance = chance
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    async def go_on(self, kind: Callable[["Clients"], Awaitable[None]], until: float) -> None:
        name = kind.__name__
        while time.monotonic() < until:
            try:
                await asyncio.wait_for(kind(self), PATIENCE_S)
                self.done[name] += 1
            except (OSError, EOFError, TimeoutError) as error:
                self.failed[f"{name}: {error!r}"[:120]] += 1
            await asyncio.sleep(self.chance.uniform(0.005, 0.05))  # a client's pause

    @contextlib.asynccontextmanager
    async def connected(self, buffer: int = 0):  # type: ignore[no-untyped-def]
        one = socket.socket()
        one.setblocking(False)
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", self.port))
        except BaseException:
            one.close()
            raise
        reader, writer = await asyncio.open_connection(sock=one, limit=buffer or 2**16)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(streams: Streams, path: str, *, close: bool = False, body: bytes = b"", pause: float = 0.0) -> None:
    reader, writer = streams
    ends = "Connection: close\r\n" if close else ""
    writer.write(f"POST {path} HTTP/1.1\r\nHost: a\r\n{ends}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    await answer(reader, pause)
    if close and await reader.read(1):
        raise EOFError("more than was announced")


async def answer(reader: asyncio.StreamReader, pause: float = 0.0) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise EOFError(head[:40])
    left = int(head.lower().split(b"content-length:")[1].split()[0])
    while left > 0:
        part = await reader.read(min(left, 65536))
        if not part:
            raise EOFError(f"{left} bytes are missing")
        left -= len(part)
        if pause:
            await asyncio.sleep(pause)


async def small(clients: Clients) -> None:
    async with clients.connected() as streams:
        await ask(streams, "/", close=True)


async def keep_alive(clients: Clients) -> None:
    async with clients.connected() as streams:
        for _ in range(clients.chance.randint(2, 50)):
            await ask(streams, "/")


async def download(clients: Clients) -> None:
    async with clients.connected() as streams:
        await ask(streams, "/large", close=True)


async def upload(clients: Clients) -> None:
    async with clients.connected() as streams:
        await ask(streams, "/", body=bytes(clients.chance.randint(1, LARGE)))


async def slow_reader(clients: Clients) -> None:
    async with clients.connected(buffer=16384) as streams:
        await ask(streams, "/large", pause=0.02)


async def half_closed(clients: Clients) -> None:
    async with clients.connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        writer.write_eof()
        await answer(reader)
        if await reader.read():
            raise EOFError("more than was announced")


async def idle(clients: Clients) -> None:
    async with clients.connected() as streams:
        await ask(streams, "/")
        await asyncio.sleep(clients.chance.uniform(1, 20))  # the point of it
        await ask(streams, "/")


async def silent(clients: Clients) -> None:
    async with clients.connected():
        await asyncio.sleep(clients.chance.uniform(0, 2))  # the point of it


async def reset(clients: Clients) -> None:
    async with clients.connected(buffer=16384) as (reader, writer):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.read(clients.chance.randint(1, 1_000_000))
        writer.transport.abort()


KINDS = {
    small: 4,
    keep_alive: 4,
    download: 1,
    upload: 1,
    slow_reader: 12,
    half_closed: 2,
    idle: 30,
    silent: 6,
    reset: 2,
}


def usage(pid: int) -> tuple[int, int]:
    """Resident bytes and descriptors of a process."""
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resident, len(os.listdir(f"/proc/{pid}/fd"))


async def watch(clients: Clients, pids: dict[str, int], until: float, every: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    began = said = time.monotonic()
    while (now := time.monotonic()) < until:
        row = {"s": round(now - began), "done": clients.done.total(), "failed": clients.failed.total()}
        row |= {name: usage(pid) for name, pid in pids.items()}
        rows.append(row)
        if now >= said:
            said += 60
            tell(row)
        await asyncio.sleep(min(every, until - now))
    return rows


def tell(row: dict[str, object]) -> None:
    parts = [f"{name} {row[name][0] / 1e6:.1f} MB {row[name][1]} fds" for name in ("dispatcher", "core", "guardian")]  # type: ignore[index]
    print(f"{row['s']:5} s  {row['done']:9,} done  {row['failed']} failed  {', '.join(parts)}", flush=True)


async def soak(port: int, pids: dict[str, int], options: argparse.Namespace) -> tuple[Clients, list[dict[str, object]]]:
    clients = Clients(port, random.Random(options.seed))
    until = time.monotonic() + options.minutes * 60
    tasks = [asyncio.create_task(clients.go_on(kind, until)) for kind, number in KINDS.items() for _ in range(number)]
    rows = await watch(clients, pids, until, options.every)
    await asyncio.gather(*tasks)
    return clients, rows


def verdict(clients: Clients, rows: list[dict[str, object]], before: tuple[int, int], after: tuple[int, int]) -> int:
    for kind in KINDS:
        print(f"  {kind.__name__:12}{clients.done[kind.__name__]:10,}")
    for what, number in clients.failed.most_common():
        print(f"  failed {number} times: {what}")
    memory = [row["dispatcher"][0] for row in rows]  # type: ignore[index]
    third = (2 * len(memory) + 2) // 3
    early, late = max(memory[:third]), max(memory[third:], default=0)
    print(f"dispatcher, memory: at most {early / 1e6:.1f} MB before, {late / 1e6:.1f} MB in the last third")
    print(f"dispatcher, descriptors: {before[1]} before, {after[1]} after; at rest {after[0] / 1e6:.1f} MB")
    return int(bool(clients.failed) or late > 1.05 * early or after[1] > before[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=10, help="seconds between two looks")
    parser.add_argument("--json", type=Path, help="write all looks there")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "server.py").write_text(SERVER)
        (Path(folder) / "hasup.toml").write_text(CONFIG.format(python=sys.executable, port=port))
        environ = os.environ | {"PYTHONPATH": str(SOURCE)}

        def hasup(*words: str) -> str:
            argv = [sys.executable, "-m", "hasup", *words]
            return subprocess.run(argv, cwd=folder, env=environ, check=True, capture_output=True, text=True).stdout

        hasup("start", "-d")
        try:
            status = json.loads(hasup("status", "--json"))
            pids = {
                "dispatcher": status["programs"][0]["dispatcher"]["pid"],
                "core": status["supervisor"]["core_pid"],
                "guardian": status["supervisor"]["guardian_pid"],
            }
            before = usage(pids["dispatcher"])
            clients, rows = asyncio.run(soak(port, pids, options))
            deadline = time.monotonic() + 30
            while (after := usage(pids["dispatcher"]))[1] > before[1] and time.monotonic() < deadline:
                time.sleep(0.1)  # a poll of a condition: it has still to see the last ends
            if options.json:
                options.json.write_text(json.dumps(rows))
            return verdict(clients, rows, before, after)
        finally:
            hasup("stop")


if __name__ == "__main__":
    sys.exit(main())
