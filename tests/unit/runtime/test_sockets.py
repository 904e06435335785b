"""Listening sockets: what is opened, and how a failure reads."""

import os
import socket

import pytest

from hasup.model.spec import Listen
from hasup.runtime.sockets import ListenError, bind, split_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("0.0.0.0", 80)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_split(text, parts):
    assert split_address(text) == parts


def test_tcp_listens():
    with bind(Listen(address="127.0.0.1:0"), "/") as opened, socket.create_connection(opened.getsockname()):
        assert opened.getsockname()[1] > 0


def test_taken_says_so():
    with bind(Listen(address="127.0.0.1:0"), "/") as opened:
        port = opened.getsockname()[1]
        with pytest.raises(ListenError, match=rf"cannot listen on 127.0.0.1:{port}: the address is in use"):
            bind(Listen(address=f"127.0.0.1:{port}"), "/")


def test_an_address_of_another_machine():
    with pytest.raises(ListenError, match="this machine has no such address"):
        bind(Listen(address="192.0.2.1:1"), "/")


def test_a_stale_unix_socket_is_replaced_but_nothing_else(tmp_path):
    listen = Listen(address="unix:web.sock")
    bind(listen, str(tmp_path)).close()  # leaves its file
    with bind(listen, str(tmp_path)) as opened, pytest.raises(ListenError, match="in use"):
        assert opened.family == socket.AF_UNIX
        bind(listen, str(tmp_path))
    os.unlink(tmp_path / "web.sock")
    (tmp_path / "web.sock").write_text("precious")
    with pytest.raises(ListenError):
        bind(listen, str(tmp_path))
    assert (tmp_path / "web.sock").read_text() == "precious"
