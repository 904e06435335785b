"""Options from a command line, put over those of a file: ``programs.web.heartbeat.timeout=2s``."""

from collections.abc import Sequence
from functools import reduce
from typing import Final

from hasup.config.locate import KeyPath
from hasup.config.merge import merged
from hasup.config.node import Faults, Node, placed

_PLACE: Final = "command line"
_NO_LINES: Final[dict[KeyPath, int]] = {(): 0}


def put_over(root: Node, settings: Sequence[str], faults: Faults) -> Node:
    """``root`` with each of ``settings``; one that is no ``PATH=VALUE`` is a fault."""
    tables = [_table(setting, faults) for setting in settings]
    return reduce(lambda under, over: merged(placed(over, _NO_LINES, _PLACE), under), tables, root)


def _table(setting: str, faults: Faults) -> dict[str, object]:
    """The setting as the tables that a file would have."""
    import tomli

    path, equals, text = setting.partition("=")
    try:
        keys = list(_keys(tomli.loads(f"{path} = 0"))) if equals else []
    except tomli.TOMLDecodeError:
        keys = []
    if not keys:
        faults.add_file(_PLACE, f"{setting!r} is not of the form programs.web.replicas=5")
        return {}
    try:
        value: object = tomli.loads(f"value = {text}")["value"]
    except tomli.TOMLDecodeError:  # a word, for which nobody wants to type two layers of quotes
        value = text
    for key in reversed(keys):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def _keys(table: dict[str, object]) -> Sequence[str]:
    """The only path in a table."""
    keys = []
    inside: object = table
    while isinstance(inside, dict) and len(inside) == 1:
        key, inside = next(iter(inside.items()))
        keys.append(key)
    return keys
