"""One line on a terminal that says what is waited for."""

import sys
from typing import Any

from hasup.cli.outcome import listed
from hasup.cli.terminal import Terminal, elide
from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning
from hasup.protocol.control import ControlError


class Progress:
    """Shows how far hasup is with starting or stopping; on a terminal only."""

    def __init__(self, screen: Terminal, verb: str) -> None:
        self._screen = screen
        self._verb = verb
        self._shown = False

    def show(self, state_dir: str) -> None:
        """Ask hasup how far it is, and show that."""
        if not self._screen.interactive:
            return
        try:
            with ControlClient(state_dir) as client:
                document = client.call("status", timeout=1.0)
        except (ConnectionLost, NoAnswer, NotRunning, ControlError):
            return
        text = self._screen.plain(f"◐ {self._verb}: {_standing(document, self._verb)}")
        width = (self._screen.width or 80) - 1
        sys.stderr.write(f"\r\x1b[K{self._screen.paint(elide(text, width), 'blue')}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _standing(document: dict[str, Any], verb: str) -> str:
    replicas = [replica for program in document["programs"] for replica in program["replicas"]]
    if verb == "stopping":
        left = [replica["name"] for replica in replicas if replica["pid"] is not None]
        return f"{len(left)} left ({listed(left)})" if left else "nearly done"
    wanted = [replica for replica in replicas if replica["wanted"]]
    open_ = [replica["name"] for replica in wanted if not replica["settled"]]
    return f"{len(wanted) - len(open_)} of {len(wanted)}, waiting for {listed(open_, 4)}"
