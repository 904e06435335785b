"""What hasup understands and does not carry out yet: one list, so that nothing is taken in silently and ignored."""

from typing import Any, Final

from hasup.config.describe import described
from hasup.config.node import Faults, Node
from hasup.model.spec import Table

PROGRAM: Final[tuple[str, ...]] = ()
GROUP: Final[tuple[str, ...]] = ()


def check(table: Table, node: Node, unsupported: tuple[str, ...], faults: Faults) -> None:
    """A fault for each of these options that is not at its default; ``node`` is what was written for ``table``."""
    for path in unsupported:
        keys = path.split(".")
        if node.has(*keys) and _differs(table, keys):
            faults.add(node.at(*keys), "is not supported yet")


def _default(table: type[Table], option: str) -> Any:
    return described(table)[option].default


def _differs(table: Table, keys: list[str]) -> bool:
    inside: Any = table
    for key in keys[:-1]:
        inside = getattr(inside, key)
        if inside is None:  # the table around it was wrong, and is a fault of its own
            return False
    return bool(getattr(inside, keys[-1]) != _default(type(inside), keys[-1]))
