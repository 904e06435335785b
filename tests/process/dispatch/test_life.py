"""The dispatcher's own life: waiting clients, limits, draining, its death and the core's."""

import contextlib
import resource
import signal
import socket
import subprocess
import sys

import pytest

from tests.process.dispatch.harness import PATIENCE_S, SOURCE, Backend, listener, read_all


def talk(client: socket.socket) -> None:
    """One exchange with an echoing backend."""
    client.sendall(b"x")
    assert client.recv(1) == b"x"


def test_it_asks_for_the_table_whenever_it_starts(dispatcher):
    web = dispatcher()
    assert web.hear() == {"want": "backends"}
    web.kill()
    web.start()
    while web.hear() != {"want": "backends"}:
        pass


def test_clients_wait_for_a_replica_and_are_served(dispatcher):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher()
        web.table()
        clients = [stack.enter_context(web.connect()) for _ in range(5)]
        for client in clients:
            client.sendall(b"waited")
        assert web.figures(lambda stats: stats["queued"] == 5)["open"] == 5
        web.table(backend)
        assert [client.recv(6, socket.MSG_WAITALL) for client in clients] == [b"waited"] * 5
        assert web.figures(lambda stats: stats["queued"] == 0)["refused"] == 0


def test_clients_that_waited_too_long_are_refused(dispatcher):
    web = dispatcher(queue_timeout=0.1)
    web.table()
    with web.connect() as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert web.figures(lambda stats: stats["refused"] == 1)["open"] == 0


def test_when_every_replica_refuses_they_are_tried_again(dispatcher):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        row = {"name": "web.1", "address": f"127.0.0.1:{reserved.getsockname()[1]}", "weight": 1, "state": "ready"}
        web = dispatcher()
        web.table(row)
        with web.connect() as client:
            client.sendall(b"x")
            web.figures(lambda stats: stats["queued"] == 1 and stats["backends"]["web.1"]["failed"] > 3)
            reserved.listen(5)
            conversation, _ = reserved.accept()
            with conversation:
                assert conversation.recv(1) == b"x"


def test_a_client_that_leaves_while_it_waits_is_forgotten(dispatcher):
    web = dispatcher()
    web.table()
    client = web.connect()
    web.figures(lambda stats: stats["queued"] == 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    web.figures(lambda stats: stats["queued"] == 0 and stats["open"] == 0)


def test_past_max_connections_the_kernel_keeps_them(dispatcher):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher(max_connections=2)
        web.table(backend)
        first, second, third = (stack.enter_context(web.connect()) for _ in range(3))
        talk(first)
        talk(second)
        third.sendall(b"x")
        assert web.figures(lambda stats: stats["full"])["accepted"] == 2
        first.close()
        assert third.recv(1) == b"x"
        talk(second)


def test_without_descriptors_it_waits_and_goes_on(dispatcher):
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher()
        web.table(backend)
        talk(stack.enter_context(web.connect()))
        limits = resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE, (web.descriptors() + 2, limits[1]))
        clients = [stack.enter_context(web.connect()) for _ in range(8)]
        talk(clients[0])
        web.figures(lambda stats: stats["full"] or stats["queued"])
        resource.prlimit(web.process.pid, resource.RLIMIT_NOFILE, limits)
        for client in clients:
            talk(client)


def test_ten_thousand_silent_clients_do_no_harm(dispatcher):
    """Scaled to the descriptors that this test may have: far more clients than max_connections."""
    with Backend("web.1") as backend, contextlib.ExitStack() as stack:
        web = dispatcher(max_connections=20, listen=listener(backlog=100))
        web.table(backend)
        idle = [stack.enter_context(web.connect()) for _ in range(100)]
        web.figures(lambda stats: stats["full"])
        assert web.descriptors() < 80
        for client in idle:
            client.close()
        assert web.ask(b"served") == b"served"


def test_draining_closes_who_is_at_rest(dispatcher):
    with Backend("web.1") as old, Backend("web.2") as new, contextlib.ExitStack() as stack:
        web = dispatcher(quiet=0.1)
        web.table(old)
        idle, silent = stack.enter_context(web.connect()), stack.enter_context(web.connect())
        talk(idle)
        web.figures(lambda stats: stats["backends"]["web.1"]["total"] == 2)
        web.table(old.row("draining"), new)
        assert web.ask(b"new") == b"new"
        assert new.served == 1
        assert idle.recv(1) == b""
        assert silent.recv(1) == b""
        assert web.figures(lambda stats: stats["open"] == 0)["refused"] == 0


