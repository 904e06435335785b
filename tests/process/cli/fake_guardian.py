"""Stands in for guardian and core: takes what ``hasup start`` hands over, and answers as the test wants it.

Run as ``hasup`` with ``fake_guardian.py COMMAND…``; becomes the stand-in where hasup would become the guardian.
"""

import json
import os
import signal
import socket
import sys
import time
from typing import Any

MODE = os.environ.get("FAKE_MODE", "ready")


def command() -> None:
    """``hasup``, with the last step replaced."""
    from hasup.cli import background, launch, run, starting

    def become(handed: launch.Launch, only: list[str]) -> None:
        launch.statedir.write_instance(handed.state_dir, handed.instance, os.getpid())
        environ = launch.environment(only) | {"FAKE_HANDED": json.dumps(handed._asdict())}
        os.execve(sys.executable, [sys.executable, __file__], environ)

    detach = background.detach

    def detach_and_hear(handed: launch.Launch, only: list[str]) -> int:
        """What it says at once has been said before the time for complaints begins to run."""
        pid = detach(handed, only)
        errors = background.errors_path(handed.state_dir)
        while MODE == "has no core" and not (os.path.exists(errors) and os.path.getsize(errors)):
            time.sleep(0.01)  # between two looks at a condition
        return pid

    background.detach = detach_and_hear  # type: ignore[assignment]
    background.COMPLAIN_S = float(os.environ.get("FAKE_COMPLAIN_S", "60"))  # type: ignore[misc]
    background.become_guardian = starting.become_guardian = become  # type: ignore[assignment]
    sys.exit(run(sys.argv[1:]))


def serve(handed: dict[str, Any]) -> None:
    """The stand-in itself."""
    from hasup.control.server import ControlServer
    from hasup.loop import Loop
    from tests.support.cli import program, replica, status

    if MODE == "dies":
        sys.exit("no luck today")
    if MODE == "has no core":
        print("hasup: guardian: the core ended with exit code 1", file=sys.stderr, flush=True)
        sys.exit(signal.pause())
    config = json.loads(os.pread(handed["config_fd"], 1 << 20, 0))
    failed = [{"name": "web.1", "reason": "exit code 3"}] if MODE == "fails" else []
    loop = Loop()

    def shutdown(_params: Any, peer: Any) -> dict[str, bool]:
        loop.call_later(0.05, loop.stop)
        return {"ok": True}

    methods = {
        "version": lambda _params, _peer: {"version": "0.1.0", "guardian_pid": os.getpid(), "core_pid": 1},
        "settled": lambda _params, _peer: {"ok": not failed, "failed": failed},
        "start": lambda _params, _peer: {"ok": True, "replicas": [{"name": "web.1"}], "failed": []},
        "status": lambda _params, _peer: status(program("web", replica("web.1", pid=1)), guardian_pid=1),
        "shutdown": shutdown,
        "handed": lambda _params, _peer: {
            "config": config, "only": os.environ.get("HASUP_ONLY"), "sid": os.getsid(0), "pid": os.getpid(),
            "output": [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)],
            "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
        },
    }  # fmt: skip
    listener = socket.socket(fileno=handed["control_fd"])
    server = ControlServer(loop, listener, methods, lambda *_who: True)
    loop.run()
    server.close()


if __name__ == "__main__":
    if "FAKE_HANDED" in os.environ:
        serve(json.loads(os.environ["FAKE_HANDED"]))
    else:
        command()
