"""The control socket, from a command's side: blocking, standard library only, and cheap to import."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from hasup.protocol import control
from hasup.protocol.control import ControlError, Message

SOCKET_NAME: Final = "control.sock"
_CONNECT_S: Final = 10.0
_CHUNK: Final = 1 << 16
_ANSWER_LIMIT: Final = 256 << 20  # a line longer than this is no answer of hasup's


class NotRunning(Exception):
    """Nobody listens on the control socket of this state directory."""

    def __init__(self, state_dir: str) -> None:
        super().__init__(f"hasup is not running (no control socket in {state_dir}); start it with: hasup start")
        self.state_dir = state_dir


class ConnectionLost(Exception):
    """hasup went away, or its core was replaced, before it answered."""

    def __init__(self) -> None:
        super().__init__("hasup went away before it answered (was its core replaced?); see: hasup status")


class NoAnswer(Exception):
    """hasup is there, but does not answer in time."""


def address(state_dir: str, directory_fd: int) -> str:
    """The address of the control socket: its path, or one through ``directory_fd`` when that is too long."""
    path = os.path.join(state_dir, SOCKET_NAME)
    return path if len(os.fsencode(path)) < 100 else f"/proc/self/fd/{directory_fd}/{SOCKET_NAME}"


class ControlClient:
    """One connection. Raises :class:`NotRunning`, :class:`NoAnswer`, or ControlError when it may not be used."""

    def __init__(self, state_dir: str) -> None:
        self._lines = control.Lines(_ANSWER_LIMIT)
        self._calls = 0
        self._told: list[Message] = []  # notifications that came while an answer was awaited
        self._socket = _connect(state_dir)

    def call(self, method: str, params: Message | None = None, timeout: float | None = None) -> Any:
        """The result of one method. ``timeout`` in seconds; None waits as long as it takes.

        Raises ControlError (hasup says no), ConnectionLost, NoAnswer (timeout).
        """
        return self.answer(self.send(method, params), timeout)

    def send(self, method: str, params: Message | None = None) -> int:
        """Ask, without waiting; the number that :meth:`answer` takes."""
        self._calls += 1
        request = control.encode(control.request(self._calls, method, params or {}))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what it said before it closed is still there
            self._socket.settimeout(None)
            self._socket.sendall(request)
        return self._calls

    def answer(self, call: int, timeout: float | None = None) -> Any:
        """Wait for the answer to a call; after NoAnswer (timeout) one may wait for it again."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self._receive(until)
            error = control.error_of(message)
            if error is not None and message.get("id") in (call, None):
                raise error
            if "method" in message:
                self._told.append(message)
            elif message.get("id") == call:
                return message.get("result")

    def follow(self) -> tuple[int, Iterator[Message]]:
        """The number of the newest event, and all that come after it, for ever (the params of each notification).

        The iterator raises ConnectionLost, and ControlError when hasup drops a slow reader.
        """
        answer = self.call("follow", timeout=_CONNECT_S)
        return int(answer.get("seq", 0)), self._follow()

    def _follow(self) -> Iterator[Message]:
        while True:
            message = self._told.pop(0) if self._told else self._receive(None)
            error = control.error_of(message)
            if error is not None:
                raise error
            if message.get("method") == "event":
                yield message["params"]

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, until: float | None) -> Message:
        """The next line, waiting until a time of the monotonic clock."""
        while (line := self._lines.next()) is None:
            patience = None if until is None else until - time.monotonic()
            if patience is not None and patience <= 0:
                raise NoAnswer(
                    "hasup runs, but its core did not answer in time; its own log is in the state directory, in logs"
                )
            self._socket.settimeout(patience)
            try:
                data = self._socket.recv(_CHUNK)
            except TimeoutError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise ConnectionLost
            self._lines.feed(data)
        try:
            return control.decode(line)
        except ValueError:
            raise ControlError("what answers on the control socket is not hasup") from None


def _connect(state_dir: str) -> socket.socket:
    try:
        directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotRunning(state_dir) from None
    except PermissionError:
        raise _forbidden(state_dir) from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # A blocking connect waits while the queue of the socket is full; a time limit of Python's would fail at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_CONNECT_S), 0))
        connection.connect(address(state_dir, directory))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
    except (FileNotFoundError, ConnectionRefusedError):  # refused: left over by a hasup that is dead
        connection.close()
        raise NotRunning(state_dir) from None
    except PermissionError:
        connection.close()
        raise _forbidden(state_dir) from None
    except BlockingIOError:
        connection.close()
        raise NoAnswer("hasup does not take connections in: too many wait already") from None
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def _forbidden(state_dir: str) -> ControlError:
    text = f"you may not control the hasup in {state_dir}; try as its user, or as root"
    return ControlError(text, code=control.NOT_ALLOWED)
