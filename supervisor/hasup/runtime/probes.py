"""Readiness and health probes on the loop. No two of a replica overlap, and none blocks anything."""

import errno
import functools
import os
import select
import socket
from collections.abc import Callable

from hasup.loop import CONTROL, Loop, Timer
from hasup.model.events import Beat, Event, ProbeResult
from hasup.model.spec import Health, Ready
from hasup.runtime import http
from hasup.runtime.jobs import Done
from hasup.runtime.names import Address, Names

_LOOK_EVERY_S = 0.2
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
Run = Callable[[tuple[str, ...], str, float, Done], None]
Fault = str | OSError | None  # in words, as the system has it, or none
Finish = Callable[[Fault], None]


class Prober:
    """``run(argv, slot, timeout, done)`` runs a command as the replica would run."""

    def __init__(self, loop: Loop, emit: Callable[[Event], None], run: Run) -> None:
        self._loop = loop
        self._emit = emit
        self._run = run
        self._names = Names(loop)
        self._probes: dict[tuple[str, str], _Probe] = {}

    def watch(self, slot: str, generation: int, kind: str, probe: Ready | Health, greeting: bytes = b"") -> None:
        """Probe from now on, ``kind`` being ready or health; the strings of ``probe`` are expanded already.

        ``greeting`` is sent ahead of a request of HTTP.
        """
        self.unwatch(slot, kind)
        started = self._probes[slot, kind] = _Probe(
            self._loop, self._emit, self._run, self._names, slot, generation, kind, probe, greeting
        )  # fmt: skip
        # Many replicas that start together are not to be probed in step for ever: spread the first by their names.
        delay = 0.0 if kind == "ready" else probe.interval * (0.5 + (hash(slot) % 1000) / 2000)
        started.again(delay)

    def unwatch(self, slot: str, kind: str | None = None) -> None:
        """No more of this kind, or of both."""
        for each in (kind,) if kind else ("ready", "health"):
            probe = self._probes.pop((slot, each), None)
            if probe is not None:
                probe.cancel()


