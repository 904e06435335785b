"""Whatever a peer sends, and however it cuts it up: the server lives, and serves the others."""

import contextlib
import json
import socket
import tempfile
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hasup.control.server import LATER, ControlServer
from hasup.loop import Loop
from hasup.protocol import control
from hasup.protocol.control import ControlError
from tests.support.control import listen


def refuse(_params: Any, _peer: Any) -> None:
    raise ControlError("no", exit_code=4)


METHODS: dict[str, Any] = {
    "echo": lambda params, _peer: params,
    "refuse": refuse,
    "break": lambda params, _peer: params["absent"],
    "wait": lambda _params, _peer: LATER,
    "follow": lambda _params, peer: peer.follow() or {},
    "close": lambda _params, peer: peer.close(),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | json_values,
        "id": st.integers(0, 3) | json_values,
        "method": st.sampled_from(sorted(METHODS)) | json_values,
        "params": st.dictionaries(st.text(max_size=5), json_values, max_size=3) | json_values,
    },
)
lines = requests.map(lambda request: json.dumps(request).encode()) | st.binary(max_size=60)
actions = st.lists(
    st.tuples(st.just("send"), st.lists(lines, max_size=6).map(b"\n".join))
    | st.tuples(st.just("send"), st.binary(max_size=100))
    | st.tuples(st.sampled_from(["newline", "turn", "half-close", "close", "connect", "broadcast", "time"]), st.none()),
    max_size=30,
)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class World:
    """A server, one hostile client at a time, and a friend who must always be served."""

    def __init__(self, state_dir: str) -> None:
        self.clock = Clock()
        self.loop = Loop(self.clock)
        self.listener = listen(state_dir)
        self.server = ControlServer(self.loop, self.listener, METHODS, lambda *_who: True)
        self.hostile = self._connect()

    def _connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(self.listener.getsockname())
        client.setblocking(False)
        return client

    def act(self, action: str, data: bytes | None) -> None:
        with contextlib.suppress(OSError):  # it may be closed by now
            match action:
                case "send":
                    self.hostile.send(data or b"")
                case "newline":
                    self.hostile.send(b"\n")
                case "half-close":
                    self.hostile.shutdown(socket.SHUT_WR)
                case "close":
                    self.hostile.close()
                case "connect":
                    self.hostile.close()
                    self.hostile = self._connect()
        if action == "broadcast":
            self.server.broadcast("event", {"text": "x" * 1000})
        self.clock.time += 20.0 if action == "time" else 0.001
        self.turn()

    def turn(self) -> None:
        for _ in range(3):
            self.clock.time += 0.001
            self.loop.turn(0.0)

    def check_service(self) -> None:
        with self._connect() as friend:
            friend.send(control.encode(control.request(1, "echo", {"still": "there"})))
            self.turn()
            assert json.loads(friend.recv(1000))["result"] == {"still": "there"}

    def check_end(self) -> None:
        self.hostile.close()
        self.turn()
        self.turn()
        self.clock.time += 10.0  # those who are refused get a while to read why
        self.turn()
        assert len(self.server) == 0

    def close(self) -> None:
        self.server.close(0.0)
        self.hostile.close()
        self.listener.close()
        self.loop.close()


@given(actions)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_peer_hurts_the_server(todo: list[tuple[str, bytes | None]]) -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        world = World(state_dir)
        try:
            for action, data in todo:
                world.act(action, data)
            world.check_service()
            world.check_end()
        finally:
            world.close()


@given(st.lists(st.text(st.characters(), max_size=20) | st.integers(), unique_by=str, max_size=20))
@settings(max_examples=100, deadline=None)
def test_each_call_gets_exactly_one_answer_with_its_id(identifiers: list[str | int]) -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        world = World(state_dir)
        try:
            for identifier in identifiers:
                world.hostile.send(control.encode(control.request(identifier, "echo", {})))
            for _ in range(len(identifiers)):
                world.turn()
            received = world.hostile.recv(1 << 20) if identifiers else b""
            assert [json.loads(line)["id"] for line in received.splitlines()] == identifiers
        finally:
            world.close()
