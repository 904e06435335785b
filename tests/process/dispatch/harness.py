"""What the tests of the dispatcher need: the dispatcher itself, backends, and waiting on conditions."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[3] / "supervisor"
PATIENCE_S = 30.0


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until ``condition`` holds; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.005)  # a poll of a condition
    raise AssertionError(f"{what} did not come about within {PATIENCE_S} s")


def listener(where: Any = ("127.0.0.1", 0), family: int = socket.AF_INET, backlog: int = 1024) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.bind(where)
    opened.listen(backlog)
    return opened


class Dispatcher:
    """A dispatcher process, and the core's end of its channel. Our listening socket outlives it."""

    def __init__(
        self, *, listen: socket.socket | None = None, environ: dict[str, str] | None = None, **settings: object
    ) -> None:
        self.listen = listen or listener()
        self.near, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.settimeout(PATIENCE_S)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind("")  # autobind: an abstract name
        self.notify.settimeout(PATIENCE_S)
        self._settings = settings
        self._environ = environ or {}
        self._revision = 0
        self.stats: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        """Start the process (again), and wait until it serves."""
        orders = {
            "name": "web", "listen_fd": self.listen.fileno(), "control_fd": self._far.fileno(),
            "balance": "round-robin", "weights": [], "drain_timeout": 20.0, "queue_timeout": 20.0,
            "connect_timeout": 5.0, "max_connections": 1024,
        }  # fmt: skip
        name = self.notify.getsockname()
        env = {
            "PYTHONPATH": str(SOURCE),
            "HASUP_DISPATCH": json.dumps(orders | self._settings),
            "NOTIFY_SOCKET": "@" + name[1:].decode(),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hasup.dispatch"],
            env=env | self._environ,
            pass_fds=(self.listen.fileno(), self._far.fileno()),
        )
        while self.notify.recv(4096) != b"READY=1":
            pass

    @property
    def address(self) -> Any:
        return self.listen.getsockname()

    def table(self, *backends: "Backend | dict[str, object]", wait: bool = True) -> None:
        """Send a table, and wait until it is applied."""
        self._revision += 1
        rows = [one if isinstance(one, dict) else one.row() for one in backends]
        self.near.send(json.dumps({"revision": self._revision, "backends": rows}).encode())
        if wait:
            while self.hear().get("applied") != self._revision:
                pass

    def hear(self) -> dict[str, Any]:
        """The next message of the dispatcher; keeps the newest figures in ``stats``."""
        message = json.loads(self.near.recv(262_144))
        self.stats = message.get("stats", self.stats)
        return message

    def figures(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait for figures that fulfil ``condition``; those without the backend that it asks for do not."""
        while True:
            try:
                if self.stats and condition(self.stats):
                    return self.stats
            except KeyError:
                pass
            self.hear()

    def connect(self) -> socket.socket:
        """A connection of a client."""
        opened = socket.socket(self.listen.family, socket.SOCK_STREAM)
        opened.settimeout(PATIENCE_S)
        opened.connect(self.address)
        return opened

    def ask(self, request: bytes = b"hello\n") -> bytes:
        """One connection: send, end, and read the answer to its end."""
        with self.connect() as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE_S)
        for one in (self.listen, self.near, self._far, self.notify):
            one.close()


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def echo(conversation: socket.socket) -> None:
    """Send back what comes, to its end."""
    while data := conversation.recv(65536):
        conversation.sendall(data)
    conversation.shutdown(socket.SHUT_WR)


class Backend:
    """A server in a thread; ``serve`` has each connection to itself. Counts them in ``served``."""

    def __init__(
        self,
        name: str,
        serve: Callable[[socket.socket], None] = echo,
        *,
        where: Any = None,
        family: int = socket.AF_INET,
    ) -> None:
        self.name = name
        self.served = 0
        self._serve = serve
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listen = listener(where or ("127.0.0.1", 0), family)
        where = self._listen.getsockname()
        if family == socket.AF_UNIX:
            self.address = f"unix:{where}"
        else:
            self.address = f"[{where[0]}]:{where[1]}" if family == socket.AF_INET6 else f"{where[0]}:{where[1]}"
        self._run(self._accept)

    def row(self, state: str = "ready", weight: int = 1) -> dict[str, object]:
        return {"name": self.name, "address": self.address, "weight": weight, "state": state}

    def close(self) -> None:
        """End as a killed process does: the listening socket first, then every connection."""
        try:
            self._listen.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listen.close()
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conversation, _ = self._listen.accept()
            except OSError:
                return
            conversation.settimeout(PATIENCE_S)
            self._open.add(conversation)
            self.served += 1
            self._run(self._converse, conversation)

    def _converse(self, conversation: socket.socket) -> None:
        try:
            with conversation:
                self._serve(conversation)
        except OSError:
            pass
        finally:
            self._open.discard(conversation)
