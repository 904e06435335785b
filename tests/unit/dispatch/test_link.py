"""The channel to the core, with a real socket pair and no dispatcher."""

import json
import select
import socket

import pytest

from hasup.dispatch.link import Link


@pytest.fixture
def channel():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.settimeout(10)
    watcher = select.epoll()
    tables = []
    yield near, Link(far, watcher, tables.append), tables
    near.close()
    far.close()
    watcher.close()


def said(near):
    return json.loads(near.recv(65536))


def test_it_asks_first_and_confirms_each_table(channel):
    near, link, tables = channel
    assert said(near) == {"want": "backends"}
    near.send(json.dumps({"revision": 3, "backends": [{"name": "w.1", "address": "unix:/s"}]}).encode())
    link.receive()
    assert tables == [[("w.1", "unix:/s", 1.0, "ready")]]
    assert said(near) == {"applied": 3}


@pytest.mark.parametrize("packet", [
    b"\xff", b"[]", b"null", b"{}", b'{"revision": 1}', b'{"revision": 1, "backends": 3}',
    b'{"revision": 1, "backends": [{"name": "w.1"}]}', b'{"revision": 1, "backends": [3]}',
    b'{"revision": 1, "backends": [{"name": "w", "address": "a", "state": "odd"}]}',
    b'{"revision": 1, "backends": [{"name": "w", "address": "a", "weight": "heavy"}]}',
])  # fmt: skip
def test_what_is_no_table_changes_nothing(channel, packet):
    near, link, tables = channel
    near.send(packet)
    near.send(b'{"revision": 2, "backends": []}')
    link.receive()
    assert tables == [[]]


def test_a_core_that_reads_nothing_is_not_waited_for(channel):
    near, link, _ = channel
    while link.tell({"stats": "x" * 1000}):
        pass
    link.owe("applied", 1)
    link.owe("applied", 2)  # said before the first could be said: only the newest counts
    heard = []
    while not heard or "want" in heard[-1] or "stats" in heard[-1]:
        heard.append(said(near))
        link.flush()
    assert heard[-1] == {"applied": 2}


def test_when_the_core_s_end_is_closed_the_last_table_stays(channel):
    near, link, tables = channel
    near.send(b'{"revision": 2, "backends": []}')
    near.close()
    link.receive()
    assert tables == [[]]
    assert not link.tell({"stats": {}})
