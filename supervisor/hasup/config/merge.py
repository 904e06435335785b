"""``[defaults]`` under programs: tables merge, everything else replaces."""

from typing import Final

from hasup.config.describe import described
from hasup.config.node import Node
from hasup.model.spec import Limits, Program, Table

# Of these a table has exactly one: what a program says takes the place of any other from [defaults].
PROBES: Final = {"ready": ("notify", "http", "tcp", "exec", "log"), "health": ("http", "tcp", "exec")}


def program_node(name: str, node: Node, defaults: Node | None) -> Node:
    """A program's own table in long form, over ``defaults``.

    Its list of dependencies replaces the one of ``defaults``, and what all others depend on does not wait for itself.
    """
    own = normalised(Program, node)
    if defaults is None:
        return _shell(own)
    below = _without(normalised(Program, defaults), "depends_on", (name,))
    if isinstance(node.at("depends_on").value, list):
        below = below.having({key: child for key, child in below.table.items() if key != "depends_on"})
    for table, probes in PROBES.items():
        if any(own.has(table, probe) for probe in probes):
            below = _without(below, table, probes)
    return _shell(merged(own, below))


def normalised(table: type[Table], node: Node) -> Node:
    """``node`` with every shorthand written out: ``restart = "never"`` becomes ``restart = { policy = "never" }``."""
    if not isinstance(node.value, dict):
        return node
    entries = dict(node.table)
    for name, option in described(table).items():
        child = entries.get(name)
        if child is None or option.table is None:
            continue
        if option.option.shorthand is not None and not isinstance(child.value, dict):
            entries[name] = child.having({option.option.shorthand: child})
        elif option.table is Limits:
            entries[name] = normalised(Limits, child)
    if table is Program and "depends_on" in entries:
        entries["depends_on"] = _dependencies(entries["depends_on"])
    return node.having(entries)


def _dependencies(node: Node) -> Node:
    """``["db"]``, ``{ db = "ready" }`` and ``{ db = { condition = "ready" } }`` as the last of these."""
    if isinstance(node.value, list) and all(isinstance(item.value, str) for item in node.items):
        return node.having({str(item.value): item.having({}) for item in node.items})
    long = {k: c if isinstance(c.value, dict) else c.having({"condition": c}) for k, c in node.table.items()}
    return node.having(long) if isinstance(node.value, dict) else node


def _shell(node: Node) -> Node:
    """A command for a shell is one word, which the shell splits."""
    command = node.table.get("command")
    if command is None or node.at("shell").value is not True or not isinstance(command.value, str):
        return node
    words = [command] if command.value.strip() else []
    return node.having({**node.table, "command": command.having(words)})


def _without(node: Node, table: str, keys: tuple[str, ...]) -> Node:
    inner = node.table.get(table)
    if inner is None or not isinstance(inner.value, dict):
        return node
    rest = inner.having({k: child for k, child in inner.table.items() if k not in keys})
    return node.having({**node.table, table: rest})


def merged(over: Node, under: Node) -> Node:
    """Tables merge key by key; everything else of ``over`` replaces what is ``under`` it."""
    if not isinstance(over.value, dict) or not isinstance(under.value, dict):
        return over
    entries = dict(under.table)
    for key, child in over.table.items():
        entries[key] = merged(child, entries[key]) if key in entries else child
    return over.having(entries)
