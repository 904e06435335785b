"""A command in the environment that a program would get."""

import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hasup.cli.errors import UNKNOWN_NAME, Failure
from hasup.config import expand, load
from hasup.core.names import no_such
from hasup.model.spec import Config, Program

_NOT_FOUND: Final = 127  # as env(1) and the shells have it
_NOT_EXECUTABLE: Final = 126


def run(config: str | None, name: str | None, words: tuple[str, ...]) -> int:
    """Become the command; returns only by raising."""
    loaded = load(Path(config) if config else None, os.environ, Path.cwd())
    program = _program(loaded, name)
    env = _environment(loaded, program, os.environ)
    if program is not None:
        _enter(program)
    try:
        os.execvpe(words[0], words, env)
    except FileNotFoundError:
        raise Failure(f"{words[0]}: there is no such command", _NOT_FOUND) from None
    except OSError as error:
        raise Failure(f"{words[0]}: {(error.strerror or str(error)).lower()}", _NOT_EXECUTABLE) from None


def _program(config: Config, name: str | None) -> Program | None:
    if name is None or name in config.programs:
        return config.programs[name] if name else None
    slots: dict[str, list[str]] = {name: [] for name in config.programs}
    raise Failure(no_such(name, slots, list(config.groups)), UNKNOWN_NAME)


def _environment(config: Config, program: Program | None, base: Mapping[str, str]) -> dict[str, str]:
    """What the first replica would get, without what makes a process one of hasup's own."""
    inherited = {name: value for name, value in base.items() if name not in expand.OWN_NAMES}
    if program is None:
        return inherited | config.environment
    port = _port(program)
    try:
        env = expand.environment(config, program, 1, inherited, "", port)
    except expand.ExpandError as error:
        raise Failure(f"{program.name}: {error}") from error
    return {name: value for name, value in env.items() if name not in expand.OWN_NAMES or name == "PORT"}


def _enter(program: Program) -> None:
    try:
        os.chdir(program.directory)
    except OSError as error:
        raise Failure(f"{program.name}: its directory {program.directory}: {(error.strerror or '').lower()}") from error


def _port(program: Program) -> str | None:
    listen = program.listen
    if listen is not None and listen.mode == "proxy" and listen.replica_address == "unix":
        return os.path.join(tempfile.gettempdir(), f"hasup-run-{os.getpid()}.sock")
    if program.port == "auto":
        return str(_free_port())
    return None if program.port is None else str(program.port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
