"""What ``hasup stop`` does."""

import math
import os
import sys
import time
from collections.abc import Sequence

from hasup.cli import statedir
from hasup.cli.errors import NOT_RUNNING, Failure
from hasup.cli.link import ask_again
from hasup.cli.locate import state_dir
from hasup.cli.outcome import report
from hasup.cli.progress import Progress
from hasup.cli.terminal import terminal
from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning
from hasup.protocol.control import ControlError

_LOOK_S = 0.25


def stop_programs(config: str | None, names: Sequence[str]) -> int:
    """Stop these, and return when nothing of them is left."""
    answer = ask_again(config, "stop", {"names": list(names), "wait": True})
    return report("stopped", answer)


def stop_everything(config: str | None, now: bool) -> int:
    """Stop all and hasup itself, and return when nothing is left."""
    directory = state_dir(config, os.environ, os.getcwd())
    progress = Progress(terminal(sys.stderr), "stopping")
    try:
        pid = _shutdown(directory, now, progress)
    except NotRunning:
        _clear_after_death(directory)
        raise Failure(
            f"hasup is not running (no control socket in {directory}): nothing to stop", NOT_RUNNING
        ) from None
    finally:
        progress.clear()
    sys.stdout.write(f"stopped everything; hasup (pid {pid}) has ended\n")
    return 0


def _shutdown(directory: str, now: bool, progress: Progress) -> int:
    """Order it, see it through; the pid that the guardian had. A core that dies meanwhile is not asked twice in vain:
    a second order would kill at once.
    """
    with ControlClient(directory) as client:
        pid = int(client.call("version", timeout=30.0)["guardian_pid"])
        _order(client, directory, now, progress)
    while statedir.is_locked(directory):
        try:
            with ControlClient(directory) as client:
                if not client.call("status", timeout=5.0)["supervisor"]["stopping"]:
                    _order(client, directory, now, progress)
        except (ConnectionLost, NoAnswer, NotRunning, ControlError):
            pass
        statedir.wait_until_free(directory, time.monotonic() + 1.0)
    return pid


def _order(client: ControlClient, directory: str, now: bool, progress: Progress) -> None:
    call = client.send("shutdown", {"now": now})
    while True:
        try:
            client.answer(call, _LOOK_S)
            return
        except NoAnswer:
            progress.show(directory)
        except ConnectionLost:
            return


def _clear_after_death(directory: str) -> None:
    """hasup is dead: wait for what ends by itself, and end what it left."""
    if not os.path.isdir(directory):
        return
    statedir.wait_until_free(directory, math.inf)
    held = statedir.lock(directory)
    if held is not None:
        from hasup.cli.launch import clear_leftovers

        clear_leftovers(directory)
        os.close(held)
