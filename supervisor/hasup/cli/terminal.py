"""What the terminal can show: colour, shapes, width; and numbers as people read them."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple, TextIO

_CODES: Final = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}
_ASCII: Final = str.maketrans({
    "●": "*", "○": "o", "◐": "~", "▲": "!", "✖": "x", "✔": "+", "…": "~", "·": "-", "└": "`", "─": "-", "→": ">",
})  # fmt: skip


class Terminal(NamedTuple):
    """What a stream can show. ``width`` is None where nothing has to be cut: in a pipe or a file."""

    colour: bool
    unicode: bool
    width: int | None
    interactive: bool

    def paint(self, text: str, *styles: str) -> str:
        """``text`` in colour, where there is colour."""
        if not self.colour or not styles or not text:
            return text
        codes = ";".join(str(_CODES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def plain(self, text: str) -> str:
        """``text`` with its shapes replaced where the terminal has none, and without control characters."""
        shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
        return shown if self.unicode else shown.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def terminal(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Terminal:
    """What ``stream`` (stdout) can show. NO_COLOR, FORCE_COLOR, COLUMNS and TERM=dumb are honoured."""
    stream = sys.stdout if stream is None else stream
    environ = os.environ if environ is None else environ
    interactive = stream.isatty()
    colour = bool(environ.get("FORCE_COLOR")) or (interactive and environ.get("TERM") != "dumb")
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Terminal(colour and not environ.get("NO_COLOR"), unicode, _width(stream, environ), interactive)


def _width(stream: TextIO, environ: Mapping[str, str]) -> int | None:
    given = environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return max(20, int(given))
    try:
        return max(20, os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
    except (OSError, ValueError):
        return 80


def write_json(value: object) -> None:
    """One line of JSON on stdout; in UTF-8 whatever the terminal's encoding, since that is what JSON is in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


def elide(text: str, width: int) -> str:
    """``text`` in at most ``width`` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def elide_middle(text: str, width: int) -> str:
    """As :func:`elide`, for names, whose end tells one from another."""
    if len(text) <= width:
        return text
    end = max(0, (width - 1) // 2)
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def duration(seconds: float) -> str:
    """``"3.2s"``, ``"45s"``, ``"12m 5s"``, ``"4h 12m"``, ``"3d 4h"``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for size, unit, next_size, next_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size}{unit} {rest}{next_unit}" if rest else f"{whole // size}{unit}"
    return f"{whole}s"


def size(count: int) -> str:
    """Bytes: ``"512B"``, ``"1.2K"``, ``"38M"``, ``"1.5G"``, in powers of 1024."""
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":
            return f"{value:.1f}{unit}" if value < 10 and unit != "B" else f"{value:.0f}{unit}"
        value /= 1024
    raise AssertionError("unreachable")
