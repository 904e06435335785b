"""The server against peers that are slow, giant, malformed, half-open, many, or not allowed."""

import errno
import json
import os
import socket
from typing import Any

import pytest

from hasup.control import peer as peer_module
from hasup.control import server as server_module
from hasup.control.server import LATER
from hasup.model.status import EventRecord
from hasup.protocol import control
from hasup.protocol.control import ControlError

from .conftest import Bench


def request(method: str, params: Any = None, identifier: Any = 1) -> bytes:
    return control.encode(control.request(identifier, method, params or {}))


def answers(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def error(code: int, message: str, identifier: Any = None, exit_code: int = 1) -> dict[str, Any]:
    detail = {"code": code, "message": message, "data": {"exit": exit_code}}
    return {"jsonrpc": "2.0", "id": identifier, "error": detail}


def test_a_call_is_answered(bench: Bench) -> None:
    client = bench.connect()
    client.send(request("echo", {"a": [1]}))
    assert answers(bench.read(client)) == [{"jsonrpc": "2.0", "id": 1, "result": {"a": [1]}}]


def test_many_calls_in_one_packet_are_answered_in_order(bench: Bench) -> None:
    client = bench.connect()
    client.send(b"".join(request("echo", {"n": n}, n) for n in range(100)))
    assert [answer["id"] for answer in answers(bench.read(client, 100))] == list(range(100))


def test_one_client_with_many_calls_does_not_delay_another(bench: Bench) -> None:
    served: list[str] = []
    bench.methods["mark"] = lambda params, _peer: served.append(params["by"])
    greedy, modest = bench.connect(), bench.connect()
    greedy.send(b"".join(request("mark", {"by": "greedy"}, n) for n in range(200)))
    modest.send(request("mark", {"by": "modest"}))
    bench.pump(lambda: len(served) == 201, "all calls")
    assert served.index("modest") <= 2 * peer_module.FRAMES_A_TURN


def test_an_answer_may_come_later(bench: Bench) -> None:
    waiting: list[tuple[Any, Any]] = []

    def wait(_params: Any, peer: Any) -> Any:
        waiting.append((peer, peer.request))
        return LATER

    bench.methods["wait"] = wait
    client = bench.connect()
    client.send(request("wait", identifier="a") + request("wait", identifier="b"))
    bench.pump(lambda: len(waiting) == 2, "both calls")
    waiting[1][0].reply(waiting[1][1], "second")
    waiting[0][0].fail(waiting[0][1], "no", exit_code=4)
    first, second = answers(bench.read(client, 2))
    assert (first["id"], first["result"]) == ("b", "second")
    assert second == error(control.FAILED, "no", "a", 4)


def test_answers_to_a_client_that_is_gone_do_nothing(bench: Bench) -> None:
    waiting: list[Any] = []
    bench.methods["wait"] = lambda _params, peer: waiting.append(peer) or LATER
    client = bench.connect()
    client.send(request("wait"))
    bench.pump(lambda: bool(waiting), "the call")
    client.close()
    bench.pump(lambda: len(bench.server) == 0, "the end of the connection")
    waiting[0].reply(1, "too late")
    waiting[0].notify("event", {})
    assert waiting[0].closed


def test_a_call_of_a_client_that_closed_at_once_is_still_done(bench: Bench) -> None:
    done: list[int] = []
    bench.methods["do"] = lambda _params, _peer: done.append(1)
    client = bench.connect()
    client.send(b"".join(request("do", {}, n) for n in range(50)))
    client.close()
    bench.pump(lambda: len(bench.server) == 0 and bool(done), "the end of the connection")
    assert len(done) == 50


def test_a_client_that_shut_down_its_writing_side_gets_its_answer(bench: Bench) -> None:
    client = bench.connect()
    client.send(request("echo"))
    client.shutdown(socket.SHUT_WR)
    assert answers(bench.read(client, 2)) == [{"jsonrpc": "2.0", "id": 1, "result": {}}]
    bench.pump(lambda: len(bench.server) == 0, "the end of the connection")


def test_a_notification_is_done_but_not_answered(bench: Bench) -> None:
    done: list[int] = []
    bench.methods["do"] = lambda _params, _peer: done.append(1)
    client = bench.connect()
    client.send(b'{"jsonrpc": "2.0", "method": "do"}\n{"jsonrpc": "2.0", "method": "none"}\n' + request("echo"))
    assert [answer["id"] for answer in answers(bench.read(client))] == [1]
    assert done == [1]


def test_what_is_no_request_gets_an_error_and_the_client_may_go_on(bench: Bench) -> None:
    client = bench.connect()
    client.send(b"what?\n\n  \n" + request("none", identifier=2) + request("echo", identifier=3))
    first, second, third = answers(bench.read(client, 3))
    assert (first["id"], first["error"]["code"]) == (None, control.PARSE_ERROR)
    text = "hasup has no method 'none' (is the command of another version?)"
    assert second == error(control.METHOD_NOT_FOUND, text, 2, 2)
    assert third["id"] == 3


def test_a_handler_says_no(bench: Bench) -> None:
    def refuse(_params: Any, _peer: Any) -> None:
        raise ControlError("there is no program 'wbe'", exit_code=4)

    bench.methods["start"] = refuse
    client = bench.connect()
    client.send(request("start"))
    assert answers(bench.read(client)) == [error(control.FAILED, "there is no program 'wbe'", 1, 4)]
    assert bench.troubles == []


def test_a_handler_that_breaks_is_reported_and_ends_nothing(bench: Bench) -> None:
    bench.methods["break"] = lambda _params, _peer: [][0]
    client = bench.connect()
    client.send(request("break") + request("echo", identifier=2))
    broken, echoed = answers(bench.read(client, 2))
    assert broken == error(control.INTERNAL_ERROR, "internal error: IndexError('list index out of range')", 1)
    assert echoed["id"] == 2
    assert bench.troubles[0].startswith("control method break: IndexError('list index out of range') (test_server.py:")


def test_a_result_that_cannot_be_written_is_an_error(bench: Bench) -> None:
    bench.methods["odd"] = lambda _params, _peer: object()
    client = bench.connect()
    client.send(request("odd"))
    assert answers(bench.read(client))[0]["error"]["code"] == control.INTERNAL_ERROR
    assert len(bench.troubles) == 1


def test_names_that_are_no_unicode_travel(bench: Bench) -> None:
    bench.methods["name"] = lambda _params, _peer: {"path": os.fsdecode(b"\xff")}
    client = bench.connect()
    client.send(request("name"))
    assert answers(bench.read(client))[0]["result"] == {"path": "\udcff"}


def test_an_unauthorised_peer_gets_one_error_and_is_closed(bench: Bench) -> None:
    bench.allowed = False
    client = bench.connect()
    client.send(request("echo"))
    data = bench.read(client, 99)
    assert answers(data) == [error(control.NOT_ALLOWED, f"user {os.getuid()} may not control this hasup")]
    assert len(bench.server) == 0


def test_who_is_asked_about_are_the_kernels_credentials(bench: Bench) -> None:
    seen: list[tuple[int, ...]] = []
    bench.server._allowed = lambda *who: bool(seen.append(who)) or True
    bench.methods["who"] = lambda _params, peer: [peer.uid, peer.gid, peer.pid]
    client = bench.connect()
    client.send(request("who"))
    who = [os.getuid(), os.getgid(), os.getpid()]
    assert answers(bench.read(client))[0]["result"] == who
    assert seen == [tuple(who)]


def test_a_giant_frame_is_refused_before_it_ends(bench: Bench) -> None:
    client = bench.connect()
    closed = False

    def send() -> bool:
        nonlocal closed
        try:
            client.send(b"x" * 65536)
        except BlockingIOError:
            pass
        except OSError:
            closed = True
        return closed

    bench.pump(send, "the refusal")
    assert answers(bench.read(client, 99)) == [
        error(control.TOO_LARGE, "a request is at most 1048576 bytes long", None, 2)
    ]


def test_a_frame_of_almost_the_limit_passes(bench: Bench) -> None:
    client = bench.connect()
    rest = request("echo", {"x": "y" * (control.MAX_FRAME - 200)})

    def send() -> bool:
        nonlocal rest
        try:
            rest = rest[client.send(rest) :]
        except BlockingIOError:
            pass
        return not rest

    bench.pump(send, "all of it sent")
    assert len(answers(bench.read(client))[0]["result"]["x"]) == control.MAX_FRAME - 200


def test_a_follower_that_does_not_read_is_dropped_and_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "OUTPUT_LIMIT", 100_000)
    bench.methods["follow"] = lambda _params, peer: peer.follow() or {}
    slow, quick = bench.connect(), bench.connect()
    for client in (slow, quick):
        client.send(request("follow"))
        bench.read(client)
    assert bench.server.followers == 2
    sent = 0
    while bench.server.followers == 2:
        for _ in range(20):
            bench.server.broadcast("event", {"n": sent, "text": "x" * 1000})
            sent += 1
        assert len(answers(bench.read(quick, 20))) == 20
        assert sent < 10_000
        if any(peer._refused for peer in bench.server._peers):
            break
    last = answers(bench.read(slow, 10_000))[-1]
    assert last == error(control.TOO_SLOW, "you read too slowly: dropped")
    bench.pump(lambda: len(bench.server) == 1, "the slow one's end")
    bench.server.broadcast("event", {"n": sent})
    assert answers(bench.read(quick))[0]["params"] == {"n": sent}


