"""Decoded values that know where they were written, through any merging."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from hasup.config.faults import Fault
from hasup.config.locate import KeyPath

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. ``value`` is a scalar, a list of nodes or a dict of nodes.

    ``file`` is absolute; ``where`` is the option's dotted name, as in ``programs.web.port``.
    """

    value: object
    file: str
    line: int
    where: str

    @property
    def table(self) -> dict[str, "Node"]:
        """The entries, none when this is no table."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list["Node"]:
        """The items, none when this is no array."""
        return self.value if isinstance(self.value, list) else []

    def at(self, *path: str) -> "Node":
        """The node at ``path``, or the deepest one on the way to it."""
        node = self
        for key in path:
            if key not in node.table:
                break
            node = node.table[key]
        return node

    def has(self, *path: str) -> bool:
        """Whether something was written at ``path``."""
        node = self
        for key in path:
            if key not in node.table:
                return False
            node = node.table[key]
        return True

    def child(self, key: str, value: object) -> "Node":
        """A node that takes this one's place in the file, for a value that was not written but follows from it."""
        return Node(value, self.file, self.line, joined(self.where, key))

    def having(self, value: object) -> "Node":
        """The same place with another value."""
        return replace(self, value=value)


class Faults:
    """The faults found so far; each is kept once."""

    def __init__(self) -> None:
        self._found: dict[Fault, None] = {}

    def add(self, node: Node, what: str, hint: str = "") -> None:
        """Something is wrong with ``node``."""
        self._found[Fault(node.file, node.line, node.where, what, hint)] = None

    def add_file(self, file: str, what: str, line: int = 0) -> None:
        """Something is wrong with a file as a whole, or with its syntax at a line."""
        self._found[Fault(file, line, "", what)] = None

    def __len__(self) -> int:
        return len(self._found)

    def listed(self, first: str) -> list[Fault]:
        """All of them, by line, those of the file ``first`` first."""
        return sorted(self._found, key=lambda fault: (fault.file != first, fault.file, fault.line, fault.where))


def joined(where: str, key: str) -> str:
    """The dotted name of ``key`` inside ``where``."""
    if not key or not key.replace("-", "_").replace("_", "a").isalnum() or not key.isascii():
        key = '"' + key.replace("\\", "\\\\").replace('"', '\\"').encode("unicode_escape").decode() + '"'
    return f"{where}.{key}" if where else key


def placed(value: object, lines: Mapping[KeyPath, int], file: str, path: KeyPath = (), where: str = "") -> Node:
    """``value``, decoded from ``file``, as nodes; ``lines`` are from :func:`hasup.config.locate.key_lines`."""
    line = next((lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in lines), 1)
    inside: object = value
    if isinstance(value, dict):
        inside = {k: placed(v, lines, file, (*path, k), joined(where, k)) for k, v in value.items()}
    elif isinstance(value, list):
        inside = [placed(v, lines, file, (*path, n), f"{where}[{n}]") for n, v in enumerate(value)]
    return Node(inside, file, line, where)
