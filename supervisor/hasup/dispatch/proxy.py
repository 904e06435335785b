"""Accepts connections, finds each a backend, and lets go of them in order.

A connect that fails moves on to the next backend; nothing of what the client sent is lost, since nothing has left
yet. While no backend can be had, connections wait for one; whoever waited for ``queue_timeout`` is refused by a reset
(on a Unix socket: an end of file), as a closed port would. Once bytes of the client have gone to a backend they are
never sent to another: whether the first one acted on them cannot be known.
"""

import errno
import os
from _socket import AF_UNIX, IPPROTO_TCP, SO_KEEPALIVE, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, socket
from select import EPOLLERR, EPOLLIN, epoll
from time import monotonic

from hasup.dispatch.balance import Backend, Balancer, Row, Target
from hasup.dispatch.ends import CONNECTING, OPEN, WAITING, End, Flow
from hasup.dispatch.header import VERSIONS, Address
from hasup.dispatch.limits import Clients
from hasup.dispatch.settings import Settings
from hasup.dispatch.upstream import CannotConnect, connect, parse
from hasup.dispatch.wire import CHUNK, Wire, reset

_ACCEPTS = 128  # connections a turn
_ACCEPTS_BESIDE_OTHERS = 4  # of a burst, other dispatchers are to have their part
_IDLE_LOOK_S = 1.0  # at most between two looks for idle connections
_RETRY_S = 0.05  # when every backend refused
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Proxy:
    """The listening socket (whose descriptor others hold too: it is never shut down) and its connections."""

    def __init__(self, listener: socket, settings: Settings, balancer: Balancer, watcher: epoll, most: int) -> None:
        self.balancer = balancer
        self.wire = Wire(watcher, self._closed)
        self.wire.unsettled = self._unsettled
        self.flows: set[Flow] = set()
        self.accepted = self.idled = 0
        self.refused = {"timeout": 0, "queue": 0, "client": 0}  # by the limit that refused them
        self._settings = settings
        self._watcher = watcher
        self._most = most
        self._listener = listener
        self._tcp = listener.family != AF_UNIX
        self._header = VERSIONS.get(settings.proxy_protocol)
        most_each = settings.max_connections_per_client
        self._clients = Clients(most_each) if most_each and self._tcp else None
        self._looks = self._header is not None or self._clients is not None  # at who it is that connects
        self._idle_at = 0.0
        self._accepts = _ACCEPTS if settings.dispatchers == 1 else _ACCEPTS_BESIDE_OTHERS
        self._accepting = False
        self._starved = False  # of descriptors or memory, when it last accepted
        self._stopped = False
        self._resume_at = 0.0
        self._waiting: dict[Flow, None] = {}  # first come, first served
        self._connecting: set[Flow] = set()
        self._retry_at = 0.0
        _prepare(listener)
        self._resume()

    @property
    def waiting(self) -> int:
        """Connections that no backend could be found for yet."""
        return len(self._waiting)

    @property
    def hurried(self) -> bool:
        """Something is due soon: call :meth:`tick` every few hundredths of a second."""
        return bool(self._waiting or self._connecting or (self._resume_at and not self._accepting))

    def stop(self) -> None:
        """Accept no more; who comes now waits in the kernel's queue for the next dispatcher."""
        self._stopped = True
        self._pause()

    def accept(self) -> None:
        """Take what is in the kernel's queue, a bounded number of connections."""
        now = self.wire.now
        for _ in range(self._accepts):
            if len(self.flows) >= self._most:
                self._pause()
                return
            try:
                fd, address = self._listener._accept()  # type: ignore[attr-defined]  # no socket object is needed
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._starved = True
                    self._pause(until=now + _RETRY_S)
                    return
                continue  # this one has gone already (ECONNABORTED and the like)
            self._starved = False
            os.set_blocking(fd, False)
            flow = Flow(fd, self._tcp, now)
            if self._looks and not self._look_at(flow, address):
                continue
            self.flows.add(flow)
            self.accepted += 1
            self._place(flow)

    def _look_at(self, flow: Flow, address: Address) -> bool:
        """Who connects: whether it may, and what the backend is to be told of it."""
        fd = flow.client.fd
        if self._clients is not None and not self._clients.admit(flow, str(address[0])):
            self.refused["client"] += 1
            reset(flow.client)
            os.close(fd)
            return False
        if self._header is not None:
            flow.header = self._header(address, _name_of(fd, self._listener.family))
        return True

    def replace(self, rows: list[Row]) -> None:
        """A new table of backends: whoever waits may try again at once."""
        self.balancer.replace(rows, self.wire.now)
        self._wake()

    def tick(self) -> None:
        """What is due by the clock: connects that take too long, and those who waited for too long."""
        now = self.wire.now
        for flow in [one for one in self._connecting if now - one.started_at >= self._settings.connect_timeout]:
            self._abandon(flow)
            self._place(flow)
        for flow in [one for one in self._waiting if now - one.accepted_at >= self._settings.queue_timeout]:
            self._refuse(flow, "timeout")
        if now >= self._retry_at:
            self._wake()
        if self._settings.idle_timeout and now >= self._idle_at:
            self._close_idle(now)
        if not self._accepting and now >= self._resume_at:
            self._resume()

    def _refuse(self, flow: Flow, why: str) -> None:
        self.refused[why] += 1
        self.wire.end(flow, reset=True)

    def _close_idle(self, now: float) -> None:
        """Close those in which no byte has moved for too long."""
        timeout = self._settings.idle_timeout
        self._idle_at = now + min(_IDLE_LOOK_S, timeout / 4)
        for flow in [one for one in self.flows if one.stage == OPEN and now - _moved_at(one) >= timeout]:
            left = self.wire.left_to_send(flow)
            if left and left != flow.left:  # in the kernel something moves: to a slow reader
                flow.left, flow.touched_at = left, now
            else:
                self.idled += 1
                self.wire.end(flow)

    @property
    def accepting(self) -> bool:
        """Whether connections are taken from the kernel's queue at present."""
        return self._accepting and not self._starved

    def _resume(self) -> None:
        if not self._accepting and not self._stopped and len(self.flows) < self._most:
            self._watcher.register(self._listener.fileno(), EPOLLIN)
            self._accepting = True
            self._resume_at = 0.0

    def _pause(self, until: float = 0.0) -> None:
        if self._accepting:
            self._watcher.unregister(self._listener.fileno())
            self._accepting = False
        self._resume_at = until

    def _place(self, flow: Flow) -> None:
        """Connect to the first backend that will have it, else let it wait."""
        while True:
            backend = self.balancer.pick(self.wire.now, flow.tried)
            if backend is None:
                flow.tried = ()
                self._wait(flow)
                return
            if not self._hear_early(flow):
                return
            said = flow.header + flow.early
            try:
                fd = connect(backend.target or _parsed(backend), speaks=bool(said))
            except CannotConnect as error:
                self._failed(flow, backend, error.blame)
                continue
            if self._waiting:
                self._waiting.pop(flow, None)
            self._start(flow, backend, fd)
            if self._say(flow, said):
                return

    def _hear_early(self, flow: Flow) -> bool:
        """Read what the client has said already; False when it has gone."""
        client = flow.client
        if flow.early:
            return True
        try:
            flow.early = os.read(client.fd, CHUNK)
        except BlockingIOError:
            client.ready = False
        except OSError:
            self.wire.end(flow, reset=True)
            return False
        else:
            client.done = not flow.early
            client.ready = len(flow.early) == CHUNK or client.fd in self.wire.ends
        return True

    def _wait(self, flow: Flow) -> None:
        limit = self._settings.queue_limit
        if limit and len(self._waiting) >= limit and flow not in self._waiting:
            self._refuse(flow, "queue")
        else:
            self._waiting[flow] = None
            self.wire.add(flow.client)

    def _start(self, flow: Flow, backend: Backend, fd: int) -> None:
        flow.upstream = End(fd, flow, False, backend.target is not None and backend.target[0] != AF_UNIX)
        flow.upstream.peer, flow.client.peer = flow.client, flow.upstream
        flow.backend = backend
        backend.open += 1
        flow.stage = CONNECTING
        flow.started_at = monotonic()

    def _say(self, flow: Flow, said: bytes) -> bool:
        """On this machine the connect is over by now, as a rule, and what the client said can follow it at once.

        Sockets are watched only from then on: epoll tells what is there already, and has nothing to tell of what was
        taken before. False when the backend turns out to have refused.
        """
        upstream, wire = flow.upstream, self.wire
        assert upstream is not None
        try:
            sent = os.write(upstream.fd, said) if said else -1
        except BlockingIOError:
            sent = -1
        except OSError:
            self._abandon(flow)
            return False
        wire.add(upstream, full=sent < 0)  # until the connect is over, epoll tells of the first moment to write
        wire.add(flow.client)
        if sent < 0:
            self._connecting.add(flow)
        else:
            self._opened(flow, sent)
        return True

    def _opened(self, flow: Flow, sent: int = 0) -> None:
        backend, upstream = flow.backend, flow.upstream
        assert backend is not None
        assert upstream is not None
        self._connecting.discard(flow)
        backend.total += 1
        backend.connected(monotonic() - flow.started_at)
        if backend.failures or backend.ejections:
            self.balancer.succeeded(backend, self.wire.now)
        if flow.early:
            self.wire.count(flow.client, len(flow.early))
        if flow.early or flow.header:
            upstream.held = (flow.header + flow.early)[sent:]
            flow.early = b""
        self.wire.open(flow)

    def _abandon(self, flow: Flow) -> None:
        """The present backend did not take the connection, and has had no byte of it."""
        backend, upstream = flow.backend, flow.upstream
        assert backend is not None
        assert upstream is not None
        self._connecting.discard(flow)
        backend.open -= 1
        flow.backend = flow.upstream = flow.client.peer = None
        flow.stage = WAITING
        flow.plain = False
        self.wire.drop(upstream)
        self._failed(flow, backend, blame=True)

    def _failed(self, flow: Flow, backend: Backend, blame: bool) -> None:
        flow.tried += (backend,)
        if blame:
            self.balancer.failed(backend, self.wire.now)

    def _unsettled(self, end: End, mask: int) -> None:
        """News of a socket whose connection has no backend yet, or one that took nothing and is lost."""
        flow = end.flow
        if end.is_client:
            if mask & EPOLLERR:  # it has gone; a mere end of file may follow a request
                self.wire.end(flow, reset=True)
        elif mask & EPOLLERR:
            self._abandon(flow)
            self._place(flow)
        else:
            self._opened(flow)

    def _wake(self) -> None:
        """Those who wait try again, the first first; where one finds nobody, the others would not either."""
        self._retry_at = self.wire.now + _RETRY_S
        for flow in list(self._waiting):
            self._place(flow)
            if flow in self._waiting:
                return

    def _closed(self, flow: Flow) -> None:
        self.flows.discard(flow)
        self._waiting.pop(flow, None)
        self._connecting.discard(flow)
        if self._clients is not None:
            self._clients.leave(flow)
        if flow.backend is not None:
            flow.backend.open -= 1
        if not self._accepting and not self._resume_at:
            self._resume()


def _parsed(backend: Backend) -> Target:
    target: Target = parse(backend.address)
    backend.target = target
    return target


def _moved_at(flow: Flow) -> float:
    return flow.touched_at or flow.accepted_at


def _name_of(fd: int, family: int) -> Address:
    """The address of this side of a connection."""
    opened = socket(family, SOCK_STREAM, 0, fd)
    try:
        return opened.getsockname()  # type: ignore[no-any-return]
    finally:
        opened.detach()


def _prepare(listener: socket) -> None:
    """Set what accepted sockets inherit, once for all of them."""
    listener.setblocking(False)
    listener.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)
    if listener.family != AF_UNIX:
        listener.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
