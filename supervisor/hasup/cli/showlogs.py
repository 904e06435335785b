"""Finds the files that are asked for, and prints their lines."""

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import NamedTuple

from hasup.cli import named
from hasup.cli.errors import USAGE, Failure
from hasup.cli.locate import state_dir
from hasup.logs import naming
from hasup.logs.follow import Follower, Line, last_lines
from hasup.logs.paint import clean, prefix, wants_colour
from hasup.model.spec import Config

_ALONE, _TOGETHER = 100, 10  # lines without -n: of one file, of each of several


class Request(NamedTuple):
    """The command line."""

    config: str | None
    names: tuple[str, ...]
    as_json: bool
    follow: bool
    lines: int | None
    since: str | None
    grep: str | None
    prefixed: bool


def show(request: Request) -> int:
    """Print what is asked for; with -f, until interrupted."""
    pattern = _pattern(request.grep)
    view = _View(_load(request.config), request, pattern)
    folder = Path(state_dir(request.config, os.environ, os.getcwd())) / "logs"  # a service's may be elsewhere
    files = view.files(folder)
    view.check_names(files)
    count = request.lines if request.lines is not None else (_ALONE if len(files) == 1 else _TOGETHER)
    follower = Follower(folder, view.is_shown) if request.follow and folder.is_dir() else None
    for name in files:
        for text in last_lines(folder / name, count, pattern):
            view.print(Line(name, text))
    sys.stdout.flush()
    if follower is not None:
        _follow(follower, view, pattern)
    return 0


def _follow(follower: Follower, view: "_View", pattern: re.Pattern[str] | None) -> None:
    while True:
        for line in follower.lines():
            if pattern is None or pattern.search(line.text.decode("utf-8", "replace")):
                view.print(line)
        sys.stdout.flush()
        follower.wait(5.0)


def _load(config: str | None) -> Config:
    from hasup.config import load

    return load(Path(config) if config else None, os.environ, Path.cwd())


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise Failure(f"--grep {text!r} is no regular expression: {error}", USAGE) from None


class _View:
    """Which files are shown, and how their lines look."""

    def __init__(self, config: Config, request: Request, pattern: re.Pattern[str] | None) -> None:
        self.config = config
        self._request = request
        self._pattern = pattern
        self._sources = naming.sources(config.programs.values())
        self._groups = {group.name: group.programs for group in config.groups.values()}
        self._since = _since(request.since)
        self._colour = wants_colour(sys.stdout, os.environ)
        self._width = max([5, *(len(name) + 2 for name in config.programs)])

    def is_shown(self, file_name: str) -> bool:
        """Whether a file belongs to one of the names."""
        owner = naming.owner(file_name, self._sources)
        return owner is not None and naming.chosen(owner[0], self._request.names, self._groups)

    def files(self, folder: Path) -> list[str]:
        """Those that are there, in the order of the replicas."""
        try:
            entries = [entry for entry in os.scandir(folder) if self.is_shown(entry.name)]
        except FileNotFoundError:
            return []
        recent = [entry.name for entry in entries if self._since is None or entry.stat().st_mtime >= self._since]
        return sorted(recent, key=self._order)

    def check_names(self, files: list[str]) -> None:
        """An unknown name is an error, also when others are known."""
        written = {owner[0] for name in files if (owner := naming.owner(name, self._sources)) is not None}
        configured = {slot for slots in named.slots(self.config).values() for slot in slots}
        for name in self._request.names:
            if name not in {*self.config.programs, *self._groups, *configured, *written}:
                raise named.unknown(name, self.config)

    def print(self, line: Line) -> None:
        """One line of output."""
        name, stream = naming.owner(line.file, self._sources) or (line.file, "stdout")
        if self._request.as_json:
            entry = {"replica": name, "stream": stream, "line": line.text.decode("utf-8", "replace")}
            sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
            return
        before = f"{prefix(name, self._width, self._colour)} " if self._request.prefixed else ""
        sys.stdout.write(f"{before}{clean(line.text, self._colour)}\n")

    def _order(self, file_name: str) -> tuple[str, int, str]:
        name, stream = naming.owner(file_name, self._sources) or (file_name, "")
        program, _, number = name.rpartition(".")
        return (program, int(number), stream) if number.isdigit() else (name, 0, stream)


def _since(text: str | None) -> float | None:
    """The time that ``--since`` names, in seconds since the epoch."""
    if text is None:
        return None
    from hasup.cli import when

    return when.parse(text, time.time())
