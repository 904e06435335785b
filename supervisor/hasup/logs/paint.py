"""How a line of output looks: an aligned, coloured prefix, and nothing that could disturb the terminal."""

import re
import zlib
from collections.abc import Mapping
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_RESET = "\x1b[0m"
# Colours (SGR) pass; other escape sequences and control characters do not.
_CONTROL = re.compile(
    r"\x1b\[[0-9;]*m|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f]"
)


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour what goes to ``stream`` (no-color.org)."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


def prefix(name: str, width: int, colour: bool) -> str:
    """``name`` padded and set off; the same name always has the same colour."""
    padded = f"{name.ljust(width)} |"
    if not colour:
        return padded
    return f"\x1b[{_COLOURS[zlib.crc32(name.encode()) % len(_COLOURS)]}m{padded}{_RESET}"


def clean(text: bytes, colour: bool) -> str:
    """A line as it may be shown; a colour it leaves open is closed."""
    shown = _CONTROL.sub(lambda match: _kept(match.group(), colour), text.decode("utf-8", "replace").rstrip("\r"))
    return shown + _RESET if "\x1b[" in shown else shown


def _kept(sequence: str, colour: bool) -> str:
    return sequence if colour and sequence.endswith("m") and sequence.startswith("\x1b[") else ""
