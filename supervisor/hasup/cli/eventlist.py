"""What ``hasup events`` shows: the journal, then what follows, without a gap between them."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from hasup.cli import when
from hasup.cli.errors import USAGE, Failure, say
from hasup.cli.locate import state_dir
from hasup.cli.terminal import Terminal, terminal, write_json
from hasup.control.client import ConnectionLost, ControlClient, NotRunning
from hasup.journal.reader import Unreadable, read_events
from hasup.model.status import EventRecord

JOURNAL_NAME: Final = "journal.db"
_FOLLOWED: Final = 10  # shown before following, unless said otherwise
_PATIENCE_S: Final = 2.0  # the journal is written a little later than followers are told
_COLOURS: Final = {
    "running": "green", "completed": "green", "starting": "blue", "backoff": "yellow", "aborting": "red",
    "failed": "red", "stopping": "yellow",
}  # fmt: skip


class Query(NamedTuple):
    """Which events are wanted."""

    names: Sequence[str] = ()
    kinds: Sequence[str] = ()
    since: str | None = None
    limit: int | None = None
    until: str | None = None
    results: Sequence[str] = ()

    def accepts(self, record: EventRecord) -> bool:
        """Whether it is of these names, kinds and results; as the journal's reader selects."""
        return (
            (not self.kinds or record.event in self.kinds)
            and (not self.results or record.detail.get("result") in self.results)
            and (not self.names or any(_is_of(record, name) for name in self.names))
        )


def _is_of(record: EventRecord, name: str) -> bool:
    replica = record.replica or ""
    return name in (record.program, replica) or replica.startswith((f"{name}.", f"{name}:"))


def show(config: str | None, query: Query, *, follow: bool, as_json: bool) -> int:
    """Print them; with ``follow``, until hasup ends or Ctrl-C."""
    if follow and query.until is not None:
        raise Failure("--follow goes on for ever and --until does not: name one of them", USAGE)
    directory = state_dir(config, os.environ, os.getcwd())
    path = os.path.join(directory, JOURNAL_NAME)
    if query.names:
        query = query._replace(names=_members(config, path, query.names))
    screen = terminal()
    write: Callable[[EventRecord], None] = _write_json if as_json else lambda record: _write_text(record, screen)
    try:
        last = _print_stored(path, query, write, _FOLLOWED if follow and not query.since else None)
        if follow:
            sys.stdout.flush()
            for record in followed(directory, path, last):
                if query.accepts(record):
                    write(record)
                    sys.stdout.flush()
    except Unreadable as error:
        raise Failure(f"{error}; it is set aside and begun anew when hasup writes to it") from error
    return 0


def _members(config: str | None, path: str, names: Sequence[str]) -> list[str]:
    """The names, with the programs of a group in its place. Failure for one that neither the configuration nor the
    journal knows; a configuration that is broken now keeps nobody from the journal.
    """
    from pathlib import Path

    from hasup.cli.named import slots, unknown
    from hasup.config import ConfigError, load

    try:
        loaded = load(Path(config) if config else None, os.environ, Path.cwd())
    except ConfigError:
        return list(names)
    configured = slots(loaded)
    members: list[str] = []
    for name in names:
        known = name in configured or name in configured.get(name.rpartition(".")[0], ())
        if name in loaded.groups:
            members += loaded.groups[name].programs
        elif known or any(True for _ in read_events(path, names=[name], limit=1)):
            members.append(name)
        else:
            raise unknown(name, loaded)
    return members


def _print_stored(path: str, query: Query, write: Callable[[EventRecord], None], count: int | None) -> int:
    """Print what the journal has; the number of the newest event in it."""
    newest = max((record.seq for record in read_events(path, limit=1)), default=0)
    since, until = (None if text is None else when.parse(text, time.time()) for text in (query.since, query.until))
    limit = count if query.limit is None else query.limit
    found = read_events(
        path, since=since, until=until, names=query.names, kinds=query.kinds, results=query.results, limit=limit
    )
    for record in found:
        write(record)
        newest = max(newest, record.seq)
    return newest


def followed(directory: str, path: str, last: int) -> Iterator[EventRecord]:
    """All events after ``last``, from hasup as they happen; what was missed meanwhile comes out of the journal."""
    client = ControlClient(directory)
    while True:
        with client:
            try:
                newest, stream = client.follow()
                for record in _upto(newest, path, last):
                    yield record
                    last = record.seq
                for params in stream:
                    told = msgspec.convert(params, EventRecord)
                    if told.seq > last + 1:
                        for record in _upto(told.seq - 1, path, last):
                            yield record
                            last = record.seq
                    if told.seq > last:
                        yield told
                        last = told.seq
            except ConnectionLost:
                pass
        try:
            client = ControlClient(directory)
        except NotRunning:
            yield from _upto(0, path, last)
            say("hasup has ended")
            return


def _upto(seq: int, path: str, last: int) -> Iterator[EventRecord]:
    """Events after ``last`` from the journal; waits a little for those up to ``seq`` that are still to be written."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        for record in read_events(path, since_seq=last):
            yield record
            last = record.seq
        if last >= seq or time.monotonic() >= deadline:
            return
        time.sleep(0.02)  # SQLite tells nobody when something was written


def _write_json(record: EventRecord) -> None:
    write_json(msgspec.to_builtins(record))


def _write_text(record: EventRecord, screen: Terminal) -> None:
    sys.stdout.write(line(record, screen) + "\n")


def line(record: EventRecord, screen: Terminal) -> str:
    """``"2026-01-31 12:00:00  web.1         state  running → backoff  exit code 3"``, in local time."""
    at = datetime.fromisoformat(record.at).astimezone()
    what = f"{record.from_} → {record.to}" if record.to and record.from_ != record.to else ""
    parts = [
        screen.paint(f"{at:%Y-%m-%d %H:%M:%S}", "dim"),
        screen.paint(screen.plain(record.replica or record.program or "hasup").ljust(14), "bold"),
        screen.plain(record.event).ljust(10),
    ]
    if what:
        parts.append(screen.paint(screen.plain(what), *_style(record.to)))
    parts.append(screen.plain(record.reason))
    return "  ".join(parts).rstrip()


def _style(state: Any) -> tuple[str, ...]:
    colour = _COLOURS.get(state)
    return (colour,) if colour else ()
