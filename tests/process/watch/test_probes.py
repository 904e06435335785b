"""Probes against real servers that behave in every way a server can."""

import contextlib
import os
import socket
import threading

import pytest

from hasup.model.events import Beat, ProbeResult
from hasup.model.spec import Health, Ready
from hasup.runtime.probes import FileBeats, Prober


class Server:
    """Answers each connection with fixed bytes; None: accepts and never answers."""

    def __init__(self, answer, where=None):
        self.answer = answer
        self.requests = []
        family = socket.AF_UNIX if where else socket.AF_INET
        self.socket = socket.create_server(where or ("127.0.0.1", 0), family=family)
        self.port = self.socket.getsockname()[1]
        self._held = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                if self.answer is None:
                    self._held.append(connection)
                    continue
                with connection:
                    self.requests.append(connection.recv(4096))
                    connection.sendall(self.answer)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self._held:
            connection.close()


@pytest.fixture
def serve():
    servers = []

    def make(answer, where=None):
        servers.append(Server(answer, where))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def probe(loop):
    results = []
    commands = []
    prober = Prober(loop, results.append, lambda *call: commands.append(call))

    def run(spec, kind="health", count=1):
        prober.watch("web.1", 3, kind, spec)
        loop.until(lambda: len(results) >= count or commands, "a result")
        return results[0] if results else commands[0]

    run.results, run.prober = results, prober
    before = len(os.listdir("/proc/self/fd"))
    yield run
    prober.unwatch("web.1")
    assert len(os.listdir("/proc/self/fd")) <= before + 4, "no descriptor is left (a server's may still be closing)"


def health(**options):
    return Health(interval=0.05, timeout=0.5, **options)


@pytest.mark.parametrize(
    ("answer", "options", "fault"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", {}, ""),
        (b"HTTP/1.0 301 Moved\r\n\r\n", {}, ""),
        (b"HTTP/1.1 503 No\r\n\r\n", {}, "HTTP status 503"),
        (b"HTTP/1.1 503 No\r\n\r\n", {"status": (503,)}, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood", {"body": "^goo"}, ""),
        (b"HTTP/1.1 200 OK\r\n\r\nbad", {"body": "good"}, "HTTP status 200, but the body does not match 'good'"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n",
            {"body": "^good$"},
            "",
        ),
        (b"SSH-2.0-dropbear\r\n\r\n", {}, "the answer is no HTTP"),
        (b"", {}, "the connection was closed without an answer"),
        (None, {}, "connected, but got no answer within 0.5 s"),
    ],
)
def test_http(serve, probe, answer, options, fault):
    server = serve(answer)
    result = probe(health(http=f"http://localhost:{server.port}/x?y=1", **options))
    assert (result.slot, result.generation, result.probe) == ("web.1", 3, "health")
    assert result.ok == (fault == "")
    assert fault in result.detail


def test_what_http_sends(serve, probe):
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    probe(health(http=f"http://127.0.0.1:{server.port}/x?y=1", headers={"host": "shop.test", "X-A": "b"}))
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == b"GET /x?y=1 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith(b"host:")] == [b"host: shop.test"]
    assert b"X-A: b" in lines
    assert b"Connection: close" in lines


def test_http_on_a_unix_socket(tmp_path, serve, probe):
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n", f"{tmp_path}/s")
    assert probe(health(http=f"http://unix:{tmp_path}/s:/healthz?deep=1:/x")).ok
    assert server.requests[0].startswith(b"GET /healthz?deep=1:/x HTTP/1.1\r\nHost: localhost\r\n")


def test_tcp(serve, probe):
    assert probe(health(tcp=f"127.0.0.1:{serve(b'').port}")).ok


def test_refused(probe):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    result = probe(health(tcp=f"127.0.0.1:{port}"))
    assert not result.ok
    assert result.detail == "connection refused"


def test_unix_socket(tmp_path, probe):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert probe(health(tcp=f"unix:{tmp_path}/s")).ok


@pytest.mark.parametrize(
    ("code", "output", "detail"),
    [
        (0, "fine", ""),
        (3, "one\ntwo", "exit code 3: two"),
        (None, "took longer than 2 s", "the command did not end by itself: took longer than 2 s"),
    ],
)
def test_command(probe, code, output, detail):
    argv, slot, timeout, done = probe(health(exec=("check", "me")))
    assert (argv, slot, timeout) == (("check", "me"), "web.1", 0.5)
    done(code, output)
    assert (probe.results[0].ok, probe.results[0].detail) == (code == 0, detail)


def test_out_of_descriptors_the_replica_is_not_to_blame(serve, probe, loop, no_room):
    server = serve(b"")
    probe.prober.watch("web.1", 3, "ready", Ready(tcp=f"127.0.0.1:{server.port}", interval=0.01))
    turns = loop.turns
    with no_room():
        loop.until(lambda: loop.turns > turns + 20, "some tries")
        during = list(probe.results)
    assert during == []
    loop.until(lambda: probe.results, "a result when there is room again")
    assert probe.results[0].ok


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:99999", "'127.0.0.1:99999' is no HOST:PORT"),
        ("127.0.0.1:port", "'127.0.0.1:port' is no HOST:PORT"),
        ("unix:/" + "x" * 200, "path too long"),
        ("x" * 70 + ".test:80", "is no host name"),
        ("name.invalid:80", ""),  # in the words of the system's resolver
    ],
)
def test_addresses_that_lead_nowhere(probe, address, words):
    result = probe(Health(tcp=address, interval=0.05, timeout=30))
    assert not result.ok
    assert words in result.detail
    assert result.detail