def test_a_request_under_way_is_not_cut_by_draining(dispatcher):
    with listener() as back:
        row = {"name": "web.1", "address": f"127.0.0.1:{back.getsockname()[1]}", "weight": 1, "state": "ready"}
        web = dispatcher(quiet=0.05)
        web.table(row)
        with web.connect() as client, web.connect() as idle:
            client.sendall(b"question")
            conversation, _ = back.accept()
            other, _ = back.accept()
            with conversation, other:
                first, second = (conversation, other) if conversation.recv(8) else (other, conversation)
                web.table(row | {"state": "draining"})
                assert second.recv(1) == b""  # the idle one was told; so the other was looked at as well
                second.sendall(b"goodbye")  # what it still has to say arrives
                second.close()
                assert read_all(idle) == b"goodbye"
                first.sendall(b"answer")
                assert client.recv(6) == b"answer"


def test_a_client_that_was_answered_and_does_not_end_is_not_waited_for(dispatcher):
    with Backend("web.1", lambda conversation: conversation.sendall(conversation.recv(10))) as backend:
        web = dispatcher(quiet=0.1, drain_timeout=3600.0)
        web.table(backend)
        with web.connect() as client:
            client.sendall(b"x")
            assert read_all(client) == b"x"
            web.table(backend.row("draining"))
            web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)


def test_drain_timeout_ends_the_rest(dispatcher):
    with listener() as back:
        row = {"name": "web.1", "address": f"127.0.0.1:{back.getsockname()[1]}", "weight": 1, "state": "ready"}
        web = dispatcher(drain_timeout=0.2)
        web.table(row)
        with web.connect() as client:
            client.sendall(b"x")
            conversation, _ = back.accept()
            with conversation:
                assert conversation.recv(1) == b"x"
                web.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


def test_sigterm_finishes_what_is_open_and_leaves_the_rest_to_the_next(dispatcher):
    with listener() as back, Backend("web.2") as backend:
        web = dispatcher(quiet=0.1)
        web.table({"name": "web.1", "address": f"127.0.0.1:{back.getsockname()[1]}", "weight": 1, "state": "ready"})
        with web.connect() as busy:
            busy.sendall(b"question")
            conversation, _ = back.accept()
            with conversation:
                assert conversation.recv(8, socket.MSG_WAITALL) == b"question"
                web.process.send_signal(signal.SIGTERM)
                web.figures(lambda stats: stats["full"])  # it takes no more
                with web.connect() as later:
                    later.sendall(b"later")
                    conversation.sendall(b"answer")
                    assert busy.recv(6, socket.MSG_WAITALL) == b"answer"
                    assert conversation.recv(1) == b""  # at rest now
                    conversation.close()
                    assert busy.recv(1) == b""
                    assert web.process.wait(PATIENCE_S) == 0
                    web.start()
                    web.table(backend)
                    assert later.recv(5, socket.MSG_WAITALL) == b"later"


def test_sigterm_at_rest_and_sighup(dispatcher):
    web = dispatcher()
    web.process.send_signal(signal.SIGHUP)
    web.table()
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(PATIENCE_S) == 0


def test_killed_again_and_again_it_refuses_nobody(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher()
        for _ in range(5):
            web.table(backend)
            assert web.ask(b"before") == b"before"
            web.kill()
            with web.connect() as client:
                client.sendall(b"meanwhile")
                web.start()
                web.table(backend)
                assert client.recv(9, socket.MSG_WAITALL) == b"meanwhile"


def test_the_core_s_end_is_closed_and_it_goes_on(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher()
        web.table(backend)
        web.near.close()
        assert [web.ask(b"x") for _ in range(3)] == [b"x"] * 3


def test_a_core_that_reads_nothing_blocks_nothing(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher()
        web.near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(300):
            try:
                web.near.settimeout(0.2)
                web.table(backend, wait=False)
            except OSError:
                break
        assert [web.ask(b"x") for _ in range(20)] == [b"x"] * 20


def test_tables_are_replayed_and_the_last_one_counts(dispatcher):
    with Backend("web.1") as first, Backend("web.2") as second:
        web = dispatcher()
        for _ in range(3):
            web.table(first)
            web.table(second)
        assert [web.ask(b"x") for _ in range(4)] == [b"x"] * 4
        assert (first.served, second.served) == (0, 4)


def test_watchdog_and_status(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher(environ={"WATCHDOG_USEC": "300000"})
        web.table(backend)
        heard = set()
        while not {"WATCHDOG=1", "STATUS=0 connections; 1 of 1 replicas"} <= heard:
            heard.add(web.notify.recv(4096).decode())


def test_nonsense_in_the_environment_is_told():
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hasup.dispatch"],
        env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("hasup: the dispatcher cannot start: HASUP_DISPATCH")


def test_no_time_for_draining(dispatcher):
    with Backend("web.1") as backend, Backend("web.2") as other:
        web = dispatcher(drain_timeout=0, quiet=0.1)
        web.table(backend)
        with web.connect() as client:
            talk(client)
            web.table(backend.row("draining"), other)
            web.figures(lambda stats: "web.2" in stats["backends"])
            assert client.recv(1) == b"", "it is at rest"
        assert web.ask(b"x") == b"x"
        assert web.process.poll() is None
