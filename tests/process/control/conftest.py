import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hasup.control.server import ControlServer
from hasup.loop import Loop
from tests.support.control import listen


class Clock:
    """Real time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Bench:
    """A server that runs only while the test pumps it, and raw clients."""

    def __init__(self, state_dir: str) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.listener = listen(state_dir)
        self.path = self.listener.getsockname()
        self.state_dir = state_dir
        self.troubles: list[str] = []
        self.allowed = True
        self.methods: dict[str, Any] = {"echo": lambda params, _peer: params}
        self.server = ControlServer(
            self.loop, self.listener, self.methods, lambda *_who: self.allowed, self.troubles.append
        )
        self._clients: list[socket.socket] = []

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.path)
        client.setblocking(False)
        self._clients.append(client)
        return client

    def pump(self, until: Callable[[], bool], what: str = "condition") -> None:
        deadline = time.monotonic() + 30
        while not until():
            assert time.monotonic() < deadline, f"in vain waited for: {what}"
            self.loop.turn(0.02)

    def read(self, client: socket.socket, lines: int = 1) -> bytes:
        """What the client receives: so many lines, or all up to the end of the connection."""
        data = bytearray()
        found = 0

        def enough() -> bool:
            nonlocal found
            while found < lines:
                try:
                    chunk = client.recv(1 << 16)
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    return True
                if not chunk:
                    return True
                data.extend(chunk)
                found += chunk.count(b"\n")
            return True

        self.pump(enough, f"{lines} lines")
        return bytes(data)

    def forget(self, client: socket.socket) -> None:
        self._clients.remove(client)
        client.close()

    def close(self) -> None:
        self.server.close(0.0)
        for client in self._clients:
            client.close()
        self.listener.close()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.chdir(tmp_path)  # a short path, whatever tmp_path is
    made = Bench(".")
    yield made
    made.close()
