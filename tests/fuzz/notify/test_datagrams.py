"""Whatever bytes and descriptors come in a datagram: nothing raises, nothing is left open."""

import os
import socket

from hypothesis import given, settings
from hypothesis import strategies as st

from hasup.loop import Loop
from hasup.model.events import Beat, Notified
from hasup.protocol.notify import parse
from hasup.runtime.notify import NotifySockets

NAMES = st.sampled_from(
    [
        b"READY=",
        b"WATCHDOG=",
        b"STATUS=",
        b"MAINPID=",
        b"FDNAME=",
        b"EXTEND_TIMEOUT_USEC=",
        b"BARRIER=",
        b"FDSTORE=",
        b"=",
    ]
)
VALUES = st.one_of(st.sampled_from([b"1", b"0", b"trigger", b""]), st.binary(max_size=30))
DATAGRAMS = st.one_of(
    st.binary(max_size=300),
    st.lists(st.tuples(NAMES, VALUES), max_size=300).map(lambda lines: b"\n".join(map(b"".join, lines))),
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(DATAGRAMS)
def test_nothing_raises(datagram):
    message = parse(datagram)
    assert message.main_pid is None or message.main_pid >= 0
    assert message.status is None or (len(message.status) <= 500 and message.status.isprintable())
    assert message.malformed <= datagram.count(b"\n") + 1


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.tuples(DATAGRAMS, st.integers(0, 5)), max_size=5))
def test_sockets_outlive_what_they_are_sent(datagrams):
    loop, events = Loop(), []
    sockets = NotifySockets(loop, os.urandom(16).hex(), events.append, lambda *_: True, lambda *_: None)
    _, address = sockets.open("web.1")
    before = len(os.listdir("/proc/self/fd"))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + address[1:])
            for datagram, fds in datagrams:
                socket.send_fds(sender, [datagram], [0] * fds)
        for _ in range(3):
            loop.turn(0)
        assert len(os.listdir("/proc/self/fd")) == before
        assert all(isinstance(event, Beat | Notified) and event.slot == "web.1" for event in events)
    finally:
        sockets.close("web.1")
        loop.close()
