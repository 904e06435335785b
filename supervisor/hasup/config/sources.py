"""The files a configuration may come from: which one, and its content as nodes."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hasup.config.faults import ConfigError, Fault
from hasup.config.locate import DEEPEST, TooDeep, key_lines
from hasup.config.node import Faults, Node, placed

LARGEST: Final = 1 << 20  # bytes
PYPROJECT: Final = "pyproject.toml"
PROCFILE: Final = "Procfile"

_PROCFILE_LINE = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(\S.*)")
_PROCFILE_PORT: Final = 5000
_PROCFILE_PORT_STEP: Final = 100


class Unusable(Exception):
    """A file can't be used; ``line`` is 0 where the file as a whole is meant."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def find_file(cwd: Path, environ: Mapping[str, str]) -> Path:
    """See :func:`hasup.config.find`."""
    if named := environ.get("HASUP_CONFIG"):
        return cwd / named
    start = Path(os.path.abspath(cwd))
    for folder in (start, *start.parents):
        for path in (folder / "hasup.toml", folder / PYPROJECT, folder / PROCFILE):
            if _counts(path):
                return path
    what = "no hasup.toml, pyproject.toml with [tool.hasup] or Procfile, neither here nor in a folder above"
    raise ConfigError(str(cwd), [Fault(str(cwd), 0, "", what + "; `hasup init` writes one")])


def read(file: str, faults: Faults, named_by: Node | None = None) -> Node | None:
    """The content of a file, as the table that ``hasup.toml`` is; what is wrong with it goes to ``faults``.

    A file that can't be used at all is a fault of the option that names it, if one does.
    """
    try:
        text = text_of(file)
        if is_procfile(file):
            return _procfile(text, file, faults)
        return _toml(text, file)
    except Unusable as error:
        if named_by is not None and not error.line:
            faults.add(named_by, f"{file} {error}")
        else:
            faults.add_file(file, str(error), error.line)
        return None


def is_procfile(file: str) -> bool:
    """Whether a file is a Procfile, by its name (``Procfile``, ``Procfile.dev``)."""
    return os.path.basename(file).split(".", 1)[0] == PROCFILE


def text_of(file: str) -> str:
    """The text of a regular UTF-8 file of bearable size; raises an error whose text says why not."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for somebody to write to it
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _data(fd)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        raise Unusable(f"can't be read: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > LARGEST:
        raise Unusable(f"is larger than {LARGEST >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None


def _data(fd: int) -> bytes:
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        raise Unusable("is a folder, not a file" if stat.S_ISDIR(mode) else "is not a regular file")
    with open(fd, "rb", closefd=False) as opened:
        return opened.read(LARGEST + 1)


def _counts(path: Path) -> bool:
    """Whether the upward search ends at ``path``."""
    if path.name != PYPROJECT:
        return path.exists() and not path.is_dir()
    try:
        text = text_of(str(path))
        return "hasup" in text and _own_table(_parsed(text)) is not None
    except Unusable:  # not ours to complain about, as nobody named it
        return False


def _toml(text: str, file: str) -> Node:
    try:
        lines = key_lines(text)
    except TooDeep as error:
        raise Unusable(f"is nested more deeply than {DEEPEST} levels", error.line) from None
    decoded = _parsed(text)
    if os.path.basename(file) != PYPROJECT:
        return placed(decoded, lines, file)
    own = _own_table(decoded)
    if own is None:
        raise Unusable("has no table [tool.hasup]")
    return placed(own, lines, file, ("tool", "hasup"))


def _own_table(pyproject: Mapping[str, object]) -> object:
    tool = pyproject.get("tool")
    return tool.get("hasup") if isinstance(tool, dict) else None


def _parsed(text: str) -> dict[str, object]:
    import tomli

    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        raise Unusable(f"is not valid TOML: {message} (column {error.colno})", error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise Unusable(f"can't be read as TOML: {error}") from None


def _procfile(text: str, file: str, faults: Faults) -> Node:
    """By foreman's rules: each command runs in a shell, with PORT from 5000 in steps of 100."""
    programs: dict[str, Node] = {}
    for number, name, command in _procfile_lines(text, file, faults):
        where = f"programs.{name}"
        if name in programs:
            faults.add_file(file, f"{name} is there twice, first on line {programs[name].line}", number)
            continue
        port = _PROCFILE_PORT + _PROCFILE_PORT_STEP * len(programs)
        values = {"command": command.replace("$", "$$"), "shell": True, "port": port}
        programs[name] = Node(
            {k: Node(v, file, number, f"{where}.{k}") for k, v in values.items()}, file, number, where
        )
    table = {"programs": Node(programs, file, 1, "programs")}
    if os.path.exists(os.path.join(os.path.dirname(file), ".env")):
        listed = Node([Node(".env", file, 1, "supervisor.env_files[0]")], file, 1, "supervisor.env_files")
        table["supervisor"] = Node({"env_files": listed}, file, 1, "supervisor")
    return Node(table, file, 1, "")


def _procfile_lines(text: str, file: str, faults: Faults) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _PROCFILE_LINE.fullmatch(stripped)
        if match is None:
            faults.add_file(file, 'is not a line of a Procfile, such as "web: python -m shop"', number)
        else:
            yield number, match[1], match[2]
