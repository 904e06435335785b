"""The core's end of the socket pair to the guardian: packets in, atomic frames out.

Frames that do not fit into the socket's buffer wait here in order; a frame that was not sent by the time the core
dies simply did not happen, since state and orders travel together.
"""

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set

from hasup.loop import EXITS, Loop
from hasup.protocol.guardian import MAX_FDS, MAX_FRAME, Message, decode, encode

Order = Message
_FRAME_ROOM = MAX_FRAME // 2  # a group is added while the frame is below this; groups are far smaller


class Frame:
    """Orders and state of one turn, grouped by slot so that a split never parts a slot's state from its orders."""

    def __init__(self) -> None:
        self._orders: dict[str, list[Order]] = {}
        self._fds: dict[str, list[int]] = {}

    def __len__(self) -> int:
        """For how many slots there are orders in it."""
        return len(self._orders)

    def add(self, slot: str, *orders: Order, fds: Sequence[int] = ()) -> None:
        """Append orders of ``slot``; ``fds`` are the descriptors of a ``keep``, open until the frame is sent."""
        self._orders.setdefault(slot, []).extend(orders)
        if fds:
            self._fds.setdefault(slot, []).extend(fds)

    def take(self, unfinished: Set[str]) -> "Frame":
        """Take out all but what is for these slots."""
        taken = Frame()
        for slot in [slot for slot in self._orders if slot not in unfinished]:
            taken.add(slot, *self._orders.pop(slot), fds=self._fds.pop(slot, ()))
        return taken

    def packets(self, blobs: Mapping[str, str | None]) -> list[tuple[bytes, list[int]]]:
        """The packets to send, in order: ``[(bytes, descriptors), …]``."""
        packets: list[tuple[bytes, list[int]]] = []
        part: Message = {"blobs": {}, "do": []}
        fds: list[int] = []
        size = 0
        for slot in dict.fromkeys(["", *blobs, *self._orders]):  # what several slots need comes first
            if slot not in blobs and slot not in self._orders:
                continue
            orders, more = self._orders.get(slot, []), self._fds.get(slot, [])
            cost = sum(_cost(order) for order in orders) + len(blobs.get(slot) or "") * 2 + 64
            if size and (size + cost > _FRAME_ROOM or len(fds) + len(more) > MAX_FDS):
                packets.append((encode(part), fds))
                part, fds, size = {"blobs": {}, "do": []}, [], 0
            if slot in blobs:
                part["blobs"][slot] = blobs[slot]
            part["do"] += orders
            fds += more
            size += cost
        if part["do"] or part["blobs"]:
            packets.append((encode(part), fds))
        return packets


def _cost(order: Order) -> int:
    """A guess at an order's length that errs upwards for what is long: arguments and environment."""
    long = sum(len(text) for text in order.get("argv", ())) + sum(
        len(name) + len(value or "") for name, value in order.get("env", {}).items()
    )
    return 400 + 2 * long


class GuardianLink:
    """Sends frames, receives events with their descriptors."""

    def __init__(
        self, loop: Loop, fd: int, on_event: Callable[[Message, list[int]], None], on_gone: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._socket = socket.socket(fileno=fd)
        self.peer_pid: int = struct.unpack("3i", self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_FRAME)
        self._on_event = on_event
        self._on_gone = on_gone
        self._gone = False
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        loop.add(fd, self._ready, order=EXITS)

    def send(self, frame: Frame, blobs: Mapping[str, str | None]) -> None:
        """Send a frame, or queue it behind those that wait. Its descriptors are duplicated if they have to wait."""
        for data, fds in [] if self._gone else frame.packets(blobs):
            if self._unsent or not self._try(data, fds):
                self._unsent.append((data, [os.dup(fd) for fd in fds]))
                self._loop.modify(self._socket.fileno(), read=True, write=True)

    def finish(self, order: Order) -> None:
        """Send all that waits, then this order, however long the guardian takes. Nothing may be sent after it."""
        self._socket.setblocking(True)
        frame = Frame()
        frame.add("", order)
        self.send(frame, {})
        while self._unsent and self._try(*self._unsent[0]):
            self._unsent.popleft()

    def close(self) -> None:
        """Hang up; what is sent from now on goes nowhere."""
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._gone = True

    def _try(self, data: bytes, fds: list[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([data], ancillary)
        except BlockingIOError:
            return False
        except OSError:  # the guardian is gone: reading says so too, and that is where it is handled
            return True
        return True

    def _ready(self, _mask: int) -> None:
        if self._unsent:
            self._send_more()
        for _ in range(256):
            try:
                data, fds = self._receive()
            except BlockingIOError:
                return
            except OSError:
                data, fds = b"", []
            if not data:
                self.close()
                self._on_gone()
                return
            self._on_event(decode(data), fds)

    def _send_more(self) -> None:
        while self._unsent and self._try(*self._unsent[0]):
            for fd in self._unsent.popleft()[1]:
                os.close(fd)
        if not self._unsent:
            self._loop.modify(self._socket.fileno(), read=True, write=False)

    def _receive(self) -> tuple[bytes, list[int]]:
        """One packet; its descriptors arrive close-on-exec."""
        data, ancillary, _flags, _from = self._socket.recvmsg(
            MAX_FRAME + 1, socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
        )
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return data, fds.tolist()
