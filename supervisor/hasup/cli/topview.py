"""What ``hasup top`` shows and what its keys mean: pure, a document in, lines or a wish out."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from hasup.cli.statusview import labelled
from hasup.cli.terminal import Terminal, elide

KEYS: Final = "↑↓ choose · Enter why · l logs · r restart · s stop/start · q quit"
_UP: Final = ("\x1b[A", "\x1bOA", "k")
_DOWN: Final = ("\x1b[B", "\x1bOB", "j")
_REVERSE: Final = "\x1b[7m"
_RESET: Final = "\x1b[0m"


class Wish(NamedTuple):
    """What a key asks for: ``quit``, ``why``, ``logs``, or a method of the control socket; and of whom."""

    what: str
    name: str


class View:
    """Which replica is chosen, and the message at the bottom."""

    def __init__(self) -> None:
        self.chosen: str | None = None
        self.message = ""
        self._replicas: dict[str, dict[str, Any]] = {}

    def take(self, document: dict[str, Any]) -> None:
        """A new document: the choice stays on its replica as long as there is one."""
        self._replicas = {r["name"]: r for program in document["programs"] for r in program["replicas"]}
        if self.chosen not in self._replicas:
            self.chosen = next(iter(self._replicas), None)

    def press(self, key: str) -> Wish | None:
        """What a key asks for, if it does more than to move the choice."""
        self.message = ""
        if key in ("q", "\x1b", "\x04"):
            return Wish("quit", "")
        if key in _UP or key in _DOWN:
            self._move(-1 if key in _UP else 1)
        elif self.chosen is not None:
            return self._wish(key, self.chosen)
        return None

    def _wish(self, key: str, name: str) -> Wish | None:
        match key:
            case "\r" | "\n":
                return Wish("why", name)
            case "l":
                return Wish("logs", name)
            case "r":
                return Wish("restart", name)
            case "s":
                return Wish("stop" if self._replicas[name]["wanted"] else "start", name)
        return None

    def _move(self, step: int) -> None:
        names = list(self._replicas)
        if self.chosen in names:
            self.chosen = names[max(0, min(len(names) - 1, names.index(self.chosen) + step))]

    def lines(self, document: dict[str, Any], screen: Terminal, now: float, height: int) -> list[str]:
        """The whole screen, ``height`` lines: what does not fit is scrolled so that the choice is seen."""
        page = list(labelled(document, screen, now))
        room = max(1, height - 2)
        at = next((n for n, (name, _) in enumerate(page) if name == self.chosen), 0)
        first = max(0, min(at - room // 2, len(page) - room))
        shown = [self._marked(name, line) for name, line in page[first : first + room]]
        foot = self.message or KEYS
        blank = [""] * (room - len(shown) + 1)
        return [*shown, *blank, screen.paint(elide(screen.plain(foot), screen.width or 80), "dim")][:height]

    def _marked(self, name: str | None, line: str) -> str:
        if name is None or name != self.chosen:
            return line
        return _REVERSE + line.replace(_RESET, _RESET + _REVERSE) + _RESET


def keys(data: str) -> Sequence[str]:
    """What was typed, key by key: an escape sequence is one."""
    found: list[str] = []
    at = 0
    while at < len(data):
        length = 3 if data[at] == "\x1b" and data[at + 1 : at + 2] in ("[", "O") else 1
        found.append(data[at : at + length])
        at += length
    return found
