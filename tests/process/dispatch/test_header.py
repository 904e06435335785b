"""The PROXY protocol on the wire: ahead of everything, once for each connect, and as real programs read it."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from hasup.dispatch import header
from tests.e2e.harness import free_port, needs
from tests.process.dispatch.harness import Backend, echo, eventually, listener, read_all

FRONTS = {
    "ipv4": (socket.AF_INET, ("127.0.0.1", 0)),
    "ipv6": (socket.AF_INET6, ("::1", 0)),
    "both": (socket.AF_INET6, ("::", 0)),
    "unix": (socket.AF_UNIX, "front"),
}


@pytest.fixture(params=FRONTS)
def front(request, tmp_path):
    """A listening socket, and how to connect to it."""
    family, where = FRONTS[request.param]
    opened = listener(str(tmp_path / where) if family == socket.AF_UNIX else where, family)
    name = opened.getsockname()
    where = ("127.0.0.1", name[1]) if request.param == "both" else name[:2] if isinstance(name, tuple) else name
    family = socket.AF_INET if request.param == "both" else family

    def connect() -> socket.socket:
        client = socket.socket(family)
        client.settimeout(30)
        client.connect(where)
        return client

    return opened, connect


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_it_comes_first_and_says_who_it_is(dispatcher, front, version):
    opened, connect = front
    with Backend("web.1") as backend:
        web = dispatcher(listen=opened, proxy_protocol=version)
        web.table(backend)
        for said in (b"", b"hello", os.urandom(300_000)):
            with connect() as client:
                told = header.VERSIONS[version](client.getsockname(), client.getpeername())
                thread = threading.Thread(target=lambda c=client, s=said: (c.sendall(s), c.shutdown(socket.SHUT_WR)))
                thread.start()
                assert read_all(client) == told + said
                thread.join(30)


def test_a_client_that_is_silent_is_announced(dispatcher):
    """The server may be the first to speak, and wants to know to whom."""
    with Backend("web.1", lambda c: c.sendall(b"welcome " + c.recv(1000))) as backend:
        web = dispatcher(proxy_protocol="v1")
        web.table(backend)
        with web.connect() as client:
            ours, theirs = client.getsockname()[1], web.address[1]
            assert read_all(client) == b"welcome PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (ours, theirs)


def test_each_connect_that_is_tried_has_its_own(dispatcher):
    """The first backend goes before it accepts: the header that stood in its queue is said anew to the next."""
    first = listener()
    web = dispatcher(proxy_protocol="v1")
    host, port = first.getsockname()
    web.table({"name": "web.1", "address": f"{host}:{port}", "weight": 1, "state": "ready"})
    with Backend("web.2") as second, web.connect() as client:
        web.figures(lambda stats: stats["backends"]["web.1"]["total"] == 1)
        web.table({"name": "web.1", "address": f"{host}:{port}", "weight": 0, "state": "ready"}, second)
        first.close()
        web.figures(lambda stats: stats["backends"]["web.2"]["total"] == 1)
        told = header.v1(client.getsockname(), client.getpeername())
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == told + b"hello"
        figures = web.figures(lambda stats: stats["open"] == 0)
        assert figures["backends"]["web.2"]["bytes_in"] == 5, "the header is not the client's"


def test_without_it_nothing_is_added(dispatcher):
    with Backend("web.1", echo) as backend:
        web = dispatcher()
        web.table(backend)
        assert web.ask(b"") == b""
        assert web.ask(b"hello") == b"hello"


NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log; events {{ }}
http {{ access_log off; client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
  uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
  server {{ listen 127.0.0.1:{port} proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }} }} }}
"""
HAPROXY = """
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend web
  bind 127.0.0.1:{port} accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"
"""
SERVERS = {"nginx": (NGINX, ["-c"]), "haproxy": (HAPROXY, ["-db", "-f"])}


@pytest.fixture(
    params=[pytest.param(name, marks=needs(name)) for name in SERVERS],
)
def server(request, tmp_path):
    """A real server that answers with what it was told of the client; its address."""
    config, arguments = SERVERS[request.param]
    port = free_port()
    file = tmp_path / "server.conf"
    file.write_text(config.format(dir=tmp_path, port=port))
    program = shutil.which(request.param, path=os.environ["PATH"] + ":/usr/sbin")
    process = subprocess.Popen([program, *arguments, str(file)])

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
            return True
        assert process.poll() is None, "it has ended"
        return False

    eventually(listens, f"{request.param} listens")
    yield f"127.0.0.1:{port}"
    process.send_signal(signal.SIGTERM)
    process.wait(30)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_as_real_servers_read_it(dispatcher, front, server, version):
    opened, connect = front
    web = dispatcher(listen=opened, proxy_protocol=version)
    web.table({"name": "web.1", "address": server, "weight": 1, "state": "ready"})
    with connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        told = answer.read().decode()
        assert answer.status == 200
        if client.family == socket.AF_UNIX:
            assert told.split()[:1] in ([], ["127.0.0.1"]), "nothing, or what the server knows by itself"
        else:
            assert told == "{} {}".format(*client.getsockname()[:2])
