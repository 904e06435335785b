"""The notify sockets of the replicas: one abstract datagram socket a slot (docs/decisions/0004)."""

import array
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from hasup.loop import SIGNS_OF_LIFE, Loop
from hasup.model.events import Beat, Event, Notified
from hasup.protocol.notify import MAX_DATAGRAM, Message, parse

_A_TURN = 64  # datagrams of one slot; a child that floods waits for the next turn like everybody
_MAX_FDS = 253
_ANCILLARY = socket.CMSG_SPACE(struct.calcsize("3i")) + socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
_COMPLAIN_EVERY_S = 60.0

Belongs = Callable[[str, int, int, int], bool]


class _Sender(NamedTuple):
    pid: int
    uid: int
    gid: int


class NotifySockets:
    """Reads what replicas say. ``belongs(slot, pid, uid, gid)`` decides who may speak for a slot."""

    def __init__(
        self,
        loop: Loop,
        instance: str,
        emit: Callable[[Event], None],
        belongs: Belongs,
        trouble: Callable[[str, str], None],
    ) -> None:
        self._loop = loop
        self._instance = instance
        self._emit = emit
        self._belongs = belongs
        self._trouble = trouble
        self._sockets: dict[str, socket.socket] = {}
        self._held: set[str] = set()
        self._refused: dict[str, int] = {}
        self._complained: dict[str, float] = {}
        self.on_fd_store: Callable[[str, Message, list[int]], None] = lambda _slot, _message, fds: _close(fds)

    def open(self, slot: str) -> tuple[int, str]:
        """The slot's socket (opened if it is not) and the value of NOTIFY_SOCKET for its replica. Raises OSError."""
        if slot not in self._sockets:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                _bind(opened, f"\0hasup/{self._instance}/{slot}")
                self._watch(slot, opened)
            except OSError:
                opened.close()
                raise
        name: bytes = self._sockets[slot].getsockname()
        return self._sockets[slot].fileno(), "@" + name[1:].decode()

    def adopt(self, slot: str, fd: int) -> None:
        """Take over a socket that outlived the core before; the descriptor is this object's from now on."""
        self._watch(slot, socket.socket(fileno=fd))

    def close(self, slot: str) -> None:
        """The slot is gone; unknown ones are ignored."""
        opened = self._sockets.pop(slot, None)
        if opened is not None:
            self._loop.remove(opened.fileno())
            opened.close()
            self._held.discard(slot)
            self._refused.pop(slot, None)
            self._complained.pop(slot, None)

    def hold(self, slot: str) -> None:
        """Leave in the socket what comes, until :meth:`release`."""
        if slot not in self._held:
            self._held.add(slot)
            if slot in self._sockets:
                self._loop.remove(self._sockets[slot].fileno())

    def release(self, slot: str) -> None:
        """Read on."""
        if slot in self._held:
            self._held.remove(slot)
            if slot in self._sockets:
                self._listen(slot)

    def _watch(self, slot: str, opened: socket.socket) -> None:
        opened.setblocking(False)
        self._sockets[slot] = opened
        if slot not in self._held:
            self._listen(slot)

    def _listen(self, slot: str) -> None:
        self._loop.add(self._sockets[slot].fileno(), lambda _mask: self._read(slot), order=SIGNS_OF_LIFE)

    def _read(self, slot: str) -> None:
        opened = self._sockets[slot]
        beat = False
        known: dict[_Sender, bool] = {}  # a sender is looked up once a turn, however much it sends
        for _ in range(_A_TURN):
            try:
                data, ancillary, flags, _ = opened.recvmsg(MAX_DATAGRAM, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                break
            except OSError as error:  # EMFILE and the like: the next datagram may do better
                self._complain(slot, f"a message could not be read: {os.strerror(error.errno or 0).lower()}")
                break
            sender, fds = _unpack(ancillary)
            if sender is not None and sender not in known:
                known[sender] = self._belongs(slot, *sender)
            if sender is None or not known[sender]:
                _close(fds)
                self._refuse(slot, sender)
            elif flags & socket.MSG_TRUNC:
                _close(fds)
                self._complain(slot, f"a message of more than {MAX_DATAGRAM} bytes was refused")
            else:
                beat |= self._take(slot, parse(data), fds)
        if beat:
            self._emit(Beat(slot))

    def _take(self, slot: str, message: Message, fds: list[int]) -> bool:
        """Pass on what it says; whether it was a sign of life. Descriptors that nobody keeps are closed."""
        if message.malformed:
            self._complain(slot, f"{message.malformed} lines of a message to its NOTIFY_SOCKET were not understood")
        if message.tells:
            self._emit(
                Notified(
                    slot,
                    ready=message.ready,
                    reloading=message.reloading,
                    stopping=message.stopping,
                    status=_status(message),
                    main_pid=message.main_pid,
                    watchdog_usec=message.watchdog_usec,
                    watchdog_trigger=message.trigger,
                    extend_timeout_usec=message.extend_timeout_usec,
                )
            )
        if message.fd_store or message.fd_store_remove:
            self.on_fd_store(slot, message, fds)
        elif message.barrier:
            self._open_barrier(fds, self._loop.turns)
        else:
            _close(fds)
        return message.beat

    def _open_barrier(self, fds: list[int], turn: int) -> None:
        """Whoever waits for the other end to close waits until all that came before has been decided on, which is at
        the end of the turn in which it came.
        """
        if self._loop.turns == turn:
            self._loop.call_later(0.0, lambda: self._open_barrier(fds, turn))
        else:
            _close(fds)

    def _refuse(self, slot: str, sender: _Sender | None) -> None:
        self._refused[slot] = self._refused.get(slot, 0) + 1
        who = f"process {sender.pid} of user {sender.uid}" if sender is not None else "an unknown process"
        self._complain(
            slot,
            f"a message to its NOTIFY_SOCKET from {who} was refused: it is none of this replica's processes "
            f"({self._refused[slot]} refused so far)",
        )

    def _complain(self, slot: str, text: str) -> None:
        now = self._loop.now()
        if now - self._complained.get(slot, float("-inf")) >= _COMPLAIN_EVERY_S:
            self._complained[slot] = now
            self._trouble(slot, text)


def _status(message: Message) -> str | None:
    """What it says of itself, with the error or exit status that it names."""
    parts = [message.status] if message.status is not None else []
    if message.errno:
        parts.append(f"error {message.errno}: {os.strerror(message.errno).lower()}")
    if message.exit_status is not None:
        parts.append(f"exit status {message.exit_status}")
    return "; ".join(parts) if parts else None


def _bind(opened: socket.socket, name: str) -> None:
    """Bind to ``name``; where somebody has taken it, as anyone on the machine can, to one that nobody can foresee."""
    try:
        opened.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        opened.bind(f"{name}/{os.urandom(8).hex()}")


def _unpack(ancillary: list[tuple[int, int, bytes]]) -> tuple[_Sender | None, list[int]]:
    sender, fds = None, array.array("i")
    for level, kind, content in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS and len(content) >= struct.calcsize("3i"):
            sender = _Sender(*struct.unpack("3i", content[: struct.calcsize("3i")]))
        elif kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return sender, fds.tolist()


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
