"""The terminal of ``hasup top``: keys in, screens out, once a second."""

import os
import select
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from hasup.cli.errors import Failure
from hasup.cli.launch import environment, interpreter
from hasup.cli.link import ask
from hasup.cli.statusview import chosen
from hasup.cli.terminal import terminal
from hasup.cli.topview import View, Wish, keys
from hasup.control.client import ConnectionLost, NoAnswer
from hasup.protocol.control import ControlError

_PACE_S: Final = 1.0
_ANSWER_S: Final = 5.0


def top(config: str | None, names: Sequence[str]) -> int:
    """Show and act until it is told to quit."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("top needs a terminal; see: hasup status, or hasup status --watch")
    view, document = View(), _document(config, names)
    with _whole_screen():
        while True:
            view.take(document)
            _draw(view, document)
            for key in _typed():
                wish = view.press(key)
                if wish is not None and wish.what == "quit":
                    return 0
                if wish is not None:
                    view.message = _fulfil(config, wish)
            try:
                document = _document(config, names)
            except (ConnectionLost, NoAnswer):
                view.message = "hasup does not answer just now"


def _document(config: str | None, names: Sequence[str]) -> dict[str, Any]:
    return chosen(ask(config, "status", timeout=_ANSWER_S), names)


def _typed() -> Sequence[str]:
    """What was typed; nothing when a second has passed."""
    if not select.select([sys.stdin], [], [], _PACE_S)[0]:
        return ()
    data = os.read(sys.stdin.fileno(), 64)
    return keys(data.decode("utf-8", "replace")) if data else ("q",)  # the terminal is gone


def _draw(view: View, document: dict[str, Any]) -> None:
    height = os.get_terminal_size(sys.stdout.fileno()).lines or 24
    lines = view.lines(document, terminal(), time.time(), height)
    sys.stdout.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def _fulfil(config: str | None, wish: Wish) -> str:
    """Do it; what to say at the bottom."""
    if wish.what in ("why", "logs"):
        _elsewhere(config, wish)
        return ""
    try:
        ask(config, wish.what, {"names": [wish.name], "wait": False}, _ANSWER_S)
    except (ControlError, ConnectionLost, NoAnswer) as error:
        return f"{wish.what} {wish.name}: {error}"
    return f"{wish.what} {wish.name}: asked for"


def _elsewhere(config: str | None, wish: Wish) -> None:
    """Another command on the plain screen, until its end or Ctrl-C."""
    argv = [*interpreter(), "-m", "hasup", wish.what, *(("-f", "-n", "100") if wish.what == "logs" else ()), wish.name]
    argv += ["-c", config] if config else []
    sys.stdout.write("\x1b[?1049l\x1b[?25h")
    sys.stdout.flush()
    with subprocess.Popen(argv, env=environment(())) as process:
        try:
            process.wait()
        except KeyboardInterrupt:  # it has had it too
            process.wait()
    if wish.what == "why":
        sys.stdout.write("\n[any key: back]")
        sys.stdout.flush()
        select.select([sys.stdin], [], [])
        os.read(sys.stdin.fileno(), 64)
    sys.stdout.write("\x1b[?1049h\x1b[?25l")


@contextmanager
def _whole_screen() -> Iterator[None]:
    """Keys as they are typed, without echo, on a screen of its own; everything as before in the end."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    sys.stdout.write("\x1b[?1049h\x1b[?25l")
    try:
        yield
    finally:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