def test_a_client_that_does_not_read_its_answers_is_not_read_either(bench: Bench) -> None:
    calls: list[int] = []
    big = "x" * 100_000
    bench.methods["big"] = lambda _params, _peer: calls.append(1) or big
    client = bench.connect()
    client.send(b"".join(request("big", {}, n) for n in range(300)))
    for _ in range(100):
        bench.loop.turn(0.0)
    assert len(calls) < 60  # 4 MiB and a turn's worth, not 30 MB
    assert len(answers(bench.read(client, 300))) == 300


def test_too_many_open_calls_of_one_client_are_refused(bench: Bench) -> None:
    bench.methods["wait"] = lambda _params, _peer: LATER
    client = bench.connect()
    client.send(b"".join(request("wait", {}, n) for n in range(peer_module.OPEN_REQUESTS + 1)))
    assert answers(bench.read(client)) == [error(control.BUSY, "too many open requests", peer_module.OPEN_REQUESTS)]


def test_an_id_that_is_in_use_is_refused(bench: Bench) -> None:
    bench.methods["wait"] = lambda _params, _peer: LATER
    client = bench.connect()
    client.send(request("wait") + request("wait"))
    assert answers(bench.read(client)) == [error(control.BUSY, "this id waits for its answer", 1)]


def test_a_thousand_connections_are_bounded_while_a_client_is_served(bench: Bench) -> None:
    friend = bench.connect()
    friend.send(request("echo"))
    bench.read(friend)
    for _ in range(server_module.MAX_CLIENTS - 1):
        bench.connect()
        bench.loop.turn(0.0)
    assert len(bench.server) == server_module.MAX_CLIENTS
    for n in range(10):
        crowd = [bench.connect() for _ in range(100)]
        friend.send(request("echo", {"n": n}))
        assert answers(bench.read(friend))[0]["result"] == {"n": n}
        for client in crowd:
            text = "all 64 seats at the control socket are taken; try again"
            assert answers(bench.read(client, 99)) == [error(control.BUSY, text)]
            bench.forget(client)
    assert len(bench.server) == server_module.MAX_CLIENTS


