"""A client's connection: its two sockets, and what is known of it. Data only."""

from hasup.dispatch.balance import Backend

WAITING = 0  # no backend yet
CONNECTING = 1
OPEN = 2
CLOSED = 3


class End:
    """One of the two sockets (non-blocking), and the way of the bytes that come from it."""

    __slots__ = ("done", "ended", "fd", "flow", "full", "held", "is_client", "peer", "ready", "shut", "tcp")

    def __init__(self, fd: int, flow: "Flow", is_client: bool, tcp: bool) -> None:
        self.fd = fd
        self.flow = flow
        self.is_client = is_client
        self.tcp = tcp
        self.peer: End | None = None
        self.held = b""  # read from the peer, and not yet taken by this socket
        self.full = False  # it took less than it was given: epoll tells when it takes more
        self.ready = False  # there may be something to read
        self.ended = False  # its end of file has come, behind what is still to be read
        self.done = False  # nothing more is read from it: end of file, or nowhere to put it
        self.shut = False  # nothing more is written to it


class Flow:
    """One connection of a client. Times are seconds, monotonic."""

    __slots__ = (
        "accepted_at", "asked_at", "backend", "client", "drained_at", "early", "header", "left", "plain", "reset",
        "stage", "started_at", "touched_at", "tried", "upstream",
    )  # fmt: skip

    def __init__(self, fd: int, tcp: bool, now: float) -> None:
        self.client = End(fd, self, True, tcp)
        self.upstream: End | None = None
        self.backend: Backend | None = None
        self.stage = WAITING
        self.plain = False  # open, and nothing unusual in either direction: the fast way
        self.accepted_at = now
        self.started_at = now  # of the present connect
        self.touched_at = 0.0  # the last byte, of either side; 0: none yet
        self.asked_at = 0.0  # the first byte from the client that no byte from the backend has followed yet
        self.drained_at = 0.0  # the backend was told that nothing more comes
        self.left = 0  # bytes that the kernel had still to send, when that was looked at last
        self.reset = False  # one side was reset: so will be the other
        self.header = b""  # what each backend is told first, ahead of the client's bytes
        self.early = b""  # read from the client, before a backend could take it
        self.tried: tuple[Backend, ...] = ()  # failed, since it was last accepted or woken
