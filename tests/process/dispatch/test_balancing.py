"""Who gets the connections, and what happens when replicas go."""

import contextlib
import socket

from tests.process.dispatch.harness import Backend, echo, eventually, listener


def named(name: str):
    """Answers with its name."""

    def serve(conversation: socket.socket) -> None:
        while conversation.recv(4096):
            pass
        conversation.sendall(name.encode())

    return serve


def three(stack: contextlib.ExitStack, serve=None) -> list[Backend]:
    names = [f"web.{number}" for number in (1, 2, 3)]
    return [stack.enter_context(Backend(name, serve or named(name))) for name in names]


def test_a_thousand_connections_spread_evenly(dispatcher):
    with contextlib.ExitStack() as stack:
        backends = three(stack)
        web = dispatcher()
        web.table(*backends)
        answers = [web.ask() for _ in range(1000)]
        assert sorted(map(answers.count, set(answers))) == [333, 333, 334]
        assert sorted(one.served for one in backends) == [333, 333, 334]


def test_weights_and_least_connections(dispatcher):
    with contextlib.ExitStack() as stack:
        backends = three(stack, echo)
        web = dispatcher(balance="least-connections")
        web.table(*(one.row(weight=weight) for one, weight in zip(backends, (1, 2, 3), strict=True)))
        clients = [stack.enter_context(web.connect()) for _ in range(60)]
        eventually(lambda: sum(one.served for one in backends) == 60)
        assert [one.served for one in backends] == [10, 20, 30]
        assert len(clients) == 60


def test_a_dead_replica_costs_no_connection(dispatcher):
    """Its address is still in the table: who is sent there goes on to the next, with what the client said."""
    with contextlib.ExitStack() as stack:
        backends = three(stack)
        web = dispatcher()
        web.table(*backends)
        backends[1].close()
        answers = [web.ask() for _ in range(60)]
        assert set(answers) == {b"web.1", b"web.3"}
        stats = web.figures(lambda stats: stats["accepted"] == 60)
        assert 3 <= stats["backends"]["web.2"]["failed"] < 18  # ejected: it would have been every third
        assert stats["refused"] == 0


def test_large_first_message_survives_the_move_to_the_next(dispatcher):
    body = bytes(range(256)) * 400
    with Backend("web.2") as alive, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: refused
        web = dispatcher()
        web.table(
            {"name": "web.1", "address": f"127.0.0.1:{reserved.getsockname()[1]}", "weight": 9, "state": "ready"}, alive
        )
        for _ in range(5):
            assert web.ask(body) == body


def test_a_backlog_that_was_never_accepted_moves_on(dispatcher):
    """The kernel took the connection for a replica that then died: nothing was sent, so the next one gets it."""
    with listener() as first, Backend("web.2", named("web.2")) as second:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        web = dispatcher()
        web.table({"name": "web.1", "address": address, "weight": 1, "state": "ready"})
        with web.connect() as client:
            web.figures(lambda stats: stats["backends"]["web.1"]["total"] == 1)
            web.table(second)
            first.close()
            eventually(lambda: second.served, "the move to the next")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(10) == b"web.2"


def filled(stack: contextlib.ExitStack) -> socket.socket:
    """A listening socket whose backlog is full: what comes is dropped, no refusal, only silence."""
    full = stack.enter_context(listener(backlog=0))
    for _ in range(2):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
    return full


def test_what_was_said_while_a_connect_takes_its_time_is_not_lost(dispatcher):
    with contextlib.ExitStack() as stack:
        slow = filled(stack)
        web = dispatcher(connect_timeout=30.0)
        address = f"127.0.0.1:{slow.getsockname()[1]}"
        web.table({"name": "web.1", "address": address, "weight": 1, "state": "ready"})
        clients = [stack.enter_context(web.connect()) for _ in range(3)]
        for client in clients:
            client.sendall(b"patience")
        slow.setblocking(False)
        conversations: list[socket.socket] = []
        heard: list[bytes] = []

        def everybody() -> bool:
            with contextlib.suppress(BlockingIOError):
                conversations.append(stack.enter_context(slow.accept()[0]))
                conversations[-1].setblocking(False)
            for one in conversations:  # the fillers say nothing
                with contextlib.suppress(BlockingIOError):
                    heard.append(one.recv(8))
            return len(heard) >= len(clients)

        eventually(everybody)
        assert heard == [b"patience"] * 3


def test_a_connect_that_gets_no_answer_moves_on_in_time(dispatcher):
    with contextlib.ExitStack() as stack:
        full = filled(stack)
        alive = stack.enter_context(Backend("web.2"))
        web = dispatcher(connect_timeout=0.2)
        row = {"name": "web.1", "address": f"127.0.0.1:{full.getsockname()[1]}", "weight": 5, "state": "ready"}
        web.table(row, alive)
        assert web.ask(b"patience") == b"patience"


def test_a_table_with_an_address_that_is_none_hurts_nobody(dispatcher):
    with Backend("web.2") as alive:
        web = dispatcher()
        rows = [{"name": f"bad.{number}", "address": address, "weight": 5, "state": "ready"}
                for number, address in enumerate(["unix:/nowhere", "unix:" + "x" * 200, "127.0.0.1:1"])]  # fmt: skip
        web.table(*rows, alive)
        assert [web.ask(b"x") for _ in range(5)] == [b"x"] * 5


def test_figures(dispatcher):
    with Backend("web.1") as backend:
        web = dispatcher()
        web.table(backend)
        assert web.ask(b"12345") == b"12345"
        stats = web.figures(lambda stats: stats["accepted"] == 1 and stats["open"] == 0)
        load = stats["backends"]["web.1"]
        assert (load["total"], load["open"], load["failed"]) == (1, 0, 0)
        assert (load["bytes_in"], load["bytes_out"]) == (5, 5)
        assert 0 < load["connect_s"] < 30
        assert 0 < load["first_byte_s"] < 30