def test_an_idle_client_gives_its_seat_to_a_new_one(bench: Bench) -> None:
    oldest = bench.connect()
    bench.pump(lambda: len(bench.server) == 1, "the first")
    bench.clock.ahead += 1
    for _ in range(server_module.MAX_CLIENTS - 1):
        bench.connect()
    bench.pump(lambda: len(bench.server) == server_module.MAX_CLIENTS, "a full house")
    bench.clock.ahead += server_module.EVICT_AFTER_S
    late = bench.connect()
    late.send(request("echo"))
    assert answers(bench.read(late))[0]["result"] == {}
    assert len(bench.server) == server_module.MAX_CLIENTS
    assert answers(bench.read(oldest, 99)) == [error(control.IDLE, "idle for too long")]


def test_idle_clients_are_dropped_but_not_those_who_wait_or_follow(bench: Bench) -> None:
    bench.methods["follow"] = lambda _params, peer: peer.follow() or {}
    bench.methods["wait"] = lambda _params, _peer: LATER
    idle, follower, waiter, half = (bench.connect() for _ in range(4))
    follower.send(request("follow"))
    waiter.send(request("wait"))
    half.send(b'{"jsonrpc"')
    bench.read(follower)
    bench.pump(lambda: len(bench.server) == 4, "four clients")
    bench.clock.ahead += server_module.IDLE_S + 10
    for client in (idle, half):
        assert answers(bench.read(client, 99)) == [error(control.IDLE, "idle for too long")]
    assert len(bench.server) == 2
    bench.server.broadcast("event", EventRecord(1, "2026-01-01T00:00:00Z", "state", "a", "b", "why"))
    assert answers(bench.read(follower))[0]["params"]["from"] == "a"


def test_without_descriptors_it_waits_and_recovers(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def accept(self) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        def fileno(self) -> int:
            return bench.listener.fileno()

    friend = bench.connect()
    friend.send(request("echo"))
    bench.read(friend)
    monkeypatch.setattr(bench.server, "_listener", Full())
    newcomer = bench.connect()
    newcomer.send(request("echo"))
    bench.pump(lambda: bool(bench.troubles), "the report")
    turns = bench.loop.turns
    friend.send(request("echo"))
    bench.read(friend)
    assert bench.loop.turns - turns < 10  # it does not spin on the listener
    assert bench.troubles == ["control socket: no client can be taken in: too many open files"]
    monkeypatch.undo()
    assert answers(bench.read(newcomer))[0]["result"] == {}


def test_closing_sends_what_is_left_and_leaves_the_listener_open(bench: Bench) -> None:
    bench.methods["big"] = lambda _params, _peer: "x" * 1_000_000
    client = bench.connect()
    client.send(request("big"))
    bench.pump(lambda: any(peer._output for peer in bench.server._peers), "output that waits")
    import threading

    received = bytearray()

    def read() -> None:
        client.setblocking(True)
        while chunk := client.recv(65536):
            received.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    bench.server.close(30.0)
    reader.join(30)
    assert len(json.loads(bytes(received))["result"]) == 1_000_000
    bench.connect()  # the listener is the caller's
