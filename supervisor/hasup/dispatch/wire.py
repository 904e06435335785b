"""Moves bytes between the two sockets of a connection, both ways, and ends each way as its sender ended it.

Sockets are non-blocking and edge-triggered: an :class:`End` remembers in ``ready`` that it may be read. At most one
buffer of a direction is held here; while the receiver does not take it, nothing is read from the sender, whose kernel
then slows it down. Bytes are read and written: splicing through a pipe cost less processor time a byte (0.8 of it) and
moved fewer bytes a second (0.75), and it would cost two more descriptors.

An end of file is passed on by shutting down the other socket's write side, a reset by resetting it. A socket that
cannot be written to any more is still read to its end: an early answer must reach the client.
"""

import os
from _socket import AF_INET, MSG_MORE, SHUT_WR, SO_LINGER, SOCK_STREAM, SOL_SOCKET, socket
from collections.abc import Callable, Mapping
from fcntl import ioctl
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, epoll
from termios import TIOCOUTQ

from hasup.dispatch.ends import CLOSED, OPEN, End, Flow

CHUNK = 65536  # bytes a read
TURN_BYTES = 1 << 20  # of one direction, before the others have their turn
_ODD = EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI  # urgent data: it makes reads stop short
_WATCH = EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLET
_RESET_ON_CLOSE = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, no time


