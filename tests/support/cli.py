"""A command line, and a hasup that answers as a test wants it."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hasup.cli import run
from tests.support.control import Running, serving


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def replica(name: str, state: str = "running", ready: bool = True, **more: Any) -> dict[str, Any]:
    """One of ``hasup status --json``: running for 26 hours, or as the test wants it."""
    alive = state in ("running", "starting", "stopping", "aborting")
    document = {
        "name": name, "state": state, "ready": ready, "wanted": True, "pid": 1234 if alive else None, "port": None,
        "uptime_s": 93_600.0 if alive else None, "restarts": 0, "last": None, "next_start_s": None,
        "cpu_percent": 0.1 if alive else None, "memory_bytes": 12_900_000 if alive else None, "reason": "it is ready",
        "status_text": "", "degraded": False, "settled": True, "stuck": [],
    }  # fmt: skip
    assert not set(more) - {*document, "restarted_for", "seconds_in_state"}
    return document | more


def last(result: str, at: str, exit_code: int | None = None, signal: str | None = None) -> dict[str, Any]:
    return {"result": result, "exit_code": exit_code, "signal": signal, "at": at, "detail": ""}


def program(name: str, *replicas: dict[str, Any], **more: Any) -> dict[str, Any]:
    document = {
        "name": name, "kind": "service", "listen": None, "ready": sum(one["ready"] for one in replicas), "need": 1,
        "replicas": list(replicas), "dispatcher": None, "groups": [],
    }  # fmt: skip
    return document | more


def status(*programs: dict[str, Any], **own: Any) -> dict[str, Any]:
    supervisor = {
        "name": "shop", "version": "0.1.0", "guardian_pid": 811, "core_pid": 812, "uptime_s": 93_612.3,
        "core_restarts": 0, "config": "/srv/shop/hasup.toml", "state_dir": "/srv/shop/.hasup", "stopping": False,
        "degraded": [],
    }  # fmt: skip
    return {"supervisor": supervisor | own, "programs": list(programs)}


class Place:
    """A folder with a hasup.toml, a command line, and maybe a hasup that answers."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], stack: ExitStack) -> None:
        self.folder = folder
        self.state_dir = folder / ".hasup"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._capsys = capsys
        self._stack = stack
        (folder / "hasup.toml").write_text('[programs.web]\ncommand = "sleep 60"\n')

    def hasup(self, *argv: str) -> Ended:
        self._capsys.readouterr()
        code = run(argv)
        return Ended(code, *self._capsys.readouterr())

    def answers(self, **methods: Any) -> Running:
        """From now on hasup runs here: it answers each method with a value, or as a function of params and peer."""

        def noted(name: str, answer: Any) -> Callable[[dict[str, Any], Any], Any]:
            def method(params: dict[str, Any], peer: Any) -> Any:
                self.calls.append((name, params))
                return answer(params, peer) if callable(answer) else answer

            return method

        served = {name: noted(name, answer) for name, answer in methods.items()}
        self._serving = ExitStack()
        self._stack.callback(self._serving.close)
        return self._serving.enter_context(serving(str(self.state_dir), served))

    def stop_answering(self) -> None:
        """From now on the socket is left over."""
        self._serving.close()
