"""Frames: state and orders of a slot are never parted, and packets stay within the transport's limits."""

import json
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.loop import Loop
from hasup.protocol.guardian import MAX_FDS, MAX_FRAME, encode
from hasup.runtime.link import Frame, GuardianLink


def orders_of(packets):
    return [(json.loads(data), fds) for data, fds in packets]


def test_an_empty_turn_sends_nothing():
    assert Frame().packets({}) == []


def test_state_travels_with_the_orders_of_its_slot():
    frame = Frame()
    frame.add("web.1", {"op": "spawn", "slot": "web.1", "argv": ["x"], "env": {}})
    ((message, fds),) = orders_of(frame.packets({"web.1": "state", "db.1": None}))
    assert message["blobs"] == {"web.1": "state", "db.1": None}
    assert [order["op"] for order in message["do"]] == ["spawn"]
    assert fds == []


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 20_000), st.integers(0, 5)),
        max_size=60,
    )
)
def test_splitting_never_parts_a_slot(pieces):
    frame, blobs = Frame(), {}
    for number, size, fds in pieces:
        slot = f"p.{number}"
        blobs[slot] = "s" * (size // 10)
        frame.add(slot, {"op": "spawn", "slot": slot, "argv": [], "env": {"A": "x" * (size // 20)}})
        if fds:
            frame.add(slot, {"op": "keep", "slot": slot, "names": ["n"] * fds}, fds=list(range(fds)))
    seen: dict[str, int] = {}
    told: dict[str, int] = {}
    for index, (message, fds) in enumerate(orders_of(frame.packets(blobs))):
        assert len(fds) <= MAX_FDS
        for order in message["do"]:
            assert seen.setdefault(order["slot"], index) == index, "a slot's orders are in one packet"
        for slot in message["blobs"]:
            told[slot] = index
        assert sum(len(order["names"]) for order in message["do"] if order["op"] == "keep") == len(fds)
    assert told.keys() == blobs.keys()
    assert all(told[slot] == index for slot, index in seen.items())


def test_a_frame_too_long_is_refused_by_the_protocol():
    with pytest.raises(ValueError, match="bytes"):
        encode({"do": ["x" * MAX_FRAME]})


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop()
    yield loop, ours, theirs
    theirs.close()
    loop.close()


def test_what_does_not_fit_waits_in_order(pair):
    loop, ours, theirs = pair
    heard, gone = [], []
    link = GuardianLink(loop, ours.detach(), lambda message, fds: heard.append((message, fds)), lambda: gone.append(1))
    for number in range(200):
        frame = Frame()
        frame.add(f"s.{number}", {"op": "x", "slot": f"s.{number}", "env": {"A": "y" * 30_000}})
        link.send(frame, {})
    got = []
    theirs.settimeout(10)
    while len(got) < 200:
        got.append(json.loads(theirs.recv(MAX_FRAME))["do"][0]["slot"])
        loop.turn(0)
    assert got == [f"s.{number}" for number in range(200)]
    theirs.shutdown(socket.SHUT_RDWR)
    while not gone:
        loop.turn(5)


def test_descriptors_arrive_close_on_exec(pair):
    loop, ours, theirs = pair
    heard = []
    link = GuardianLink(loop, ours.detach(), lambda message, fds: heard.append((message, fds)), lambda: None)
    read_end, write_end = os.pipe()
    socket.send_fds(theirs, [b'{"event":"store","names":["a","b"]}'], [read_end, write_end])
    while not heard:
        loop.turn(5)
    message, fds = heard[0]
    assert message["names"] == ["a", "b"]
    assert not any(os.get_inheritable(fd) for fd in fds)
    for fd in (read_end, write_end, *fds):
        os.close(fd)
    link.close()
