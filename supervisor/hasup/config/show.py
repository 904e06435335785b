"""From the model back to what an operator would write, with every default filled in."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hasup.config import units
from hasup.config.describe import Described, described
from hasup.config.expand import escape
from hasup.config.walk import expands_at_load
from hasup.model.option import Kind, Option
from hasup.model.spec import Config, Program, Table

HIDDEN: Final = "***"

_SECRET_NAME = re.compile(r"SECRET|PASS(WORD|WD|PHRASE)?|TOKEN|KEY|CREDENTIAL|PRIVATE|AUTH|COOKIE|DSN", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_FORMATS: Final[dict[Kind, Callable[[Any], Any]]] = {
    "duration": units.duration_text, "size": lambda number: units.size_text(int(number)),
    "percent": units.percent_text, "octal": lambda number: f"{number:03o}",
}  # fmt: skip


def document(config: Config, *, secrets: bool) -> dict[str, Any]:
    """The configuration as it would be decoded from TOML; loading it gives the same configuration again.

    Without ``secrets``, variables and headers that look like secrets are hidden. What env_files say is not part of it.
    """
    found: dict[str, Any] = {"supervisor": _table(config.supervisor)}
    found["supervisor"].pop("include")  # what was included is here already
    found["programs"] = {name: _program(program) for name, program in config.programs.items()}
    if config.groups:
        found["groups"] = {name: _table(group) for name, group in config.groups.items()}
    return found if secrets else _hidden(found)


def toml(tables: Mapping[str, Any]) -> str:
    """A document as TOML."""
    return "\n".join(_toml_table(tables, ())).lstrip("\n") + "\n"


def written(one: Described, value: Any) -> Any:
    """A value of the model as it is written; ``None`` when nothing has to be."""
    if value is None:
        return None
    if isinstance(value, Table):
        return _table(value, one.option)
    if isinstance(value, dict):
        return {key: written(one, item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [written(one, item) for item in value]
    if one.option.kind in _FORMATS:
        return _FORMATS[one.option.kind](value)
    return int(value) if isinstance(value, float) and value.is_integer() and one.name == "above" else value


def _program(program: Program) -> dict[str, Any]:
    found = _table(program)
    found["restart"] = {"policy": program.policy, **found["restart"]}
    return found


def _table(table: Table, option: Option | None = None) -> dict[str, Any]:
    found = {}
    for one in described(type(table), option).values():
        long = getattr(table, one.option.long) if one.option.long is not None else None
        value = _table(long) if long is not None else written(one, getattr(table, one.attribute))
        if value is not None:
            found[one.name] = _escaped(value) if expands_at_load(type(table), one) else value
    return found


def _escaped(value: Any) -> Any:
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return escape(value) if isinstance(value, str) else value


def _hidden(value: Any, name: str = "", inside: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item, key, name) for key, item in value.items()}
    if inside in ("env", "headers") and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(value)):
        return HIDDEN
    return value


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = [f"{_key(k)} = {_toml_value(v)}" for k, v in table.items() if not isinstance(v, dict)]
    lines = ["", f"[{'.'.join(map(_key, path))}]", *plain] if plain else []
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml_table(value, (*path, key))
    return lines


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    # JSON's strings and numbers are TOML's, but for DEL
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)
