import os
from pathlib import Path
from typing import Any

import pytest

from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning
from hasup.control.server import LATER
from hasup.protocol import control
from hasup.protocol.control import ControlError
from tests.support.control import listen, serving


def test_a_call(tmp_path: Path) -> None:
    with serving(str(tmp_path), {"echo": lambda params, _peer: params}), ControlClient(str(tmp_path)) as client:
        assert client.call("echo", {"n": 1}) == {"n": 1}
        assert client.call("echo", timeout=30) == {}


def test_a_state_directory_with_a_path_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    with serving(str(deep), {"echo": lambda params, _peer: params}), ControlClient(str(deep)) as client:
        assert client.call("echo") == {}


def test_a_big_answer(tmp_path: Path) -> None:
    with (
        serving(str(tmp_path), {"big": lambda _params, _peer: "x" * 10_000_000}),
        ControlClient(str(tmp_path)) as client,
    ):
        assert len(client.call("big")) == 10_000_000


def test_without_a_socket_hasup_is_not_running(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotRunning) as caught:
            ControlClient(str(path))
        assert str(caught.value) == (f"hasup is not running (no control socket in {path}); start it with: hasup start")


def test_with_a_socket_left_over_hasup_is_not_running(tmp_path: Path) -> None:
    listen(str(tmp_path)).close()
    assert (tmp_path / "control.sock").exists()
    with pytest.raises(NotRunning):
        ControlClient(str(tmp_path))


def test_no_is_an_error_with_its_exit_code(tmp_path: Path) -> None:
    def refuse(_params: Any, _peer: Any) -> None:
        raise ControlError("there is no program 'wbe'", exit_code=4)

    with serving(str(tmp_path), {"start": refuse}), ControlClient(str(tmp_path)) as client:
        with pytest.raises(ControlError, match="no program 'wbe'") as caught:
            client.call("start")
        assert caught.value.exit_code == 4


def test_a_peer_that_is_not_allowed_learns_why(tmp_path: Path) -> None:
    with serving(str(tmp_path), {}, lambda *_who: False), ControlClient(str(tmp_path)) as client:
        with pytest.raises(ControlError, match="may not control") as caught:
            client.call("status")
        assert caught.value.code == control.NOT_ALLOWED
        with pytest.raises(ConnectionLost):
            client.call("status")


def test_an_answer_that_does_not_come_can_be_waited_for_again(tmp_path: Path) -> None:
    waiting: list[Any] = []
    methods = {"wait": lambda _params, peer: waiting.append(peer) or LATER}
    with serving(str(tmp_path), methods) as running, ControlClient(str(tmp_path)) as client:
        call = client.send("wait")
        while not waiting:
            with pytest.raises(NoAnswer):
                client.answer(call, 0.02)
        running.call(lambda: waiting[0].reply(call, "done"))
        assert client.answer(call, 30) == "done"


def test_a_connection_that_is_cut_is_told_from_an_answer(tmp_path: Path) -> None:
    def cut(_params: Any, peer: Any) -> Any:
        peer.close()
        return LATER

    with serving(str(tmp_path), {"cut": cut}), ControlClient(str(tmp_path)) as client, pytest.raises(ConnectionLost):
        client.call("cut")


def test_following(tmp_path: Path) -> None:
    def follow(_params: Any, peer: Any) -> dict[str, int]:
        peer.follow()
        return {"seq": 7}

    with serving(str(tmp_path), {"follow": follow}) as running, ControlClient(str(tmp_path)) as client:
        newest, stream = client.follow()
        assert newest == 7
        for number in (8, 9):
            running.call(lambda number=number: running.server.broadcast("event", {"seq": number}))
            assert next(stream) == {"seq": number}
        running.call(lambda: next(iter(running.server._peers)).refuse(ControlError("too slow")))
        with pytest.raises(ControlError, match="too slow"):
            next(stream)


def test_what_is_not_hasup_is_noticed(tmp_path: Path) -> None:
    import threading

    with listen(str(tmp_path)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.send(b"220 mail.example.org ESMTP\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with ControlClient(str(tmp_path)) as client, pytest.raises(ControlError, match="is not hasup"):
            client.call("status")
        thread.join(30)


def test_a_socket_of_somebody_else_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(ControlError) as caught:
            ControlClient("/somewhere")
    assert caught.value.message == "you may not control the hasup in /somewhere; try as its user, or as root"
