"""A control server in a thread, speaking the real protocol over a real socket."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hasup.control.client import SOCKET_NAME, address
from hasup.control.server import ControlServer
from hasup.loop import Loop


def listen(state_dir: str) -> socket.socket:
    """A listening control socket in ``state_dir``, whatever the length of its path."""
    os.makedirs(state_dir, exist_ok=True)
    directory = os.open(state_dir, os.O_PATH)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address(state_dir, directory))
        listener.listen(128)
    finally:
        os.close(directory)
    return listener


class Running:
    """What a test can see of the server in the thread; ``server`` belongs to the thread."""

    def __init__(self, listener: socket.socket, methods: Mapping[str, Any], allowed: Callable[..., bool]) -> None:
        self.troubles: list[str] = []
        self.loop = Loop()
        self.server = ControlServer(self.loop, listener, methods, allowed, self.troubles.append)
        self._wake, self._woken = socket.socketpair()
        self._calls: list[Callable[[], None]] = []
        self.loop.add(self._woken.fileno(), self._called)
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the server's thread, soon."""
        self._calls.append(function)
        self._wake.send(b"x")

    def end(self) -> None:
        self.call(self.loop.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.server.close(0.0)
        self.loop.close()
        self._wake.close()
        self._woken.close()

    def _called(self, _mask: int) -> None:
        self._woken.recv(1)
        self._calls.pop(0)()


@contextlib.contextmanager
def serving(
    state_dir: str, methods: Mapping[str, Any], allowed: Callable[..., bool] = lambda *_who: True
) -> Iterator[Running]:
    """A server with these methods on ``state_dir``'s control socket; afterwards its socket is left over, dead."""
    with listen(state_dir) as listener:
        running = Running(listener, methods, allowed)
        try:
            yield running
        finally:
            running.end()


__all__ = ["SOCKET_NAME", "Running", "listen", "serving"]
