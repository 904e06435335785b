"""What commands on the past need: the journal, the configuration, and the time that is asked about."""

import contextlib
import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from hasup.cli import when
from hasup.cli.errors import UNKNOWN_NAME, USAGE, Failure, say
from hasup.cli.link import ask_again
from hasup.cli.locate import state_dir
from hasup.config import ConfigError
from hasup.control.client import NotRunning
from hasup.journal.happenings import happenings, span
from hasup.journal.reader import Unreadable
from hasup.model.spec import Config
from hasup.report.document import Lines, Wanted, lines
from hasup.report.timeline import History, read

JOURNAL_NAME: Final = "journal.db"


class Past(NamedTuple):
    """All that is asked about."""

    name: str
    since: float
    until: float
    history: History
    programs: tuple[Wanted, ...]
    lines: Lines
    running: bool
    groups: Mapping[str, tuple[str, ...]]
    journal: str  # its path


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Meanwhile millions of objects may be made and none is left over: the collector would look at all of them again
    and again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def past(config: str | None, since: str | None, until: str | None, longest_s: float = math.inf) -> Past:
    """Read the journal: from ``since``, else all that is known within ``longest_s``. Raises Failure, ConfigError."""
    path = os.path.join(state_dir(config, os.environ, os.getcwd()), JOURNAL_NAME)
    found, running = _configuration(config)
    now = time.time()
    end = now if until is None else min(now, when.parse(until, now))
    try:
        known = span(path) or (end, end)
        begin = when.parse(since, now) if since is not None else min(max(known[0], end - longest_s), end)
        if begin > end:
            raise Failure("--since is later than --until", USAGE)
        seen = now if running else known[1]
        history = read(happenings(path, begin, end), begin, end, seen_until=seen, silence_s=_silence(found))
    except Unreadable as error:
        raise Failure(f"{error}; it is set aside and begun anew when hasup writes to it") from error
    programs = _programs(found, history)
    groups = {} if found is None else {group.name: group.programs for group in found.groups.values()}
    name = found.supervisor.name if found is not None else os.path.basename(os.getcwd())
    return Past(name, begin, end, history, programs, lines(history, programs, begin, end), running, groups, path)


def _configuration(config: str | None) -> tuple[Config | None, bool]:
    """That of the running hasup, else the file's; and whether hasup runs. Without one the journal must do."""
    with contextlib.suppress(NotRunning):
        return msgspec.json.decode(ask_again(config, "config", timeout=30.0)["config"], type=Config), True
    from hasup.config import load

    try:
        return load(Path(config) if config else None, os.environ, Path.cwd()), False
    except ConfigError as error:
        say(
            f"the configuration is faulty ({len(error.faults)} faults, see hasup check): need and objective are unknown"
        )
        return None, False


def _silence(config: Config | None) -> Callable[[str], float]:
    """The timeout of each replica's heartbeat; 0 where there is none."""
    programs = {} if config is None else config.programs
    timeouts = {name: program.heartbeat.timeout for name, program in programs.items() if program.heartbeat is not None}
    return lambda replica: timeouts.get(replica.rpartition(".")[0], 0.0)


def _programs(config: Config | None, history: History) -> tuple[Wanted, ...]:
    """Those of the configuration, then those that only the journal knows; hasup's own are left out."""
    programs = {} if config is None else config.programs
    known = {
        name: Wanted(name, program.need, program.objective, program.kind == "task", tuple(program.depends_on))
        for name, program in programs.items()
        if not program.internal
    }
    for replica in history.replicas:
        name = replica.rpartition(".")[0]
        if ":" not in name:
            known.setdefault(name, Wanted(name))
    return tuple(known.values())


def chosen(past: Past, names: Sequence[str]) -> dict[str, frozenset[str] | None]:
    """The programs that are meant, each with the replicas that are (None: all); Failure when there is none of a name.

    No name at all: every program.
    """
    found: dict[str, frozenset[str] | None] = {}
    for name in names or [program.name for program in past.programs]:
        owner = name.rpartition(".")[0]
        if name in past.lines.replicas:
            found[name] = None
        elif name in past.groups:
            found.update(dict.fromkeys(past.groups[name]))
        elif name in past.lines.replicas.get(owner, {}):
            before = found.get(owner, frozenset())
            found[owner] = None if before is None else before | {name}
        else:
            raise Failure(_no_such(name, past), UNKNOWN_NAME)
    return found


def _no_such(name: str, past: Past) -> str:
    from difflib import get_close_matches

    replicas = [replica for program in past.lines.replicas.values() for replica in program]
    close = get_close_matches(name, [*past.lines.replicas, *past.groups, *replicas], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"no program, replica or group is named {name!r} in the configuration or the journal{hint}"