class Wire:
    """Every socket of every connection. ``now`` is the time of this turn of the loop."""

    def __init__(self, watcher: epoll, closed: Callable[[Flow], None]) -> None:
        self.now = 0.0
        self.ends: dict[int, End] = {}
        self.unsettled: Callable[[End, int], None] = _nobody  # told of sockets whose connection is not open yet
        self._watcher = watcher
        self._closed = closed
        self._again: list[End] = []  # had their share of this turn
        self._graveyard: list[int] = []

    def add(self, end: End, full: bool = False) -> None:
        """Watch a socket from now on, if it is not watched already; it is closed with its connection.

        When it is ``full``, also for the first moment at which it can be written to.
        """
        if end.fd not in self.ends:
            self.ends[end.fd] = end
            end.full = full
            self._watcher.register(end.fd, _WATCH | EPOLLOUT if full else _WATCH)

    def drop(self, end: End, by_reset: bool = False) -> None:
        """Close one socket, at the end of this turn: until then its number must not be used again."""
        self.ends.pop(end.fd, None)
        if by_reset and end.tcp:
            reset(end)
        end.peer = None
        self._graveyard.append(end.fd)

    def open(self, flow: Flow) -> None:
        """The backend is there: from now on bytes are moved."""
        assert flow.upstream is not None
        client, upstream = flow.client, flow.upstream
        flow.stage = OPEN
        if client.ready or client.done or upstream.ready or upstream.held:
            self._both(client, upstream)
        else:
            flow.plain = True

    def turn(self, events: list[tuple[int, int]], others: Mapping[int, Callable[[], None]]) -> None:
        """What epoll tells of sockets; ``others`` are called for theirs.

        The usual case is here, in one piece, since its speed is the dispatcher's: a small message, taken at once.
        """
        find, read, write, now = self.ends.get, os.read, os.write, self.now
        for fd, mask in events:
            end = find(fd)
            if end is None:
                if fd in others:
                    others[fd]()
                continue
            flow = end.flow
            if mask & _ODD or not flow.plain:
                self._unusual(end, mask)
                continue
            peer, backend = end.peer, flow.backend
            assert peer is not None
            assert backend is not None
            try:
                data = read(fd, CHUNK)
                size = len(data)
                if not 0 < size < CHUNK:
                    self._took(end, data)
                    continue
                flow.touched_at = now
                if end.is_client:
                    backend.bytes_in += size
                    flow.asked_at = flow.asked_at or now
                else:
                    backend.bytes_out += size
                    if flow.asked_at:
                        backend.answered(now - flow.asked_at)
                        flow.asked_at = 0.0
            except OSError:
                self._unusual(end, mask)
                continue
            try:
                sent = write(peer.fd, data)
            except OSError:  # it cannot take any now, or never again: found out on the long way
                sent = 0
            if sent != size:
                peer.held = data[sent:]
                self._both(end, peer)

    def _took(self, end: End, data: bytes) -> None:
        """A whole buffer was read, or the end of file."""
        peer = end.peer
        assert peer is not None
        if data:
            self.count(end, len(data))
            end.ready = True
            peer.held = data
        else:
            end.done = True
        self._both(end, peer)

    def carry_on(self) -> None:
        """The end of a turn: close what is closed, and give those another share that had theirs."""
        for fd in self._graveyard:
            os.close(fd)
        self._graveyard.clear()
        again, self._again = self._again, []
        for end in again:
            if end.peer is not None:
                self._both(end, end.peer)

    @property
    def busy(self) -> bool:
        """Somebody waits for another share: do not sleep."""
        return bool(self._again)

    def end(self, flow: Flow, reset: bool = False) -> None:
        """Close a connection, whatever its state; ``reset`` tells both sides that it did not end well."""
        if flow.stage == CLOSED:
            return
        flow.stage = CLOSED
        flow.plain = False
        self._closed(flow)
        for end in (flow.client, flow.upstream):
            if end is not None:
                self.drop(end, reset)
                del end.flow  # no cycle is left for the collector

    def left_to_send(self, flow: Flow) -> int:
        """Bytes that the kernel has and the receivers have not, of both sockets."""
        return sum(_unsent(end.fd) for end in (flow.client, flow.upstream) if end is not None)

    def look_again(self, end: End) -> None:
        """Read what has come from ``end`` since epoll was asked last."""
        end.ready = not end.done
        if end.peer is not None:
            self._both(end, end.peer)

    def read_no_more(self, end: End) -> None:
        """As if ``end`` had sent its end of file: pass that on."""
        end.done = True
        if end.peer is not None:
            self._both(end, end.peer)

    def _unusual(self, end: End, mask: int) -> None:
        if mask & ~EPOLLOUT:
            end.ready = True
            end.ended = bool(mask & EPOLLRDHUP)
        flow = end.flow
        unused = not flow.touched_at and not end.is_client
        if flow.stage != OPEN or (unused and mask & EPOLLERR):  # a backlog that died: another backend can have it
            self.unsettled(end, mask)
        elif end.peer is not None:
            self._both(end, end.peer)

    def _both(self, one: End, other: End) -> None:
        """Move what can be moved, in both directions, and see where the connection stands then."""
        flow = one.flow
        self._pump(one, other)
        self._pump(other, one)
        if one.done:
            self._end_of_writing(other)
        if other.done:
            self._end_of_writing(one)
        if one.shut and other.shut and one.done and other.done:
            self.end(flow, flow.reset)
        else:
            flow.plain = not (one.done or other.done or one.held or other.held)

    def _end_of_writing(self, target: End) -> None:
        """Its peer has sent all: once that is written, pass the end on."""
        if not target.shut and not target.held:
            target.shut = True
            if not target.done:  # else both ways have ended, and closing says so
                _with_socket(target, lambda opened: opened.shutdown(SHUT_WR))

    def _pump(self, source: End, target: End) -> None:
        budget = TURN_BYTES
        while True:
            if target.held and not self._write(target):
                return
            if budget <= 0:
                self._again.append(source)
                return
            if source.done or not source.ready:
                return
            budget -= self._read(source, target)

    def _read(self, source: End, target: End) -> int:
        """Read into the target's buffer; 0 when there is nothing now, or never again."""
        try:
            data = os.read(source.fd, CHUNK)
        except BlockingIOError:
            source.ready = False
            return 0
        except OSError:
            self._lost(source, target)
            return 0
        if not data:
            source.done = True
            return 0
        self.count(source, len(data))
        target.held = data
        if source.ended and len(data) < CHUNK:
            self._read_end(source, target)
        return len(data)

    def _read_end(self, source: End, target: End) -> None:
        """Look for the end of file before the last bytes are written: it can go with them in one segment."""
        source.ended = False
        try:
            data = os.read(source.fd, CHUNK)
        except OSError:
            return  # the next read tells
        source.done = not data
        if data:
            self.count(source, len(data))
            target.held += data

    def _write(self, target: End) -> bool:
        """Write what the target's buffer holds; says whether it is empty now."""
        try:
            last = target.tcp and target.peer is not None and target.peer.done and not target.flow.reset
            sent = _send_last(target) if last else os.write(target.fd, target.held)
            target.held = target.held[sent:]
            if target.flow.touched_at:
                target.flow.touched_at = self.now
        except BlockingIOError:
            pass
        except OSError:
            self._deaf(target)
        if target.held and not target.full:
            target.full = True
            self._watcher.modify(target.fd, _WATCH | EPOLLOUT)
        return not target.held

    def _lost(self, source: End, target: End) -> None:
        """The source was reset: what it sent before is still delivered, then the target is reset as well."""
        source.done = source.shut = True
        source.held = b""
        source.flow.reset = True
        target.done = True

    def _deaf(self, target: End) -> None:
        """The target takes nothing any more. What it sent before that is still to be read."""
        source = target.peer
        target.shut = target.ready = True
        target.held = b""
        target.flow.reset = True
        if source is not None:
            source.done = True

    def count(self, source: End, size: int) -> None:
        """So many bytes came from ``source``."""
        flow = source.flow
        backend = flow.backend
        assert backend is not None
        flow.touched_at = self.now
        if source.is_client:
            backend.bytes_in += size
            if not flow.asked_at:
                flow.asked_at = self.now
        else:
            backend.bytes_out += size
            if flow.asked_at:
                backend.answered(self.now - flow.asked_at)
                flow.asked_at = 0.0


def reset(end: End) -> None:
    """Have the socket, when it is closed, tell the other side that it did not end well."""
    _with_socket(end, lambda opened: opened.setsockopt(SOL_SOCKET, SO_LINGER, _RESET_ON_CLOSE))


def _send_last(end: End) -> int:
    """Write what is held, and the end with it: the kernel waits for that. Says how much was taken."""
    opened = socket(AF_INET, SOCK_STREAM, 0, end.fd)
    try:
        sent = opened.send(end.held, MSG_MORE)
        if sent == len(end.held) and not end.done:  # else both ways have ended, and closing says so
            end.shut = True
            opened.shutdown(SHUT_WR)
        return sent
    finally:
        opened.detach()


def _with_socket(end: End, action: Callable[[socket], None]) -> None:
    """Do what only a socket object can; that the other side has gone meanwhile is no error."""
    opened = socket(AF_INET, SOCK_STREAM, 0, end.fd)  # whatever its family is: this saves the kernel three questions
    try:
        action(opened)
    except OSError:
        pass
    finally:
        opened.detach()


def _unsent(fd: int) -> int:
    return int.from_bytes(ioctl(fd, TIOCOUTQ, bytes(4)), "little")


def _nobody(end: End, mask: int) -> None:
    """Before the proxy is there."""
