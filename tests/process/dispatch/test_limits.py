"""Limits: what a client may have, how long a connection may be silent, how many may wait; and floods against them."""

import contextlib
import json
import resource
import select
import socket
import subprocess
import sys

import pytest

from hasup.dispatch.balance import Balancer
from hasup.dispatch.proxy import Proxy
from hasup.dispatch.settings import Settings
from tests.process.dispatch.harness import Backend, Dispatcher, eventually, listener

GOOD, BAD = "127.0.0.1", "127.0.0.2"
ECHO = """
import asyncio, resource, sys

async def talk(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(main())
"""


@pytest.fixture
def many():
    """An echo server that takes thousands of connections, as a row of the table."""
    with subprocess.Popen([sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().strip()
        yield {"name": "web.1", "address": f"127.0.0.1:{port}", "weight": 1, "state": "ready"}
        server.kill()


@pytest.fixture
def descriptors():
    """As many for this process as it may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect(web: Dispatcher, source: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    client = socket.socket(family)
    client.settimeout(30)
    client.bind((source, 0))
    with contextlib.suppress(ConnectionResetError):  # refused before this process had noticed that it is connected
        client.connect(("::1" if ":" in source else "127.0.0.1", web.address[1]))
    return client


def is_served(client: socket.socket) -> bool:
    """Whether its connection reaches an echo server; else it was reset."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b"x"
    except ConnectionError:
        return False


def asked(web: Dispatcher) -> bytes:
    """An answer, unless this client too was silent for too long."""
    with contextlib.suppress(OSError):
        return web.ask(b"hello")
    return b""


def test_a_client_has_no_more_than_its_share(dispatcher):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher(max_connections_per_client=2)
        web.table(backend)
        first, second, third = (stack.enter_context(connect(web, BAD)) for _ in range(3))
        assert [is_served(one) for one in (first, second, third)] == [True, True, False]
        assert all(is_served(stack.enter_context(connect(web, GOOD))) for _ in range(2)), "others have theirs"
        figures = web.figures(lambda stats: stats["refused"])
        assert figures["refused_for"] == {"timeout": 0, "queue": 0, "client": 1}
        assert figures["open"] == 4
        first.close()
        web.figures(lambda stats: stats["open"] == 3)
        assert is_served(stack.enter_context(connect(web, BAD))), "one that ended makes room"


def test_an_ipv4_client_is_the_same_on_a_socket_for_both_families(dispatcher):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher(listen=listener(("::", 0), socket.AF_INET6), max_connections_per_client=1)
        web.table(backend)
        clients = [stack.enter_context(connect(web, source)) for source in (BAD, GOOD, BAD, "::1", "::1")]
        assert [is_served(client) for client in clients] == [True, True, False, True, False]


def test_clients_of_a_unix_socket_are_not_told_apart(dispatcher, tmp_path):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        front = listener(str(tmp_path / "front"), socket.AF_UNIX)
        web = dispatcher(listen=front, max_connections_per_client=1)
        web.table(backend)
        assert all(is_served(stack.enter_context(web.connect())) for _ in range(3))


class Here:
    """The proxy in this process, by a clock that the test sets; ``backend`` is the replica's end of the connection."""

    def __init__(self, **settings: float) -> None:
        self.epoll = select.epoll()
        self.front, self.back = listener(), listener()
        orders = Settings(json.dumps({"name": "web", **settings}))
        self.proxy = Proxy(self.front, orders, Balancer("round-robin", lambda: 0.5), self.epoll, 100)
        host, port = self.back.getsockname()
        self.proxy.replace([("web.1", f"{host}:{port}", 1.0, "ready")])

    def at(self, now: float) -> None:
        """What happens then: whatever has come, and what the clock says."""
        self.proxy.wire.now = now
        while events := self.epoll.poll(0.05):
            self.proxy.wire.turn(events, {self.front.fileno(): self.proxy.accept})
            self.proxy.wire.carry_on()
        self.proxy.tick()
        self.proxy.wire.carry_on()

    def close(self) -> None:
        for flow in list(self.proxy.flows):
            self.proxy.wire.end(flow)
        self.proxy.wire.carry_on()
        for one in (self.epoll, self.front, self.back):
            one.close()


@pytest.fixture
def here():
    one = Here(idle_timeout=60)
    yield one
    one.close()


def test_a_silent_connection_is_closed_and_a_talking_one_is_not(here):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(here.front.getsockname(), 30)) for _ in range(3)]
        here.at(1000.0)
        replicas = [stack.enter_context(here.back.accept()[0]) for _ in clients]
        here.at(1055.0)
        assert len(here.proxy.flows) == 3
        clients[0].sendall(b"x")
        replicas[1].sendall(b"x")
        here.at(1056.0)
        here.at(1061.0)
        assert here.proxy.idled == 1, "the third, from its beginning on"
        assert clients[2].recv(1) == b"", "an end, not a reset"
        here.at(1110.0)
        clients[0].sendall(b"x")
        here.at(1115.0)
        here.at(1117.0)
        assert here.proxy.idled == 2, "the second, from its last byte on"
        assert replicas[0].recv(2) == b"xx"
        assert len(here.proxy.flows) == 1
        assert sum(here.proxy.refused.values()) == 0


