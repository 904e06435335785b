"""The control socket, inside the core's loop. Nothing here blocks, and everything a client can use up is bounded.

A client that may not be here, is one too many, sends what is too long, or reads too slowly gets one JSON-RPC error
line that says so, and is closed. A client that is merely wrong (no JSON, no such method) gets an error and may go on.
"""

import errno
import json
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hasup.control.peer import Peer, credentials
from hasup.loop import CONTROL, Loop
from hasup.protocol import control
from hasup.protocol.control import ControlError, Request

__all__ = ["LATER", "ControlServer", "Later", "Method", "Peer"]

MAX_CLIENTS: Final = 64
IDLE_S: Final = 60.0  # a client that neither asks nor follows is dropped after this
EVICT_AFTER_S: Final = 5.0  # when all seats are taken, one that is idle for this long is given away
_ACCEPTS_A_TURN: Final = 32
_SWEEP_S: Final = 5.0
_ACCEPT_PAUSE_S: Final = 0.5  # with no descriptors left
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class Later:
    """The type of :data:`LATER`."""


LATER: Final = Later()  # "the answer comes later, by peer.reply or peer.fail"

Method = Callable[[dict[str, Any], Peer], Any]


class ControlServer:
    """Serves ``methods`` on a listening Unix socket that stays the caller's.

    A method gets the params (a dict) and the :class:`Peer`, and returns the result (anything msgspec can write) or
    :data:`LATER`; it raises :class:`ControlError` to say no. Whatever else it raises is answered by an internal error
    and told to ``trouble``, and ends nothing. ``allowed(uid, gid, pid)`` says who may be a client.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        methods: Mapping[str, Method],
        allowed: Callable[[int, int, int], bool],
        trouble: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._methods = methods
        self._allowed = allowed
        self._trouble = trouble
        self._peers: set[Peer] = set()
        self._sweeping = False
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def followers(self) -> int:
        """How many would hear a :meth:`broadcast`."""
        return sum(peer.following for peer in self._peers)

    def broadcast(self, method: str, params: object) -> None:
        """Tell every follower; encoded once, and not at all when nobody follows."""
        followers = [peer for peer in self._peers if peer.following]
        if followers:
            line = self._encode(control.notification(method, params))
            for peer in followers:
                peer.send(line)

    def close(self, patience_s: float = 1.0) -> None:
        """Send what is left to send (blocking so long at most in all), close the clients, leave the listener open."""
        self._closed = True
        self._loop.remove(self._listener.fileno())
        until = self._loop.now() + patience_s
        for peer in list(self._peers):
            peer.flush(until - self._loop.now())
            peer.close()

    # --- clients come and go ---------------------------------------------------------------------------------
    def _listen(self) -> None:
        if not self._closed:
            self._loop.add(self._listener.fileno(), self._accept, order=CONTROL)

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause(error)
                return
            self._admit(connection)

    def _pause(self, error: OSError) -> None:
        """Without descriptors the listener would stay ready for ever: leave those who wait in its queue for a while."""
        self._trouble(f"control socket: no client can be taken in: {os.strerror(error.errno or 0).lower()}")
        self._loop.remove(self._listener.fileno())
        self._loop.call_later(_ACCEPT_PAUSE_S, self._listen)

    def _admit(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        who = credentials(connection)
        if not self._allowed(*who):
            _turn_away(connection, ControlError(f"user {who[0]} may not control this hasup", code=control.NOT_ALLOWED))
        elif not self._has_seat():
            text = f"all {MAX_CLIENTS} seats at the control socket are taken; try again"
            _turn_away(connection, ControlError(text, code=control.BUSY))
        else:
            self._peers.add(Peer(self._loop, connection, who, self._call, self._encode, self._peers.discard))
            self._plan_sweep()

    def _has_seat(self) -> bool:
        if len(self._peers) < MAX_CLIENTS:
            return True
        idle = [peer for peer in self._peers if not peer.waiting]
        longest = min(idle, key=lambda peer: peer.quiet_since, default=None)
        if longest is None or self._loop.now() - longest.quiet_since < EVICT_AFTER_S:
            return False
        self._dismiss(longest)
        return True

    def _plan_sweep(self) -> None:
        if not self._sweeping and not self._closed:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        now = self._loop.now()
        for peer in [peer for peer in self._peers if not peer.waiting and now - peer.quiet_since >= IDLE_S]:
            self._dismiss(peer)
        if self._peers:
            self._plan_sweep()

    def _dismiss(self, peer: Peer) -> None:
        peer.refuse(ControlError("idle for too long", code=control.IDLE))
        peer.close()

    # --- requests --------------------------------------------------------------------------------------------
    def _call(self, peer: Peer, request: Request) -> None:
        """Handle one request; a notification is handled alike, but its answer goes nowhere."""
        method = self._methods.get(request.method)
        if method is None:
            text = f"hasup has no method {request.method[:100]!r} (is the command of another version?)"
            peer.fail(request.id, text, code=control.METHOD_NOT_FOUND, exit_code=2)
            return
        try:
            result = method(request.params, peer)
        except ControlError as error:
            peer.fail(request.id, error.message, code=error.code, exit_code=error.exit_code)
        except Exception as error:  # the loop must go on, whatever a handler does
            self._trouble(f"control method {request.method}: {_where(error)}")
            peer.fail(request.id, f"internal error: {error!r:.300}", code=control.INTERNAL_ERROR)
        else:
            if result is not LATER:
                peer.reply(request.id, result)

    def _encode(self, message: control.Message) -> bytes:
        try:
            return msgspec.json.encode(message) + b"\n"
        except UnicodeEncodeError:  # a name or path that is not UTF-8
            return control.encode(msgspec.to_builtins(message))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._trouble(f"control: an answer can't be written: {error!r}")
            failed = ControlError("internal error: the answer can't be written", code=control.INTERNAL_ERROR)
            return json.dumps(control.failure(message.get("id"), failed)).encode() + b"\n"


def _turn_away(connection: socket.socket, error: ControlError) -> None:
    """Say why and close. A fresh socket's buffer has room for a line; if not, the client learns nothing."""
    with connection:
        try:
            connection.send(control.encode(control.failure(None, error)))
        except OSError:
            pass


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{error!r}{place}"
