"""One client of the control socket, seen from the server: its lines in, its bounded output, its open requests."""

import select
import socket
import struct
from collections.abc import Callable
from typing import Final

from hasup.loop import CONTROL, Loop
from hasup.protocol import control
from hasup.protocol.control import BadRequest, ControlError, FrameTooLong, Lines, Request, RequestId

OUTPUT_LIMIT: Final = 4 << 20  # more waits unread than this: the client is too slow, and dropped
OUTPUT_HIGH: Final = 1 << 20  # above this no more of its requests are read
FRAMES_A_TURN: Final = 16
OPEN_REQUESTS: Final = 64  # of one client, that wait for their answers
LINGER_S: Final = 5.0  # a refused client gets this long to read why
_CHUNK: Final = 1 << 16


def credentials(connection: socket.socket) -> tuple[int, int, int]:
    """``(uid, gid, pid)`` of the process that connected."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid, gid, pid


class Peer:
    """A connected client. Handlers get it, may keep it, and may use it after it is gone: nothing happens then.

    A handler that answers :data:`~hasup.control.server.LATER` reads :attr:`request` while it runs, and calls
    :meth:`reply` or :meth:`fail` with that id when it is time.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        who: tuple[int, int, int],
        handle: Callable[["Peer", Request], None],
        encode: Callable[[control.Message], bytes],
        on_close: Callable[["Peer"], None],
    ) -> None:
        self.uid, self.gid, self.pid = who
        self.request: RequestId = None  # the id of the request that is being handled
        self.following = False
        self.closed = False
        self.quiet_since = loop.now()  # the last whole request, or progress in sending
        self._loop = loop
        self._connection = connection
        self._handle = handle
        self._encode = encode
        self._on_close = on_close
        self._lines = Lines()
        self._output = bytearray()
        self._open: list[RequestId] = []
        self._more = False  # whole lines may be left to handle
        self._planned = False  # a timer will go on with them
        self._ended = False  # it sends no more
        self._refused = False
        self._interest = (True, False)
        loop.add(connection.fileno(), self._ready, order=CONTROL)

    # --- for handlers ----------------------------------------------------------------------------------------
    def reply(self, request: RequestId, result: object) -> None:
        """Answer an open request."""
        self._answer(request, control.result(request, result))

    def fail(
        self,
        request: RequestId,
        message: str,
        *,
        code: int = control.FAILED,
        exit_code: int = 1,
    ) -> None:
        """Answer an open request with an error."""
        self._answer(request, control.failure(request, ControlError(message, code=code, exit_code=exit_code)))

    def notify(self, method: str, params: object) -> None:
        """Tell a follower something."""
        self.send(self._encode(control.notification(method, params)))

    def follow(self) -> None:
        """It gets what :meth:`ControlServer.broadcast` sends, and is never idle."""
        self.following = True

    # --- for the server --------------------------------------------------------------------------------------
    @property
    def waiting(self) -> bool:
        """It waits for something from hasup: an event, an answer."""
        return self.following or bool(self._open)

    def send(self, data: bytes) -> None:
        """Queue whole lines. A client that lets more than OUTPUT_LIMIT wait is told so and dropped."""
        if self.closed or self._refused:
            return
        if len(self._output) > OUTPUT_LIMIT:
            self.refuse(ControlError("you read too slowly: dropped", code=control.TOO_SLOW))
            return
        self._output += data
        self._flush()

    def refuse(self, error: ControlError) -> None:
        """Say why, then close; what it sends from here on is not read."""
        if self.closed or self._refused:
            return
        self._output += self._encode(control.failure(None, error))
        self._refused = self._ended = True
        self._loop.call_later(LINGER_S, self.close)
        self._flush()

    def flush(self, patience_s: float) -> None:
        """Send what is left, blocking so long at most: for the end of hasup."""
        if self.closed or not self._output:
            return
        self._connection.settimeout(max(patience_s, 0.001))
        try:
            self._connection.sendall(self._output)
        except OSError:  # it does not read, or is gone
            pass
        self._output.clear()

    def close(self) -> None:
        """Gone; may be called at any time."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove(self._connection.fileno())
        self._connection.close()
        self._output.clear()
        self._on_close(self)

    # --- inside ----------------------------------------------------------------------------------------------
    def _answer(self, request: RequestId, message: control.Message) -> None:
        if request in self._open:
            self._open.remove(request)
            self.send(self._encode(message))
            self._settle()

    def _ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush()
        gone = bool(mask & (select.EPOLLHUP | select.EPOLLERR))
        if gone:  # nobody will read what waits; but what it had asked for is done
            self._output.clear()
        if (gone or mask & select.EPOLLIN) and not self._ended and not self.closed:
            self._receive()
        self._work()
        if gone and self._ended and not self._more:
            self.close()
        self._settle()

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._ended = not data
        self._lines.feed(data)
        self._more = True

    def _work(self) -> None:
        """Handle a fair share of its lines."""
        for _ in range(FRAMES_A_TURN):
            if self.closed or self._refused or not self._more or self._is_full():
                return
            try:
                line = self._lines.next()
            except FrameTooLong:
                text = f"a request is at most {control.MAX_FRAME} bytes long"
                self.refuse(ControlError(text, code=control.TOO_LARGE, exit_code=2))
                return
            self._more = line is not None
            if line is not None and line.strip():
                self._take(line)

    def _go_on(self) -> None:
        self._planned = False
        self._work()
        self._settle()

    def _is_full(self) -> bool:
        """It does not read its answers: no more of its requests is looked at meanwhile."""
        return len(self._output) >= OUTPUT_HIGH

    def _take(self, line: bytes) -> None:
        self.quiet_since = self._loop.now()
        try:
            request = control.parse_request(line)
        except BadRequest as error:
            self.send(self._encode(control.failure(error.request, error)))
            return
        if request.id is not None:
            if len(self._open) >= OPEN_REQUESTS or request.id in self._open:
                text = "this id waits for its answer" if request.id in self._open else "too many open requests"
                self.send(self._encode(control.failure(request.id, ControlError(text, code=control.BUSY))))
                return
            self._open.append(request.id)
        self.request = request.id
        self._handle(self, request)

    def _flush(self) -> None:
        while self._output and not self.closed:
            try:
                sent = self._connection.send(self._output)
            except BlockingIOError:
                break
            except OSError:  # gone; nothing that waits will ever be read
                self._output.clear()
                self._ended = True
                break
            del self._output[:sent]
            self.quiet_since = self._loop.now()
        self._settle()

    def _settle(self) -> None:
        """Close when all is done, else watch for what can happen next."""
        if self.closed:
            return
        done = self._refused or not (self._more or self.waiting)
        if self._ended and not self._output and done:
            self.close()
            return
        if self._more and not self._refused and not self._planned and not self._is_full():
            self._planned = True
            self._loop.call_later(0.0, self._go_on)
        interest = (not self._ended and not self._more and not self._is_full(), bool(self._output))
        if interest != self._interest:
            self._interest = interest
            self._loop.modify(self._connection.fileno(), read=interest[0], write=interest[1])
