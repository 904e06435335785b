"""The core as the guardian's child: started, listened to, replaced when it dies or stops answering."""

import array
import errno
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from hasup.guardian.complaint import complain
from hasup.guardian.failure import fork_failure
from hasup.guardian.spawn import Report, spawn
from hasup.loop import EXITS, Loop, Timer
from hasup.protocol.guardian import CORE_TIMEOUT_S, MAX_FDS, MAX_FRAME, PING_INTERVAL_S, Message, decode, encode

Packet = tuple[bytes, list[int]]

_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 5.0
_MAX_DELAY_AFTER_READY_S = 0.5  # one that can come up is worth more haste
_PROVEN_S = 10.0  # a core that lived so long after "ready" is restarted at once again
_START_TIMEOUT_S = 30.0  # until its first packet, a core on a busy machine may take so long
_STALL_S = 1.0
_MAX_QUEUE = 20_000  # packets; a core that lets more wait is as good as hung
_RETRY_S = 0.01
_BUSY = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)  # the kernel's, not the core's, and not for long


class Parked(NamedTuple):
    """A core that stands by, with its end of the work laid down."""

    pid: int
    socket: socket.socket


class CoreLink:
    """Owns the core process and the socket pair to it.

    ``snapshot`` gives the packets that tell a new core everything; ``frame`` carries out one that it sent.
    """

    def __init__(
        self,
        loop: Loop,
        options: dict[str, Any],
        snapshot: Callable[[], list[Packet]],
        frame: Callable[[Message, list[int]], None],
    ) -> None:
        self._loop = loop
        options.setdefault("core_env", {})
        self._options = options  # "core" and "core_env", its command and environment, change with an upgrade
        self._instance: str = options["instance"]
        self._lock_fd: int | None = options.get("lock_fd")
        self._snapshot = snapshot
        self._frame = frame
        self._socket: socket.socket | None = None
        self._queue: deque[Packet] = deque()
        self._report: Report | None = None
        self._delay = 0.0
        self._ready_at: float | None = None
        self._heard: float | None = None  # its last packet
        self._since = loop.now()  # started, or judged afresh
        self._timer: Timer | None = None
        self._pings = self._pongs = 0
        self._signals: list[tuple[int, int]] = []  # number, and the ping whose answer proves that it arrived
        self.pid: int | None = None
        self.restarts = -1
        self.died: str | None = None  # why the last one ended
        self.down_since: float | None = loop.now()  # no core has been ready since; None when one is
        self.wanted = True
        self.on_ready: Callable[[], None] = lambda: None
        self.on_death: Callable[[str], bool] = lambda _why: False  # true: another one takes over already

    # --- life -------------------------------------------------------------------------------------------------------
    def start(self, *, planned: bool = False) -> None:
        """Start a core and tell it everything. One that is ``planned`` is not counted as a restart."""
        try:
            ours = self._fork()
        except OSError as error:
            self._again(fork_failure(error))
            return
        self.restarts += not planned
        self._attach(ours)
        self._introduce()

    def _introduce(self) -> None:
        """Tell a core everything, with the signals that the one before may not have read."""
        for packet in self._snapshot():
            self._send(*packet)
        unread, self._signals = self._signals, []
        for number, _ in unread:
            self.signal(number)

    def _fork(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = self._options["core_env"] | {"HASUP_INSTANCE": self._instance, "HASUP_GUARDIAN_FD": "3"}
        fds = [(0, -1), (1, 2), (2, 2), (3, theirs.fileno())]
        if self._lock_fd is not None:
            env["HASUP_LOCK_FD"] = "4"
            fds.append((4, self._lock_fd))
        try:
            self.pid, self._report = spawn({"argv": self._options["core"], "env": env}, fds, None)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def _attach(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_FRAME)
        self._socket = ours
        self._since, self._heard, self._ready_at = self._loop.now(), None, None
        self._pings = self._pongs = 0
        self._loop.add(ours.fileno(), self._ready_to_talk, order=EXITS)
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._check)

    def reaped(self, status: int) -> None:
        """The core ended with this wait status. What it had ordered before is still carried out."""
        why = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
        self.died = f"the core ended with {why}{self._exec_failure()}"
        while self._receive():
            pass
        self.pid = None
        self.hang_up()
        if self.wanted:
            self._again(self.died)

    def hang_up(self) -> None:
        """Close our end; a core that still runs takes that as its end."""
        if self._timer is not None:
            self._timer.cancel()
        self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._queue.clear()

    def kill(self) -> None:
        """End it by force; a child that is not reaped, so the number is its own."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def ready(self) -> None:
        """The core says that it is up."""
        self._ready_at, self.down_since = self._loop.now(), None
        self.on_ready()

    def _again(self, why: str) -> None:
        if self.on_death(why):
            return
        now = self._loop.now()
        if self.down_since is None:
            self.down_since = now
        ready_for = -1.0 if self._ready_at is None else now - self._ready_at
        if ready_for >= _PROVEN_S:
            self._delay = 0.0
        longest = _MAX_DELAY_S if ready_for < 0 else _MAX_DELAY_AFTER_READY_S
        delay = min(longest, self._delay)
        self._delay = min(_MAX_DELAY_S, max(_FIRST_DELAY_S, delay * 2))
        complain(f"{why}; programs run on; another core is started {f'in {delay:g} s' if delay else 'now'}")
        self._loop.call_later(delay, self._start_if_wanted)

    def _start_if_wanted(self) -> None:
        if self.wanted and self.pid is None:
            self.start()

    def _exec_failure(self) -> str:
        """Why exec failed, if it did."""
        report, self._report = self._report, None
        if report is None:
            return ""
        report.read()
        os.close(report.fd)
        return f": {report.cause}" if report.cause else ""

    # --- one stands by while another is tried -------------------------------------------------------------------------
    def park(self) -> Parked:
        """Let go of the core without ending it, so that another can be tried in its place."""
        assert self.pid is not None
        assert self._socket is not None
        parked = Parked(self.pid, self._socket)
        self._loop.remove(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        if self._report is not None:
            os.close(self._report.fd)
        self.pid, self._socket, self._report = None, None, None
        self._queue.clear()
        self.down_since = self._loop.now()
        return parked

    def unpark(self, parked: Parked, why: str) -> None:
        """The parked core takes its place again."""
        self.pid, self.died = parked.pid, why
        self._attach(parked.socket)
        self._introduce()

    # --- heartbeat --------------------------------------------------------------------------------------------------
    def _check(self) -> None:
        """Ping, and replace a core that has not answered. A guardian that was stopped itself gives grace."""
        now = self._loop.now()
        if self._loop.lag > _STALL_S:
            self._since = now
        patience = _START_TIMEOUT_S if self._heard is None else CORE_TIMEOUT_S
        if now - max(self._since, self._heard or 0.0) > patience:
            complain(f"the core (pid {self.pid}) has not answered for {patience:g} s: killed")
            self.kill()
            return
        self._send_ping()
        self._timer = self._loop.call_later(PING_INTERVAL_S, self._check)

    def _send_ping(self) -> None:
        self._pings += 1
        self.tell({"event": "ping"})

    def pong(self) -> None:
        """It answered a ping, so it has read all that was sent before."""
        self._pongs += 1
        self._signals = [(number, ping) for number, ping in self._signals if ping > self._pongs]

    def signal(self, number: int) -> None:
        """Tell of a signal to hasup; told again to the next core if this one dies before it has read it."""
        self.tell({"event": "signal", "signal": number})
        self._send_ping()
        self._signals.append((number, self._pings))

    # --- packets ----------------------------------------------------------------------------------------------------
    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._queue

    def tell(self, message: Message) -> None:
        """Send an event; without a core it is dropped: the next one is told the facts."""
        self._send(encode(message), [])

    def _send(self, data: bytes, fds: list[int]) -> None:
        """Send a packet, or queue it while the core is busy. ``fds`` stay open until a new core has been told all."""
        if self._socket is None:
            return
        if len(self._queue) >= _MAX_QUEUE:
            self.kill()
            return
        self._queue.append((data, fds))
        if len(self._queue) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._queue and self._socket is not None:
            data, fds = self._queue[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                self._socket.sendmsg([data], rights)
            except BlockingIOError:
                self._loop.modify(self._socket.fileno(), read=True, write=True)
                return
            except OSError as error:
                if error.errno in _BUSY:
                    self._loop.call_later(_RETRY_S, self._flush)
                    return
                self._queue.clear()  # it died; its reaping is what counts
                return
            self._queue.popleft()

    def _ready_to_talk(self, _mask: int) -> None:
        if self._socket is not None and self._queue:
            self._loop.modify(self._socket.fileno(), read=True, write=False)
            self._flush()
        self._receive()  # one a turn: between come exits, deadlines, and what children report, which frees memory

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
        if not data:
            self._close()  # it ends, or will be replaced since it does not answer
            return False
        self._heard = self._loop.now()
        fds = array.array("i")
        for _level, _kind, content in ancillary:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        self._read(data, fds.tolist())
        return True

    def _read(self, data: bytes, fds: list[int]) -> None:
        try:
            message = decode(data)
        except ValueError as error:
            complain(f"a frame of the core could not be read: {error}")
            for fd in fds:
                os.close(fd)
        else:
            self._frame(message, fds)

    # --- over a re-exec of the guardian -----------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs. Only while idle; the descriptors must survive the exec."""
        return {
            "pid": self.pid, "socket": None if self._socket is None else self._socket.fileno(),
            "report": None if self._report is None else self._report.fd, "restarts": self.restarts,
            "died": self.died, "delay": self._delay, "ready_at": self._ready_at, "down_since": self.down_since,
            "heard": self._heard, "pings": self._pings, "pongs": self._pongs, "signals": self._signals,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with a core that runs already, or start one."""
        self.restarts, self.died, self._delay = state["restarts"], state["died"], state["delay"]
        self.pid, self.down_since = state["pid"], state["down_since"]
        self._signals = [(number, ping) for number, ping in state["signals"]]
        if state["report"] is not None:
            self._report = Report(state["report"])
        if self.pid is None:
            self.start()
        elif state["socket"] is None:  # it had hung up, but not ended
            self.kill()
        else:
            self._attach(socket.socket(fileno=state["socket"]))
            self._heard, self._ready_at = state["heard"], state["ready_at"]
            self._pings, self._pongs = state["pings"], state["pongs"]