def test_localhost_is_either_of_its_addresses(probe):
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("needs IPv6")
    with server:
        assert probe(health(tcp=f"localhost:{server.getsockname()[1]}")).ok


def test_a_resolver_that_is_silent_holds_up_nothing(serve, probe, loop, monkeypatch):
    port, asked, silence, real = serve(b"").port, [], threading.Event(), socket.getaddrinfo

    def getaddrinfo(host, number, *rest, flags=0, **options):
        if flags & socket.AI_NUMERICHOST:
            return real(host, number, *rest, flags=flags, **options)
        asked.append(host)
        silence.wait(60)
        return real("127.0.0.1", number, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        probe(health(tcp=f"db.test:{port}"), count=2)
        assert [result.detail for result in probe.results] == ["its name was not found within 0.5 s"] * 2
        assert asked == ["db.test"], "nobody asks again while an answer is due"
        loop.until(lambda: probe.prober._names._waiting["db.test", port], "the next try waits too")
        probe.prober.unwatch("web.1")
        assert probe.prober._names._waiting == {("db.test", port): []}, "what is not wanted any more is not told"
        probe.prober.watch("web.1", 3, "health", health(tcp=f"db.test:{port}"))
    finally:
        silence.set()
    loop.until(lambda: probe.results[-1].ok, "an answer")
    probe.prober.unwatch("web.1")
    loop.until(lambda: not probe.prober._names._waiting, "no question is left")


def test_again_and_again_but_never_two_at_once(serve, probe, loop):
    server = serve(b"HTTP/1.1 200 OK\r\n\r\n")
    probe(Ready(http=f"http://127.0.0.1:{server.port}/", interval=0.01), "ready", count=5)
    assert len(probe.results) >= 5
    assert all(isinstance(result, ProbeResult) and result.probe == "ready" for result in probe.results)


def test_nothing_comes_after_unwatch(serve, probe, loop):
    server = serve(None)
    probe.prober.watch("web.1", 3, "health", health(http=f"http://127.0.0.1:{server.port}/"))
    loop.turn(0.2)
    probe.prober.unwatch("web.1")
    for _ in range(20):
        loop.turn(0.05)
    assert probe.results == []


def test_an_old_file_is_no_sign_of_life(loop, tmp_path):
    events = []
    beats = FileBeats(loop, events.append)
    path = tmp_path / "beat"
    path.touch()
    beats.watch("web.1", str(path), 0.3)
    looked = loop.turns
    loop.until(lambda: loop.turns > looked + 20, "some looks")
    assert events == []
    beats.unwatch("web.1")
    assert loop._patience(123.0) == 123.0, "nothing wakes the loop any more"


def test_a_file_that_is_touched_is_a_sign_of_life(loop, tmp_path):
    events = []
    beats = FileBeats(loop, events.append)
    path = tmp_path / "beat"
    beats.watch("web.1", str(path), 0.3)
    path.touch()
    loop.until(lambda: events, "a sign of life")
    assert events[0] == Beat("web.1")
    os.utime(path, (1, 1))
    seen = len(events)
    loop.until(lambda: len(events) > seen, "another")
    beats.unwatch("web.1")
