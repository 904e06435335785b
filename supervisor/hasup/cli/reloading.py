"""Comparing the file with what runs, and bringing the one to the other."""

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from hasup.cli.errors import FAILED, say
from hasup.cli.link import ask, ask_again
from hasup.cli.outcome import report
from hasup.cli.terminal import write_json
from hasup.control.client import ConnectionLost, NoAnswer, NotRunning
from hasup.core.diff import Change, Difference, difference
from hasup.model.spec import Config
from hasup.protocol.control import ControlError


def reload_file(config: str | None) -> int:
    """Apply the file's differences."""
    written = _written(config)
    text = msgspec.json.encode(written).decode("utf-8", "surrogateescape")
    answer = ask_again(config, "reload", {"config": text, "wait": True, "token": _token()})
    if not answer.get("not_reloaded"):
        sys.stdout.write(f"{answer['summary']}\n")
    return _report("ready:", answer)


def roll(config: str | None, names: tuple[str, ...]) -> int:
    """Replace the replicas, as the table ``reload`` of their programs has it."""
    return _report("reloaded", ask_again(config, "reload", {"names": list(names), "wait": True, "token": _token()}))


def _token() -> str:
    """Names this request, so that it may be asked again when the core is replaced meanwhile."""
    return os.urandom(8).hex()


def _report(done: str, answer: dict[str, Any]) -> int:
    """As :func:`report`, and which programs were not reloaded."""
    failed = answer.get("not_reloaded", [])
    for program in failed:
        say(f"{program['name']} was not reloaded: {program['reason']}")
    if not failed:
        return report(done, answer) if answer["replicas"] else 0
    for replica in answer.get("failed", []):
        say(f"{replica['name']} is not ready: {replica['reason']}")
    say("see: hasup status, hasup events")
    return FAILED


def show_difference(config: str | None, as_json: bool) -> int:
    """Print what differs."""
    found = _difference(config)
    if as_json:
        write_json(msgspec.to_builtins(found) | {"restarted": list(found.restarted())})
    else:
        sys.stdout.write("\n".join(_lines(found)) + "\n")
    return 0


def differs(config: str | None) -> bool:
    """Whether a reload would change something; false as well where that can't be told."""
    from hasup.config import ConfigError

    try:
        return not _difference(config).empty
    except (ConfigError, ConnectionLost, ControlError, NoAnswer, NotRunning):
        return False


def _difference(config: str | None) -> Difference:
    running = msgspec.json.decode(ask(config, "config")["config"], type=Config)
    return difference(running, _written(config))


def _written(config: str | None) -> Config:
    """The file's configuration; raises ConfigError. Its state directory, when none is named, is the running one's."""
    from hasup.config import load

    written = load(Path(config) if config else None, os.environ, Path.cwd())
    running = ask(config, "version")["state_dir"]
    if written.supervisor.state_dir == str(Path(written.file).parent / ".hasup"):
        own = msgspec.structs.replace(written.supervisor, state_dir=running)
        written = msgspec.structs.replace(written, supervisor=own)
    return written


def _lines(found: Difference) -> list[str]:
    if found.empty:
        return ["nothing differs"]
    restarted = found.restarted()
    lines = [f"+ {name}: is added, and started" for name in found.added]
    lines += [f"- {name}: is stopped, and removed" for name in found.removed]
    for name, changes in found.changed.items():
        lines.append(f"~ {name}: {'is restarted' if name in restarted else 'is changed while it runs'}")
        lines += [f"    {_shown(change)}" for change in changes]
    lines += [f"~ supervisor: {_shown(change)}" for change in found.supervisor]
    return [*lines, *(["~ groups"] if found.groups else [])]


def _shown(change: Change) -> str:
    if change.option in ("env", "environment"):  # values may be secret
        return f"{change.option}: differs"
    old, new = (msgspec.json.encode(value).decode() for value in (change.old, change.new))
    return f"{change.option}: {old} → {new}"
