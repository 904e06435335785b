"""The dispatcher's loop: sockets first, then what is due by the clock."""

import os
import signal
from _socket import socket
from collections.abc import Callable, Mapping
from select import epoll
from time import monotonic

from hasup.dispatch.balance import Balancer, Draw, Row
from hasup.dispatch.drain import Drain
from hasup.dispatch.link import Link
from hasup.dispatch.notify import Notifier
from hasup.dispatch.proxy import Proxy
from hasup.dispatch.settings import Settings
from hasup.dispatch.stats import figures, summary

_EVENTS = 512  # a turn
_HURRY_S = 0.05  # between two looks at the clock, while something is due soon
_STATS_S = 1.0


class Service:
    """One dispatcher, from descriptors 3 and 4 (say) to its exit."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], most: int, draw: Draw) -> None:
        self._epoll = epoll()
        balancer = Balancer(settings.balance, draw, settings.slow_start)
        self._proxy = Proxy(socket(fileno=settings.listen_fd), settings, balancer, self._epoll, most)
        self._drain = Drain(self._proxy, settings.drain_timeout, settings.quiet)
        channel = socket(fileno=settings.control_fd)
        self._link = Link(channel, self._epoll, self._replace)
        self._notifier = Notifier(environ)
        self._asked_to_stop = False
        self._signals, self._signals_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._signals)
        self._handlers: dict[int, Callable[[], None]] = {
            settings.listen_fd: self._proxy.accept,
            settings.control_fd: self._link.receive,
            self._signals: self._read_signals,
        }
        self._sent: dict[str, object] = {}
        self._drained: dict[str, object] = {}
        self._due = 0.0  # when to look at the clock again
        self._stats_at = self._alive_at = 0.0

    def run(self) -> None:
        """Serve until a SIGTERM or SIGINT, and until the connections have ended then."""
        signal.set_wakeup_fd(self._signals_in)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._notifier.tell("READY=1")
        poll, wire = self._epoll.poll, self._proxy.wire
        handlers = self._handlers
        while not self._drain.finished:
            events = poll(0 if wire.busy else max(0.0, self._due - wire.now), _EVENTS)
            wire.now = monotonic()
            wire.turn(events, handlers)
            wire.carry_on()
            if wire.now >= self._due or self._proxy.hurried:
                self._due = self._on_clock(wire.now)
        self._report()

    def _on_clock(self, now: float) -> float:
        """Do what is due; says when to look again."""
        self._proxy.tick()
        if self._drain.hurried:
            self._drain.step(now)
            self._proxy.wire.carry_on()
        self._tell_drained()
        self._link.flush()
        if now >= self._stats_at:
            self._stats_at = now + _STATS_S
            self._report()
        interval = self._notifier.interval
        if interval is not None and now >= self._alive_at:
            self._alive_at = now + interval
            self._notifier.tell("WATCHDOG=1")
        if self._proxy.hurried or self._drain.hurried:
            return now + _HURRY_S
        return min(self._stats_at, self._alive_at) if interval is not None else self._stats_at

    def _replace(self, rows: list[Row]) -> None:
        """Another table; a new core sends one, too, and knows no figures yet."""
        self._proxy.replace(rows)
        self._sent = {}
        self._due = 0.0

    def _tell_drained(self) -> None:
        """Which of those that get no more have nothing left, as of the last table."""
        backends = self._proxy.balancer.backends.values()
        names = sorted(one.name for one in backends if one.drain_at is not None and not one.open)
        drained: dict[str, object] = {"revision": self._link.revision, "names": names}
        if names and drained != self._drained:
            self._drained = drained
            self._link.owe("drained", drained)

    def _report(self) -> None:
        stats = figures(self._proxy)
        if stats != self._sent and self._link.tell({"stats": stats}):
            self._sent = stats
        self._notifier.status(summary(self._proxy))

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._asked_to_stop = True

    def _read_signals(self) -> None:
        os.read(self._signals, 64)
        if self._asked_to_stop:
            self._drain.stop(self._proxy.wire.now)
