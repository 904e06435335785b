"""On which line of a TOML text each key stands.

tomli parses; this scanner only finds places, and so it may take valid TOML for granted. On other text it stops early,
without harm: tomli then says what is wrong. It runs first because it bounds the nesting, which keeps what comes after
from running deep or long.
"""

import bisect
import re
from typing import Final

KeyPath = tuple[str | int, ...]

DEEPEST: Final = 32

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'",
    re.DOTALL,
)
_OTHER_VALUE = re.compile(r"[^,\]}#\n]++")


class TooDeep(Exception):
    """Keys are nested beyond :data:`DEEPEST`; ``line`` says where."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Stop(Exception):
    """The text is not TOML."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (from 1) of each key path; items of arrays are numbered from 0. Raises :class:`TooDeep`."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except _Stop:
        pass
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._last: dict[KeyPath, int] = {}  # of each array of tables, the number of its last item

    def document(self) -> None:
        table: KeyPath = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)

    def _header(self) -> KeyPath:
        start = self._at
        many = self._text.startswith("[[", start)
        self._at += 2 if many else 1
        path: KeyPath = ()
        keys = self._key()
        for left, part in zip(range(len(keys) - 1, -1, -1), keys, strict=True):
            path = self._note((*path, part), start)
            if left and path in self._last:
                path = (*path, self._last[path])
        if many:
            self._last[path] = self._last.get(path, -1) + 1
            path = self._note((*path, self._last[path]), start)
        self._take("]]" if many else "]")
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self._at
        path = table
        for part in self._key():
            path = self._note((*path, part), start)
        self._take("=")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        if self._text.startswith("[", self._at):
            self._array(path)
        elif self._text.startswith("{", self._at):
            self._inline_table(path)
        elif not self._skip(_STRING) and not self._skip(_OTHER_VALUE):
            raise _Stop

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while not self._closed("]"):
            self._value(self._note((*path, number), self._at))
            number += 1
            self._comma("]")
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._closed("}"):
            self._pair(path)
            self._comma("}")
        self._at += 1

    def _closed(self, end: str) -> bool:
        self._skip(_GAP)
        return self._text.startswith(end, self._at)

    def _comma(self, end: str) -> None:
        if not self._closed(end):
            self._take(",")

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            start = self._at
            if self._skip(_BARE_KEY):
                parts.append(self._text[start : self._at])
            elif self._skip(_STRING):
                parts.append(_unquoted(self._text[start : self._at]))
            else:
                raise _Stop
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _note(self, path: KeyPath, at: int) -> KeyPath:
        line = self._line(at)
        if len(path) > DEEPEST:
            raise TooDeep(line)
        self.lines.setdefault(path, line)
        return path

    def _line(self, at: int) -> int:
        return bisect.bisect_left(self._ends, at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match is None:
            return False
        self._at = match.end()
        return True

    def _take(self, expected: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(expected, self._at):
            raise _Stop
        self._at += len(expected)


def _unquoted(text: str) -> str:
    if text.startswith("'") or "\\" not in text:
        return text[1:-1]
    import tomli

    try:
        return str(tomli.loads(f"key = {text}")["key"])
    except ValueError:
        raise _Stop from None
