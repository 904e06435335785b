"""From nodes to the tables of the model, by their definition alone; every fault is collected, none ends the walk."""

import os
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args, get_origin

from hasup.config import expand, readers
from hasup.config.describe import REQUIRED, Described, described
from hasup.config.faults import nearest
from hasup.config.node import Faults, Node
from hasup.config.readers import Wrong
from hasup.model.option import Option
from hasup.model.spec import RLIMITS, Limit, Listen, Program, Table

T = TypeVar("T", bound=Table)

ENVIRONMENT_NAME: Final = re.compile(r"[^=\0\s]+")
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_NOTHING: Final = object()  # no value: a fault was reported


def expands_at_load(table: type[Table], option: Described) -> bool:
    """Whether ``${NAME}`` is replaced once, from hasup's own environment, and not for each replica."""
    settled = (table, option.name) in {(Listen, "address"), (Program, "user"), (Program, "group")}
    return settled or option.option.kind == "path"


class Walker:
    """Reads nodes as tables. ``names`` are the variables that paths and addresses may use."""

    def __init__(self, faults: Faults, names: Mapping[str, str]) -> None:
        self._faults = faults
        self._names = names

    def table(
        self, kind: type[T], node: Node, given: Mapping[str, Any] | None = None, option: Option | None = None
    ) -> T | None:
        """``node`` as a ``kind``; what is wrong or not written has its default, or what ``given`` says.

        ``None`` when an option without either is missing or wrong.
        """
        if not isinstance(node.value, dict):
            self._faults.add(node, f"expected a table, got {readers.shown(node.value)}")
            return None
        options = described(kind, option)
        self._unknown(node, options)
        values = dict(given or {})
        for one in options.values():
            if one.name in node.table and one.long and isinstance(node.table[one.name].value, dict):
                values[str(one.option.long)] = self.table(one.long, node.table[one.name])
            elif one.name in node.table:
                value = self._one(kind, one, node.table[one.name])
                if value is not _NOTHING:
                    values[one.attribute] = value
            elif one.required and one.attribute not in (given or {}):
                self._faults.add(node, f"{one.name} is missing")
        if any(one.required and one.attribute not in values for one in options.values()):
            return None
        return kind(**values)

    def _unknown(self, node: Node, options: Mapping[str, Described]) -> None:
        for key, child in node.table.items():
            if key not in options:
                self._faults.add(child, "there is no such option", nearest(key, options))

    def _one(self, kind: type[Table], one: Described, node: Node) -> Any:
        expanded = self._expanded(node) if expands_at_load(kind, one) else node
        return self._value(one, expanded) if expanded is not None else _NOTHING

    def _value(self, one: Described, node: Node) -> Any:
        if one.table is not None:
            value = self.table(one.table, node, option=one.option if one.table is Limit else None)
            return _NOTHING if value is None else value
        if get_origin(one.type) is dict:
            return self._mapping(one, node)
        if get_origin(one.type) is tuple and one.option.kind != "command":
            return self._items(one, node)
        return self._leaf(one.type, one.option, node)

    def _leaf(self, kind: Any, option: Option, node: Node) -> Any:
        raw = [item.value for item in node.items] if isinstance(node.value, list) else node.value
        try:
            value = readers.read(kind, option, raw)
        except Wrong as error:
            self._faults.add(node, str(error), error.hint)
            return _NOTHING
        return os.path.abspath(os.path.join(os.path.dirname(node.file), value)) if option.kind == "path" else value

    def _items(self, one: Described, node: Node) -> Any:
        if not isinstance(node.value, list):
            self._faults.add(node, f"expected an array, got {readers.shown(node.value)}")
            return _NOTHING
        values = [self._leaf(get_args(one.type)[0], one.option, item) for item in node.items]
        return tuple(value for value in values if value is not _NOTHING)

    def _mapping(self, one: Described, node: Node) -> Any:
        if not isinstance(node.value, dict):
            self._faults.add(node, f"expected a table, got {readers.shown(node.value)}")
            return _NOTHING
        kind = get_args(one.type)[1]
        found = {}
        for key, child in node.table.items():
            if self._is_key(one.name, key, child):
                of_kind = Described(key, key, kind, one.option, REQUIRED)
                value = self._value(of_kind, child)
                if value is not _NOTHING:
                    found[key] = value
        return found

    def _is_key(self, name: str, key: str, node: Node) -> bool:
        if name == "rlimits" and key not in RLIMITS:
            self._faults.add(node, "there is no such limit", nearest(key, RLIMITS))
            return False
        names = {"env": ENVIRONMENT_NAME, "headers": HEADER_NAME}
        if name in names and not names[name].fullmatch(key):
            self._faults.add(node, "this can't be the name of a variable" if name == "env" else "is no header's name")
            return False
        return True

    def _expanded(self, node: Node) -> Node | None:
        """``node`` with its text expanded, ``None`` (and a fault) when that can't be."""
        if isinstance(node.value, list):
            items = [self._expanded(item) for item in node.items]
            return node.having([item for item in items if item is not None])
        if isinstance(node.value, dict):
            return node
        if not isinstance(node.value, str):
            return node
        try:
            return node.having(expand.expand(node.value, self._names))
        except expand.ExpandError as error:
            hint = nearest(error.name, self._names) if error.name else ""
            self._faults.add(node, f"{error} in hasup's own environment" if error.name else str(error), hint)
            return None
