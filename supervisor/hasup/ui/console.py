"""``python -m hasup.ui.console``: prints what programs and hasup itself write, while hasup runs in the foreground.

An ordinary supervised process: a terminal that blocks blocks this process and nothing else. It reads the log files.
The environment says what it shows and from where (``HASUP_CONSOLE``: JSON with ``templates``,
``[[program, stdout, stderr], …]``, ``offsets``, the sizes that the files had when hasup was started, and ``own``,
whether hasup's own log is shown too).
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hasup.logs import naming
from hasup.logs.follow import Follower, Line
from hasup.logs.paint import clean, prefix, wants_colour

OWN = "hasup.log"
ITSELF = ":console."  # that it runs is seen
_LOOK_S = 5.0


class Console:
    """Turns lines into what is printed."""

    def __init__(self, options: Mapping[str, Any], colour: bool, machine: bool) -> None:
        self._sources = [
            naming.Source(program, stream, naming.pattern_of(template.replace("{program}", program)))
            for program, stdout, stderr in options["templates"]
            for stream, template in (("stdout", stdout), ("stderr", stderr))
            if template not in naming.SPECIAL
        ]
        self._own_shown = options.get("own", True)  # an older hasup, upgraded since, did not say
        self._colour = colour
        self._machine = machine
        self._width = max([5, *(len(program) + 2 for program, _, _ in options["templates"])])
        self._render = _own_renderer(colour)

    def wanted(self, name: str) -> bool:
        """Whether a file is shown."""
        return (name == OWN and self._own_shown) or naming.owner(name, self._sources) is not None

    def show(self, line: Line) -> str:
        """The text for one line, with its end."""
        if line.file == OWN:
            return self._own(line.text)
        name, stream = naming.owner(line.file, self._sources) or (line.file, "stdout")
        if self._machine:
            entry = {"time": _utc(), "replica": name, "stream": stream, "line": line.text.decode("utf-8", "replace")}
            return json.dumps(entry, ensure_ascii=False) + "\n"
        return f"{_clock()} {prefix(name, self._width, self._colour)} {clean(line.text, self._colour)}\n"

    def _own(self, text: bytes) -> str:
        """A line of hasup's own log: an event for people, or the object itself for machines."""
        if self._machine:
            return text.decode("utf-8", "replace") + "\n"
        try:
            entry = json.loads(text)
        except ValueError:
            return ""
        if str(entry.get("replica", "")).startswith(ITSELF):
            return ""
        return f"{_local(entry.get('time', ''))} {prefix('hasup', self._width, self._colour)} {self._render(entry)}\n"


def _own_renderer(colour: bool) -> Any:
    """structlog's rendering, made for this one process: the core does not import it (docs/decisions/0003)."""
    import structlog

    levels = structlog.dev.ConsoleRenderer.get_default_level_styles(colour)
    reset = "\x1b[0m" if colour else ""
    plain = structlog.dev.KeyValueColumnFormatter(key_style=None, value_style="", reset_style="", value_repr=str)
    level = structlog.dev.LogLevelColumnFormatter(levels, reset_style=reset, width=0)
    render = structlog.dev.ConsoleRenderer(
        columns=[
            structlog.dev.Column("level", level),
            structlog.dev.Column("event", plain),
            structlog.dev.Column("", plain),
        ]
    )

    def line(entry: dict[str, Any]) -> str:
        who = entry.get("replica") or entry.get("program") or ""
        kind = entry.get("event", "")
        state = f"{entry['to'] if kind == 'state' else kind}: " if entry.get("replica") else ""
        said = f"{who} {state}{entry.get('reason', entry.get('event', ''))}".strip()
        return str(render(None, "", {"level": entry.get("level", "info"), "event": said}))

    return line


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _local(at: str) -> str:
    """The time of day of a time in UTC: what happened before this process was there is shown as of then."""
    try:
        return f"{datetime.fromisoformat(at).astimezone():%H:%M:%S}"
    except ValueError:
        return _clock()


def _utc() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"


class _End(Exception):
    """SIGTERM came while there was nothing to print."""


class Ending:
    """SIGTERM ends a wait at once, but never a line half-way."""

    def __init__(self) -> None:
        self.asked = False
        self._waiting = False
        signal.signal(signal.SIGTERM, self._on_term)

    def wait(self, follower: Follower) -> None:
        """Wait for more to print; raises :class:`_End` when there will be none."""
        self._waiting = True
        if self.asked:
            raise _End
        follower.wait(_LOOK_S)
        self._waiting = False

    def _on_term(self, _number: int, _frame: object) -> None:
        self.asked = True
        if self._waiting:
            self._waiting = False
            raise _End


def main() -> None:
    """Print until told to end; then print the rest, and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ending = Ending()
    options = json.loads(os.environ["HASUP_CONSOLE"])
    machine = os.environ.get("HASUP_LOG_FORMAT", "") == "json"
    console = Console(options, wants_colour(sys.stdout, os.environ), machine)
    follower = Follower(Path(sys.argv[1]) / "logs", console.wanted, options["offsets"])
    try:
        try:
            while True:
                _print(console, follower.lines())
                ending.wait(follower)
        except _End:
            _print(console, follower.rest())
    except OSError:  # nobody reads any more: the terminal is gone
        os._exit(0)


def _print(console: Console, lines: Iterator[Line]) -> None:
    for line in lines:
        sys.stdout.write(console.show(line))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
