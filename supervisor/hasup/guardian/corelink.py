"""The core as the guardian's child: started, listened to, replaced when it dies or stops answering."""

import array
import os
import signal
import socket
from collections import deque
from typing import Any

from hasup.guardian.spawn import Spawned, complain, fork_failure, read_report, spawn
from hasup.loop import EXITS, Loop, Timer
from hasup.protocol.guardian import CORE_TIMEOUT_S, MAX_FDS, MAX_FRAME, PING_INTERVAL_S, Message, decode, encode

_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0
_PROVEN_S = 10.0  # a core that lived so long after "ready" is restarted at once again
_MAX_QUEUE = 20_000  # packets; a core that lets more wait is as good as hung
_STALL_S = 1.0


class CoreLink:
    """Owns the core process and the socket pair to it."""

    def __init__(
        self, loop: Loop, argv: list[str], env: dict[str, str], lock_fd: int | None, guardian: "Listener"
    ) -> None:
        self._loop = loop
        self._argv = argv
        self._env = env
        self._lock_fd = lock_fd
        self._guardian = guardian
        self._socket: socket.socket | None = None
        self._queue: deque[tuple[bytes, list[int]]] = deque()
        self._report: int | None = None
        self._delay = 0.0
        self._ready_at: float | None = None
        self._heard = 0.0
        self._ping: Timer | None = None
        self.pid: int | None = None
        self.restarts = -1
        self.died: str | None = None  # why the last one ended
        self.down_since: float | None = loop.now()
        self.wanted = True

    # --- life -------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start a core and tell it everything."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order = {"argv": self._argv, "env": self._env | {"HASUP_GUARDIAN_FD": "3", "HASUP_LOCK_FD": "4"}}
        fds = [(0, -1), (1, 2), (2, 2), (3, theirs.fileno())]
        if self._lock_fd is not None:
            fds.append((4, self._lock_fd))
        try:
            child = spawn(order, fds, None)
        except OSError as error:
            ours.close()
            self._again(fork_failure(error))
            return
        finally:
            theirs.close()
        self._adopt(ours, child)
        for packet, sent in self._guardian.snapshot():
            self.send(packet, sent)

    def _adopt(self, ours: socket.socket, child: Spawned) -> None:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_FRAME)
        self._socket, self.pid, self._report = ours, child.pid, child.report
        self.restarts += 1
        self._heard, self._ready_at, self.down_since = self._loop.now(), None, None
        self._loop.add(ours.fileno(), self._readable, order=EXITS)
        self._ping = self._loop.call_later(PING_INTERVAL_S, self._check)

    def reaped(self, status: int) -> None:
        """The core ended with this wait status."""
        why = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        self.died = f"the core ended with {why}"
        self.pid = None
        self.hang_up()
        self._close_report()
        if self.wanted:
            self._again(self.died)

    def hang_up(self) -> None:
        """Close our end; a core that still runs takes that as its end."""
        if self._ping is not None:
            self._ping.cancel()
        if self._socket is not None:
            self._read_rest()
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()

    def ready(self) -> None:
        """The core says that it is up."""
        self._ready_at = self._loop.now()

    def _again(self, why: str) -> None:
        now = self._loop.now()
        self.down_since = self.down_since if self.down_since is not None else now
        if self._ready_at is not None and now - self._ready_at >= _PROVEN_S:
            self._delay = 0.0
        delay = self._delay
        self._delay = min(_MAX_DELAY_S, max(_FIRST_DELAY_S, delay * 2))
        complain(f"{why}; programs run on; another core is started {f'in {delay:g} s' if delay else 'now'}")
        self._loop.call_later(delay, self._start_if_wanted)

    def _start_if_wanted(self) -> None:
        if self.wanted and self.pid is None:
            self.start()

    def _close_report(self) -> None:
        """What the child said of an exec that failed; nothing when it ran."""
        if self._report is not None:
            text = read_report(self._report)
            if text:
                complain(f"the core could not be started: {text}")
            os.close(self._report)
            self._report = None

    # --- heartbeat --------------------------------------------------------------------------------------------------
    def _check(self) -> None:
        """Ping, and replace a core that has not answered. A guardian that was stopped itself gives grace."""
        now = self._loop.now()
        if self._loop.lag > _STALL_S:
            self._heard = now
        if now - self._heard > CORE_TIMEOUT_S and self.pid is not None:
            complain(f"the core (pid {self.pid}) has not answered for {CORE_TIMEOUT_S:g} s: killed")
            os.kill(self.pid, signal.SIGKILL)  # our child, not reaped: the number is its own
            return
        self.send(encode({"event": "ping"}), [])
        self._ping = self._loop.call_later(PING_INTERVAL_S, self._check)

    # --- packets ----------------------------------------------------------------------------------------------------
    def tell(self, message: Message) -> None:
        """Send an event; without a core it is dropped: the next one is told the facts."""
        self.send(encode(message), [])

    def send(self, data: bytes, fds: list[int]) -> None:
        """Send a packet, or queue it while the core is busy."""
        if self._socket is None:
            return
        if self._queue or not self._try(data, fds):
            if len(self._queue) >= _MAX_QUEUE and self.pid is not None:
                os.kill(self.pid, signal.SIGKILL)
                return
            self._queue.append((data, [os.dup(fd) for fd in fds]))
            self._loop.modify(self._socket.fileno(), read=True, write=True)

    def _try(self, data: bytes, fds: list[int]) -> bool:
        assert self._socket is not None
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([data], ancillary)
        except BlockingIOError:
            return False
        except OSError:  # it died; its reaping is what counts
            return True
        return True

    def _readable(self, _mask: int) -> None:
        while self._queue and self._try(*self._queue[0]):
            _close_all(self._queue.popleft()[1])
        if self._socket is not None and not self._queue:
            self._loop.modify(self._socket.fileno(), read=True, write=False)
        for _ in range(64):
            if not self._receive():
                return

    def _read_rest(self) -> None:
        """Carry out what a core that died had ordered before: it counts as done to the next one."""
        while self._receive():
            pass

    def _receive(self) -> bool:
        """One frame; false when there is none now, or no more ever."""
        if self._socket is None:
            return False
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                MAX_FRAME + 1, socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        fds = array.array("i")
        for _level, _kind, content in ancillary:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        if not data:
            self._loop.remove(self._socket.fileno())
            return False
        self._heard = self._loop.now()
        try:
            self._guardian.frame(decode(data), fds.tolist())
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            complain(f"a frame of the core could not be read: {error!r}")
        return True


class Listener:
    """What the link needs of the guardian."""

    def snapshot(self) -> list[tuple[bytes, list[int]]]:
        """The packets that tell a new core everything."""
        raise NotImplementedError

    def frame(self, message: Message, fds: list[int]) -> None:
        """Carry out a frame."""
        raise NotImplementedError


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """The items in lists of at most ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
