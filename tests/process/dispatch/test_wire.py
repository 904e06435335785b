"""Bytes arrive as they were sent, ends and resets as they were meant, and memory stays where it was."""

import hashlib
import os
import socket
import struct
import threading

import pytest

from tests.process.dispatch.harness import Backend, echo, eventually, listener, read_all

SIZE = 50_000_000
SLACK = 6_000_000  # bytes of memory that traffic may cost


def reset(conversation: socket.socket) -> None:
    conversation.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.close()


def bulk(size: int) -> bytes:
    return os.urandom(1_000_000) * (size // 1_000_000)


def send_all(client: socket.socket, data: bytes) -> threading.Thread:
    def send() -> None:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


@pytest.fixture(params=["ipv4", "ipv6", "unix"])
def family(request, tmp_path):
    """The family's number, and where the front and the back listen."""
    if request.param == "unix":
        return socket.AF_UNIX, str(tmp_path / "front"), str(tmp_path / "back")
    if request.param == "ipv6":
        try:
            listener(("::1", 0), socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
        return socket.AF_INET6, ("::1", 0), ("::1", 0)
    return socket.AF_INET, ("127.0.0.1", 0), ("127.0.0.1", 0)


def test_large_transfers_both_ways(dispatcher, family):
    kind, front, back = family
    data = bulk(SIZE)
    with Backend("web.1", where=back, family=kind) as backend:
        web = dispatcher(listen=listener(front, kind))
        web.table(backend)
        before = web.memory()
        with web.connect() as client:
            sender = send_all(client, data)
            digest, size = hashlib.sha256(), 0
            while part := client.recv(1 << 20):
                digest.update(part)
                size += len(part)
            sender.join(30)
        assert size == len(data)
        assert digest.digest() == hashlib.sha256(data).digest()
        assert web.memory() - before < SLACK
        web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)


def test_odd_sizes_arrive_whole(dispatcher):
    """Around the sizes of the buffer."""
    with Backend("web.1") as backend:
        web = dispatcher()
        web.table(backend)
        for size in (1, 32767, 32768, 32769, 65535, 65536, 65537, 98304, 131073, 1_000_003):
            data = os.urandom(size)
            with web.connect() as client:
                sender = send_all(client, data)
                assert read_all(client) == data
                sender.join(30)


def test_a_slow_reader_slows_the_sender_and_costs_no_memory(dispatcher):
    with listener() as back:
        web = dispatcher()
        address = f"127.0.0.1:{back.getsockname()[1]}"
        web.table({"name": "web.1", "address": address, "weight": 1, "state": "ready"})
        before = web.memory()
        with web.connect() as client:
            sender, _ = back.accept()
            with sender:
                sender.setblocking(False)
                chunk, sent, still = bytes(range(256)) * 256, 0, 0
                while still < 50:  # nobody reads: the kernels' buffers fill, and then it stops
                    try:
                        sent += sender.send(chunk[sent % 65536 :])
                        still = 0
                    except BlockingIOError:
                        still += 1
                        threading.Event().wait(0.01)
                assert web.memory() - before < SLACK
                sender.shutdown(socket.SHUT_WR)
                received = read_all(client)
        assert len(received) == sent
        assert received == (chunk * (sent // 65536 + 1))[:sent]


def test_half_close_by_the_client(dispatcher):
    """It has said all; the answer comes after that."""

    def answer_after_the_end(conversation: socket.socket) -> None:
        conversation.sendall(b"%d" % len(read_all(conversation)))

    with Backend("web.1", answer_after_the_end) as backend:
        web = dispatcher()
        web.table(backend)
        assert web.ask(b"x" * 1000) == b"1000"


def test_half_close_by_the_backend(dispatcher):
    """It has said all; the client still sends, and the backend still reads."""
    got = []

    def speak_then_listen(conversation: socket.socket) -> None:
        conversation.sendall(b"bye")
        conversation.shutdown(socket.SHUT_WR)
        got.append(read_all(conversation))

    with Backend("web.1", speak_then_listen) as backend:
        web = dispatcher()
        web.table(backend)
        with web.connect() as client:
            assert read_all(client) == b"bye"
            client.sendall(b"still here")
        assert eventually(lambda: got) == [b"still here"]


def test_the_backend_speaks_first(dispatcher):
    with Backend("web.1", lambda conversation: conversation.sendall(b"220 ready\r\n")) as backend:
        web = dispatcher()
        web.table(backend)
        with web.connect() as client:
            assert read_all(client) == b"220 ready\r\n"


def test_a_conversation(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher()
        web.table(backend)
        with web.connect() as client:
            for number in range(200):
                client.sendall(b"%d" % number)
                assert client.recv(100) == b"%d" % number


def test_a_reset_of_the_backend_reaches_the_client(dispatcher):
    def hang_up(conversation: socket.socket) -> None:
        conversation.recv(10)
        reset(conversation)

    with Backend("web.1", hang_up) as backend:
        web = dispatcher()
        web.table(backend)
        with web.connect() as client:
            client.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)


def test_a_reset_of_the_client_reaches_the_backend(dispatcher):
    ended = []

    def wait(conversation: socket.socket) -> None:
        conversation.sendall(conversation.recv(10))
        try:
            ended.append(conversation.recv(10))
        except ConnectionResetError as error:
            ended.append(error)

    with Backend("web.1", wait) as backend:
        web = dispatcher()
        web.table(backend)
        client = web.connect()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        reset(client)
        assert isinstance(eventually(lambda: ended)[0], ConnectionResetError)


def test_an_early_answer_reaches_the_client_though_its_body_is_not_wanted(dispatcher):
    """As a server does that refuses a large body: it answers and closes, with bytes unread."""

    def refuse(conversation: socket.socket) -> None:
        conversation.recv(10)
        conversation.sendall(b"413")

    with Backend("web.1", refuse) as backend:
        web = dispatcher()
        web.table(backend)
        with web.connect() as client:
            client.sendall(b"0123456789")
            assert client.recv(3, socket.MSG_WAITALL) == b"413"
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                client.sendall(b"x" * 50_000_000)
        web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)


def test_a_killed_replica_ends_its_connections(dispatcher):
    backend = Backend("web.1")
    web = dispatcher()
    web.table(backend)
    with web.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        backend.close()
        assert client.recv(1) == b""


def test_descriptors_are_given_back(dispatcher):
    with Backend("web.1", echo) as backend:
        web = dispatcher()
        web.table(backend)
        web.ask()
        web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)
        before = web.descriptors()
        clients = [web.connect() for _ in range(50)]
        for number, client in enumerate(clients):
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            reset(client) if number % 2 else client.close()
        eventually(lambda: web.descriptors() == before, "as many descriptors as before")
