"""Readiness and health probes on the loop. No two of a replica overlap, and none blocks anything."""

import errno
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from hasup.loop import CONTROL, Loop, Timer
from hasup.model.events import Beat, Event, ProbeResult
from hasup.model.spec import Health, Ready
from hasup.runtime import http
from hasup.runtime.jobs import Done

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
Run = Callable[[tuple[str, ...], str, float, Done], None]
Finish = Callable[[str | None], None]


class Prober:
    """``run(argv, slot, timeout, done)`` runs a command as the replica would run."""

    def __init__(self, loop: Loop, emit: Callable[[Event], None], run: Run) -> None:
        self._loop = loop
        self._emit = emit
        self._run = run
        self._probes: dict[tuple[str, str], _Probe] = {}

    def watch(self, slot: str, generation: int, kind: str, probe: Ready | Health) -> None:
        """Probe from now on, ``kind`` being ready or health; the strings of ``probe`` are expanded already."""
        self.unwatch(slot, kind)
        started = self._probes[slot, kind] = _Probe(self._loop, self._emit, self._run, slot, generation, kind, probe)
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
        slot: str,
        generation: int,
        kind: str,
        probe: Ready | Health,
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._run = run
        self._slot = slot
        self._generation = generation
        self._kind = kind
        self._probe = probe
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
            if probe.http is not None:
                goal = http.target(probe.http)
                answer = http.Answer(wants_body=probe.body is not None)
                self._attempt = _Connection(
                    self._loop, goal.host, goal.port, self._timeout, self._finish,
                    http.request(goal, probe.headers), lambda: answer.verdict(probe.status, probe.body), answer.feed,
                )  # fmt: skip
            else:
                host, port = _address(probe.tcp or "")
                self._attempt = _Connection(self._loop, host, port, self._timeout, self._finish)
        except OSError as error:
            self._could_not_try(error)
        except ValueError as error:
            self._finish(str(error))

    def _could_not_try(self, error: OSError) -> None:
        """When it is hasup that has no descriptor left, the replica is not to blame: nothing is reported."""
        if error.errno in _NO_ROOM:
            self.again(self._probe.interval)
        else:
            self._finish((error.strerror or str(error)).lower())

    def _command_ended(self, code: int | None, output: str) -> None:
        last = output.splitlines()[-1:] if output else []
        if code == 0:
            self._finish(None)
        elif code is None:
            self._finish(": ".join(["the command did not end by itself", *last]))
        else:
            self._finish(": ".join([f"exit code {code}", *last]))

    def _finish(self, fault: str | None) -> None:
        """Report, and plan the next one: an interval after this one began, but never before it is over."""
        self._attempt = None
        if self._cancelled:
            return
        now = self._loop.now()
        took = now - self._began
        self._emit(ProbeResult(self._slot, self._generation, self._kind, fault is None, round(took, 4), fault or ""))
        self.again(max(0.0, self._probe.interval - took))


class _Connection:
    """A connection that is being made and, for HTTP, asked. ``finish`` is called once, unless it was closed before."""

    def __init__(
        self,
        loop: Loop,
        host: str,
        port: int | None,
        timeout: float,
        finish: Finish,
        request: bytes = b"",
        verdict: Callable[[], str | None] = lambda: None,
        feed: Callable[[bytes], bool] = lambda _data: True,
    ) -> None:
        self._loop = loop
        self._finish = finish
        self._request = request
        self._verdict = verdict
        self._feed = feed
        self._connected = False
        self._socket, where = _open(host, port)
        code = self._socket.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            self._socket.close()
            raise OSError(code, os.strerror(code))
        self._timer = loop.call_later(timeout, lambda: self._end(self._late(timeout)))
        loop.add(self._socket.fileno(), self._ready, read=False, write=True, order=CONTROL)

    def close(self) -> None:
        """Drop it; ``finish`` is not called."""
        self._timer.cancel()
        self._loop.remove(self._socket.fileno())
        self._socket.close()

    def _late(self, timeout: float) -> str:
        what = "connected, but got no answer" if self._connected else "no connection"
        return f"{what} within {timeout:g} s"

    def _end(self, fault: str | None) -> None:
        self.close()
        self._finish(fault)

    def _ready(self, mask: int) -> None:
        try:
            if not self._connected:
                self._established()
            elif mask & ~select.EPOLLOUT:
                self._receive()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end((error.strerror or str(error)).lower())

    def _established(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        self._connected = True
        if not self._request:
            self._end(None)
            return
        self._socket.send(self._request)  # a few hundred bytes into an empty buffer: whole
        self._loop.modify(self._socket.fileno(), read=True, write=False)

    def _receive(self) -> None:
        if self._feed(self._socket.recv(16_384)):
            self._end(self._verdict())


def _address(text: str) -> tuple[str, int | None]:
    """``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``."""
    if text.startswith("unix:"):
        return text, None
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def _open(host: str, port: int | None) -> tuple[socket.socket, str | tuple[str, int]]:
    """A non-blocking socket and the address to connect it to."""
    if port is None:
        opened, where = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), host.removeprefix("unix:")
        opened.setblocking(False)
        return opened, where
    host = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host)  # noqa: S104 - to connect to
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setblocking(False)
    if family == socket.AF_INET and not host.replace(".", "").isdigit():
        # A name of another kind than localhost: looked up, which may block for a moment; use an address instead.
        host = socket.gethostbyname(host)
    return opened, (host, port)


class FileBeats:
    """Heartbeats by a file that a replica touches."""

    def __init__(self, loop: Loop, emit: Callable[[Event], None]) -> None:
        self._loop = loop
        self._emit = emit
        self._timers: dict[str, Timer] = {}

    def watch(self, slot: str, path: str, timeout: float) -> None:
        """Look at the file several times within each timeout; a change is a sign of life."""
        self.unwatch(slot)
        pause = max(0.05, timeout / 5)
        self._timers[slot] = self._loop.call_later(pause, lambda: self._look(slot, Path(path), pause, None))

    def unwatch(self, slot: str) -> None:
        """No more; unknown slots are ignored."""
        timer = self._timers.pop(slot, None)
        if timer is not None:
            timer.cancel()

    def _look(self, slot: str, path: Path, pause: float, before: int | None) -> None:
        try:
            now: int | None = path.stat().st_mtime_ns
        except OSError:
            now = None
        if now is not None and now != before:
            self._emit(Beat(slot))
        self._timers[slot] = self._loop.call_later(pause, lambda: self._look(slot, path, pause, now))