class _Probe:
    """One kind of probe of one replica, over and over."""

    def __init__(
        self,
        loop: Loop,
        emit: Callable[[Event], None],
        run: Run,
        names: Names,
        slot: str,
        generation: int,
        kind: str,
        probe: Ready | Health,
        greeting: bytes,
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._run = run
        self._names = names
        self._slot = slot
        self._generation = generation
        self._kind = kind
        self._probe = probe
        self._greeting = greeting
        self._timeout = probe.probe_timeout if isinstance(probe, Ready) else probe.timeout
        self._timer: Timer | None = None
        self._attempt: _Connection | None = None
        self._began = 0.0
        self._cancelled = False

    def again(self, delay: float) -> None:
        """Try once more after ``delay`` seconds."""
        self._timer = self._loop.call_later(delay, self._try)

    def cancel(self) -> None:
        """No more; what is under way is dropped."""
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None:
            self._attempt.close()

    def _try(self) -> None:
        self._began = self._loop.now()
        probe = self._probe
        if probe.exec:
            self._run(probe.exec, self._slot, self._timeout, self._command_ended)
            return
        try:
            self._attempt = self._connection()
        except ValueError as error:
            self._finish(str(error))
        else:
            self._attempt.start()

    @functools.cached_property
    def _goal(self) -> tuple[str, int | None, bytes]:
        """Host or path, port, and what is asked there: the same each time."""
        if self._probe.http is None:
            return (*_address(self._probe.tcp or ""), b"")
        goal = http.target(self._probe.http)
        return goal.host, goal.port, self._greeting + http.request(goal, self._probe.headers)

    def _connection(self) -> "_Connection":
        probe, (host, port, request) = self._probe, self._goal
        if not request:
            return _Connection(self._loop, self._names, host, port, self._timeout, self._finish)
        answer = http.Answer(wants_body=probe.body is not None)
        return _Connection(
            self._loop, self._names, host, port, self._timeout, self._finish, request,
            lambda: answer.verdict(probe.status, probe.body), answer.feed,
        )  # fmt: skip

    def _command_ended(self, code: int | None, output: str) -> None:
        last = output.splitlines()[-1:] if output else []
        if code == 0:
            self._finish(None)
        elif code is None:
            self._finish(": ".join(["the command did not end by itself", *last]))
        else:
            self._finish(": ".join([f"exit code {code}", *last]))

    def _finish(self, fault: Fault) -> None:
        """Report, and plan the next one: an interval after this one began, but never before it is over."""
        self._attempt = None
        if self._cancelled:
            return
        now = self._loop.now()
        took = now - self._began
        self.again(max(0.0, self._probe.interval - took))
        if isinstance(fault, OSError):
            if fault.errno in _NO_ROOM:
                return  # it is hasup that has no descriptor left: the replica is not to blame, and nothing is reported
            fault = (fault.strerror or str(fault)).lower()
        self._emit(ProbeResult(self._slot, self._generation, self._kind, fault is None, round(took, 4), fault or ""))


class _Connection:
    """A connection that is being made and, for HTTP, asked. ``finish`` is called once, unless it was closed before.

    Without a ``port``, ``host`` is the path of a Unix socket. A name may have several addresses, tried in turn.
    """

    def __init__(
        self,
        loop: Loop,
        names: Names,
        host: str,
        port: int | None,
        timeout: float,
        finish: Finish,
        request: bytes = b"",
        verdict: Callable[[], str | None] = lambda: None,
        feed: Callable[[bytes], bool] = lambda _data: True,
    ) -> None:
        self._loop = loop
        self._names = names
        self._host = host
        self._port = port
        self._timeout = timeout
        self._finish = finish
        self._request = request
        self._verdict = verdict
        self._feed = feed
        self._stage = "its name was not found"
        self._addresses: list[Address] = []
        self._first_fault: OSError | None = None
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None

    def start(self) -> None:
        """Begin; ``finish`` may be called before this returns."""
        self._timer = self._loop.call_later(
            self._timeout, lambda: self._end(f"{self._stage} within {self._timeout:g} s")
        )
        if self._port is None:
            self._found([(socket.AF_UNIX, self._host)])
        else:
            self._names.find(self._host, self._port, self._found)

    def close(self) -> None:
        """Drop it; ``finish`` is not called."""
        if self._timer is not None:
            self._timer.cancel()
        self._names.forget(self._found)
        self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _end(self, fault: Fault) -> None:
        self.close()
        self._finish(fault)

    def _found(self, addresses: list[Address] | OSError) -> None:
        if isinstance(addresses, OSError):
            self._end(addresses)
        else:
            self._stage = "no connection"
            self._addresses = list(addresses)
            self._connect()

    def _connect(self) -> None:
        """Try the next address; when there is none left, say what was wrong with the first."""
        while self._addresses:
            family, where = self._addresses.pop(0)
            try:
                self._socket = socket.socket(family, socket.SOCK_STREAM)
                self._socket.setblocking(False)
                _check(self._socket.connect_ex(where))
                self._loop.add(self._socket.fileno(), self._ready, read=False, write=True, order=CONTROL)
            except OSError as error:
                self._failed(error)
            else:
                return
        self._end(self._first_fault)

    def _failed(self, error: OSError) -> None:
        self._drop()
        self._first_fault = self._first_fault or error

    def _ready(self, mask: int) -> None:
        assert self._socket is not None
        try:
            if self._stage == "no connection":
                _check(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                self._established(self._socket)
            elif mask & ~select.EPOLLOUT and self._feed(self._socket.recv(16_384)):
                self._end(self._verdict())
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed(error)
            self._connect()

    def _established(self, connected: socket.socket) -> None:
        self._addresses.clear()  # it is this one, whatever comes
        self._stage, self._first_fault = "connected, but got no answer", None
        if not self._request:
            self._end(None)
            return
        connected.send(self._request)  # a few hundred bytes into an empty buffer: whole
        self._loop.modify(connected.fileno(), read=True, write=False)


def _check(code: int) -> None:
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, os.strerror(code))


def _address(text: str) -> tuple[str, int | None]:
    """``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``; raises ``ValueError``."""
    if text.startswith("unix:"):
        return text.removeprefix("unix:"), None
    host, _, port = text.rpartition(":")
    if not (port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise ValueError(f"{text!r} is no HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


class FileBeats:
    """Heartbeats by files that replicas touch.

    Looked at often, whatever the timeout: how late a touch is seen is how much later than promised a hang is noticed.
    """

    def __init__(self, loop: Loop, emit: Callable[[Event], None]) -> None:
        self._loop = loop
        self._emit = emit
        self._watched: dict[str, tuple[str, float, int | None]] = {}  # slot -> path, pause, when it was touched last
        self._timer: Timer | None = None

    def watch(self, slot: str, path: str, timeout: float) -> None:
        """From now on a change of the file's time is a sign of life; what it says already is none."""
        self._watched[slot] = (path, min(_LOOK_EVERY_S, max(0.05, timeout / 5)), _touched(path))
        self._arm()

    def unwatch(self, slot: str) -> None:
        """No more; unknown slots are ignored."""
        if self._watched.pop(slot, None) is not None:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        pause = min((pause for _, pause, _ in self._watched.values()), default=None)
        self._timer = None if pause is None else self._loop.call_later(pause, self._look)

    def _look(self) -> None:
        for slot, (path, pause, before) in list(self._watched.items()):
            now = _touched(path)
            if now != before:
                self._watched[slot] = (path, pause, now)
                if now is not None:
                    self._emit(Beat(slot))
        self._arm()


def _touched(path: str) -> int | None:
    """The time in a file, in nanoseconds; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None
