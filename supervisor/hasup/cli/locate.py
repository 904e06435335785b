"""Where the state directory is, without reading the whole configuration: commands need nothing else of it.

What is out of the ordinary is left to :func:`hasup.config.load`. A file that is broken now does not keep anyone from
the hasup that was started with it.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hasup.control.client import SOCKET_NAME

_DEFAULT: Final = ".hasup"
_SERVICES: Final = "/var/lib/hasup"


def state_dir(config: str | None, environ: Mapping[str, str], cwd: str) -> str:
    """The absolute path of the state directory of this configuration. Raises ConfigError."""
    file = _file(config, environ, cwd)
    found = None if file is None else _quick(file, environ)
    return _thorough(config, file, environ, cwd) if found is None else found


def _file(config: str | None, environ: Mapping[str, str], cwd: str) -> str | None:
    """The configuration file: named, or the nearest one from here upward; None when there is none."""
    named = config or environ.get("HASUP_CONFIG")
    if named:
        return os.path.join(cwd, named)
    folder = os.path.abspath(cwd)
    while True:
        for name in ("hasup.toml", "pyproject.toml", "Procfile"):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and (name != "pyproject.toml" or b"[tool.hasup" in _read(path)):
                return path
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)


def _read(file: str) -> bytes:
    with open(file, "rb") as opened:
        return opened.read()


def _quick(file: str, environ: Mapping[str, str]) -> str | None:
    """The state directory by the plainest reading of ``file``; None when it has to be read in earnest."""
    try:
        data = _read(file)
    except OSError:
        return None
    if os.path.basename(file) == "Procfile" or (b"state_dir" not in data and b"include" not in data):
        return _default(file, environ)
    table = _supervisor_table(file, data)
    if table is None or "include" in table:
        return None
    value = table.get("state_dir")
    if value is None:
        return _default(file, environ)
    return None if not isinstance(value, str) or "$" in value else _beside(file, value)


def _supervisor_table(file: str, data: bytes) -> dict[str, Any] | None:
    import tomli

    try:
        document: Any = tomli.loads(data.decode())
    except ValueError:
        return None
    keys = ("tool", "hasup", "supervisor") if os.path.basename(file) == "pyproject.toml" else ("supervisor",)
    for key in keys:
        document = document.get(key, {}) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else None


def _thorough(config: str | None, file: str | None, environ: Mapping[str, str], cwd: str) -> str:
    from pathlib import Path

    from hasup.config import ConfigError, load

    try:
        return load(Path(config) if config else None, environ, Path(cwd)).supervisor.state_dir
    except ConfigError:
        guess = None if file is None else _guess(file, environ)
        if guess is None:
            raise
        return guess


def _guess(file: str, environ: Mapping[str, str]) -> str | None:
    """Where a hasup runs that belongs to ``file``, which can't be read as a whole; None when there is none."""
    for guess in _guesses(file, environ):
        if os.path.exists(os.path.join(guess, SOCKET_NAME)) and (os.path.exists(file) or _runs_with(file, guess)):
            return guess
    return None


def _runs_with(file: str, state_dir: str) -> bool:
    """Whether the hasup of this state directory was started with a file that is not there any more.

    A name that was mistyped must not reach another hasup, whose state directory happens to be beside it.
    """
    from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning

    try:
        with ControlClient(state_dir) as client:
            return bool(client.call("status", timeout=5.0)["supervisor"]["config"] == os.path.abspath(file))
    except (ConnectionLost, NoAnswer, NotRunning):
        return False


def _guesses(file: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Where it may be when ``file`` can't be read as a whole: what a line of it says, and the default."""
    import re

    try:
        text = _read(file).decode(errors="replace")
    except OSError:
        text = ""
    for match in re.finditer(r"""^\s*state_dir\s*=\s*["']([^"'$]+)["']""", text, re.MULTILINE):
        yield _beside(file, match[1])
    yield _default(file, environ)


def _default(file: str, environ: Mapping[str, str]) -> str:
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd lists several with colons
    beside = _beside(file, given or _DEFAULT)
    if given or os.path.exists(os.path.join(beside, SOCKET_NAME)):
        return beside
    return _of_a_service(file) or beside


def _of_a_service(file: str) -> str | None:
    """The state directory that the unit of ``hasup export systemd`` gets, when a hasup runs there."""
    import re

    try:
        text = _read(file).decode(errors="replace")
    except OSError:
        return None
    named = re.search(r"""^\s*name\s*=\s*["']([^"'/$]+)["']""", text, re.MULTILINE)
    folder = os.path.basename(os.path.dirname(os.path.abspath(file)))
    for name in dict.fromkeys([*([named[1]] if named else []), folder]):
        path = os.path.join(_SERVICES, name)
        if os.path.exists(os.path.join(path, SOCKET_NAME)):
            return path
    return None


def _beside(file: str, path: str) -> str:
    return os.path.abspath(os.path.join(os.path.dirname(file), path))
