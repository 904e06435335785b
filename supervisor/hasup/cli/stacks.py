"""Python's stacks, as faulthandler, py-spy and an exception write them. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

_FRAME: Final = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+),? in (?P<name>\S+)')
_SPY_FRAME: Final = re.compile(r"^\s*(?P<name>\S+) \((?P<file>[^:()]+):(?P<line>\d+)\)")
_THREAD: Final = re.compile(r"^(?:Current thread|Thread) ")
_MAIN: Final = re.compile(r'^Current thread |^Thread .*"MainThread"')


def frames(record: dict[str, Any]) -> list[str]:
    """Of the main thread, innermost first, as ``worker.py:25 main``; at the end, how many more threads there are."""
    for lines, pattern in ((record.get("py_spy"), _SPY_FRAME), (record.get("stack"), _FRAME)):
        threads = _threads(lines or ())
        read = [(header, _frames(block, pattern)) for header, block in threads]
        read = [(header, found) for header, found in read if found]
        if not read:
            continue
        main = next((found for header, found in read if _MAIN.match(header)), read[0][1])
        if lines and lines[0].startswith("Traceback"):
            main.reverse()  # an exception's has the innermost last
        more = len(read) - 1
        return main[:5] + ([f"(and {more} more thread{'s' if more > 1 else ''})"] if more else [])
    return []


def _threads(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The lines below each heading of a thread."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        if _THREAD.match(line):
            found.append((line, []))
        else:
            found[-1][1].append(line)
    return found


def _frames(lines: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    matches = [match for line in lines if (match := pattern.search(line))]
    return [
        f"{match['file'].rpartition('/')[2]}:{match['line']} {match['name']}"
        for match in matches
        if not match["file"].startswith("<frozen")
    ]
