"""From the file to the model: includes, defaults, environment files, and every check."""

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hasup.config import checks, expand, merge, overlay, readers, sources
from hasup.config.envfiles import EnvFiles
from hasup.config.faults import ConfigError, Fault, nearest
from hasup.config.node import Faults, Node
from hasup.config.walk import Walker
from hasup.model.spec import Config, Group, Program, SupervisorOptions

_MOST_INCLUDED: Final = 1000
_FILE: Final = "file:"
_MAIN_TABLES: Final = ("supervisor", "defaults", "programs", "groups")
_INCLUDED_TABLES: Final = ("programs", "groups")


def load_file(path: Path, environ: Mapping[str, str], cwd: Path, settings: Sequence[str] = ()) -> Config:
    """See :func:`hasup.config.load`."""
    file = os.path.abspath(cwd / path)
    faults = Faults()
    root = sources.read(file, faults)
    if root is not None and settings:
        root = overlay.put_over(root, settings, faults)
    config = _Loader(file, environ, faults).config(root) if root is not None else None
    if config is None or len(faults):
        named = [_named(fault, cwd) for fault in faults.listed(file)]
        raise ConfigError(_name(file, cwd), named)
    return config


class _Loader:
    def __init__(self, file: str, environ: Mapping[str, str], faults: Faults) -> None:
        self._file = file
        self._environ = dict(environ)
        self._faults = faults
        self._env_files = EnvFiles(faults)
        self._programs: dict[str, Node] = {}
        self._groups: dict[str, Node] = {}

    def config(self, root: Node) -> Config | None:
        """The whole configuration; ``None`` only after a fault."""
        self._collect(root, _MAIN_TABLES)
        supervisor, environment = self._supervisor(root)
        if supervisor is None:
            return None
        walker = Walker(self._faults, {**self._environ, **environment})
        built = self._built_programs(walker, root.table.get("defaults"))
        groups = self._built_groups(walker)
        programs = {name: program for name, (program, _) in built.items()}
        config = Config(
            file=self._file, supervisor=supervisor, programs=programs, groups=groups, environment=environment
        )
        nodes = {name: node for name, (_, node) in built.items()}
        checks.check(config, checks.Written(root, nodes, self._groups), self._environ, self._faults)
        return config

    def _collect(self, root: Node, tables: tuple[str, ...]) -> None:
        """Take the programs and groups of a file."""
        for key, node in root.table.items():
            if key not in tables and key in _MAIN_TABLES:
                self._faults.add(node, "belongs into the main file, not into an included one")
            elif key not in tables:
                self._faults.add(node, "there is no such table", nearest(key, tables))
            elif not isinstance(node.value, dict):
                self._faults.add(node, f"expected a table, got {readers.shown(node.value)}")
        self._take(root, "programs", self._programs)
        self._take(root, "groups", self._groups)

    def _take(self, root: Node, table: str, into: dict[str, Node]) -> None:
        for name, node in root.at(table).table.items() if root.has(table) else ():
            if not isinstance(node.value, dict):
                self._faults.add(node, f"expected a table, got {readers.shown(node.value)}")
            elif name in into:
                first = into[name]
                self._faults.add(node, f"is there twice, first in {os.path.basename(first.file)}, line {first.line}")
            else:
                into[name] = node

    def _supervisor(self, root: Node) -> tuple[SupervisorOptions | None, dict[str, str]]:
        node = root.table.get("supervisor", root.child("supervisor", {}))
        folder = os.path.dirname(self._file)
        state_dir = self._environ.get("STATE_DIRECTORY", "").split(":")[0]
        given = {"name": os.path.basename(folder) or "hasup", "state_dir": os.path.join(folder, state_dir or ".hasup")}
        options = Walker(self._faults, self._environ).table(SupervisorOptions, node, given)
        if options is None:
            return None, {}
        self._include(node)
        return options, self._environment(options, node)

    def _environment(self, table: SupervisorOptions | Program, node: Node) -> dict[str, str]:
        """What the env_files of a table say."""
        files = dict(zip(table.env_files, node.at("env_files").items, strict=False))
        return self._env_files.read(files)

    def _include(self, node: Node) -> None:
        if not node.has("include"):
            return
        files: dict[str, Node] = {}
        for item in node.at("include").items:
            if isinstance(item.value, str) and "\0" not in item.value:
                files.update(dict.fromkeys(self._matching(item.value, item), item))
        files.pop(self._file, None)  # "*.toml" is not meant to match the main file
        if len(files) > _MOST_INCLUDED:
            self._faults.add(node.at("include"), f"matches more than {_MOST_INCLUDED} files")
            return
        for file, item in files.items():
            included = sources.read(file, self._faults, item)
            if included is not None:
                self._collect(included, _INCLUDED_TABLES)

    def _matching(self, pattern: str, item: Node) -> list[str]:
        folder = os.path.dirname(self._file)
        found = sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))
        if not found and not glob.has_magic(pattern):
            self._faults.add(item, f"there is no file {pattern}")
        return [os.path.abspath(file) for file in found]

    def _built_programs(self, walker: Walker, defaults: Node | None) -> dict[str, tuple[Program, Node]]:
        built = {}
        for name, own in self._programs.items():
            node = merge.program_node(name, own, defaults)
            directory = os.path.dirname(own.file)
            program = walker.table(Program, node, {"name": name, "command": (), "directory": directory})
            if program is not None:
                built[name] = (self._completed(program, node), node)
        return built

    def _completed(self, program: Program, node: Node) -> Program:
        """What follows from what was written."""
        port = program.port
        if port is None and program.listen is not None and program.listen.mode == "proxy":
            port = "auto"
        heartbeat = program.heartbeat
        if heartbeat is not None and heartbeat.source.startswith(_FILE):
            source = _FILE + _inside(program.directory, heartbeat.source.removeprefix(_FILE))
            heartbeat = msgspec.structs.replace(heartbeat, source=source)
        replicas = program.autoscale.min if program.autoscale is not None else program.replicas
        return msgspec.structs.replace(
            program, environment=self._environment(program, node), port=port, heartbeat=heartbeat, replicas=replicas
        )

    def _built_groups(self, walker: Walker) -> dict[str, Group]:
        groups = {}
        for name, node in self._groups.items():
            group = walker.table(Group, node, {"name": name, "programs": ()})
            if group is not None:
                groups[name] = group
        return groups


def _inside(directory: str, path: str) -> str:
    """A path that is relative to a directory; ``${NAME}`` at its beginning counts as absolute."""
    return path if path.startswith(("/", "${")) else os.path.join(expand.escape(directory), path)


def _named(fault: Fault, cwd: Path) -> Fault:
    return msgspec.structs.replace(fault, file=_name(fault.file, cwd))


def _name(file: str, cwd: Path) -> str:
    """A file as seen from ``cwd``: relative when it is below."""
    below = os.path.abspath(cwd).rstrip("/") + "/"
    return file.removeprefix(below)