def test_what_the_kernel_still_brings_to_a_slow_reader_is_not_silence(here):
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(here.front.getsockname())
        here.at(1000.0)
        with here.back.accept()[0] as replica:
            replica.sendall(b"x" * 100_000)
            here.at(1000.0)
            for now in (1070.0, 1140.0, 1210.0):
                here.at(now)
                assert here.proxy.idled == 0, "a bit less is left each time"
                client.recv(20_000)
                eventually(lambda: client.recv(1, socket.MSG_PEEK) != b"", "more comes")
            here.at(1280.0)
            for now in (1350.0, 1420.0):
                here.at(now)
            assert here.proxy.idled == 1, "nothing was read any more"


def test_no_more_wait_than_may(dispatcher):
    web = dispatcher(queue_limit=2)
    web.table()
    with contextlib.ExitStack() as stack, Backend("web.1") as backend:
        waiting = [stack.enter_context(web.connect()) for _ in range(2)]
        web.figures(lambda stats: stats["queued"] == 2)
        with connect(web, GOOD) as third:
            assert not is_served(third)
        assert web.figures(lambda stats: stats["refused"])["refused_for"] == {"timeout": 0, "queue": 1, "client": 0}
        web.table(backend)
        assert all(map(is_served, waiting))


@pytest.mark.parametrize("size", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_flood_of_one_client_leaves_the_others_in_peace(dispatcher, many, descriptors, size):
    share = min(size // 2, (descriptors - 500) // 2)
    web = dispatcher(
        listen=listener(backlog=4096), max_connections=share + 100, max_connections_per_client=share, idle_timeout=3600
    )
    web.table(many)
    with contextlib.ExitStack() as stack:
        flood = []
        for number in range(size):
            flood.append(stack.enter_context(connect(web, BAD)))
            if number < 300:
                with contextlib.suppress(ConnectionError):
                    flood[-1].send(b"s")  # and never more: slow openers
            if number % (size // 20) == 0:
                assert web.ask(b"hello") == b"hello", "in the midst of it"
        figures = web.figures(lambda stats: stats["refused"] == size - share and stats["open"] == share)
        assert figures["refused_for"]["client"] == size - share
        assert not figures["full"], "there is room for others"
        assert web.descriptors() <= 2 * share + 64
        with web.connect() as other:
            assert all(is_served(other) for _ in range(20))
        assert web.memory() < 14_000_000 + 4_000 * share
    web.figures(lambda stats: stats["open"] == 0)
    eventually(lambda: web.descriptors() < 64, "descriptors are given back")
    with connect(web, BAD) as again:
        assert is_served(again)


def test_a_flood_of_the_silent_makes_others_wait_for_no_longer_than_the_timeout(dispatcher, many):
    web = dispatcher(listen=listener(backlog=4096), max_connections=200, idle_timeout=1.0)
    web.table(many)
    with contextlib.ExitStack() as stack:
        for number in range(400):
            stack.enter_context(connect(web, f"127.0.1.{number % 250 + 1}"))
        served = eventually(lambda: asked(web), "an answer, after all of them in the kernel's queue")
        assert served == b"hello"
        web.figures(lambda stats: stats["idled"] >= 200)
