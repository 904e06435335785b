"""The JSON Schema of the configuration, for editors: draft 2020-12, made from the definition of the options.

It says nothing of which options are required, since ``[defaults]`` and included files may provide them.
"""

from typing import Any, Final, get_args, get_origin

from hasup.config import readers, units
from hasup.config.describe import REQUIRED, Described, alternatives, choices, described
from hasup.config.show import written
from hasup.model.option import Option
from hasup.model.spec import (
    RLIMITS,
    Dependency,
    Group,
    Limit,
    Program,
    SupervisorOptions,
    Table,
)

Json = dict[str, Any]

_NAMES: Final = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
_PLAIN: Final[dict[Any, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> Json:
    """The whole schema."""
    programs = {"type": "object", "propertyNames": {"pattern": _NAMES}, "additionalProperties": _reference(Program)}
    groups = {"type": "object", "propertyNames": {"pattern": _NAMES}, "additionalProperties": _reference(Group)}
    definitions: dict[str, Json] = {}
    for table in (SupervisorOptions, Program, Group, Dependency):
        _define(table, None, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hasup.toml",
        "description": "Configuration of the process supervisor hasup",
        "type": "object",
        "properties": {
            "supervisor": _reference(SupervisorOptions),
            "defaults": {"description": "Any option of a program", **_reference(Program)},
            "programs": programs,
            "groups": groups,
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _reference(table: type[Table]) -> Json:
    return {"$ref": f"#/$defs/{table.__name__}"}


def _define(table: type[Table], option: Option | None, definitions: dict[str, Json]) -> None:
    definition = _table(table, option)
    definitions[table.__name__] = definition
    for one in described(table, option).values():
        for inner in (one.table, one.long):
            if inner is not None and inner is not Limit and inner.__name__ not in definitions:
                _define(inner, None, definitions)


def _table(table: type[Table], option: Option | None = None) -> Json:
    properties = {one.name: _property(one) for one in described(table, option).values()}
    description = (table.__doc__ or "").strip().split("\n")[0]
    return {
        "description": description, "type": "object", "properties": properties, "additionalProperties": False,
    }  # fmt: skip


def _property(one: Described) -> Json:
    found: Json = {"description": one.option.doc, **_of(one)}
    default = None if one.table is not None or one.default is REQUIRED else written(one, one.default)
    if default is not None:
        found["default"] = default
    return found


def _of(one: Described) -> Json:
    if one.long is not None:
        return {"anyOf": [_value(one.type, one.option), _reference(one.long)]}
    if one.table is not None:
        table = _table(Limit, one.option) if one.table is Limit else _reference(one.table)
        if one.option.shorthand is None:
            return table
        short = described(one.table, one.option)[one.option.shorthand]
        return {"anyOf": [table, _of(short)]}
    if get_origin(one.type) is dict:
        return _mapping(one)
    if get_origin(one.type) is tuple and one.option.kind != "command":
        return {"type": "array", "items": _value(get_args(one.type)[0], one.option)}
    return _value(one.type, one.option)


def _mapping(one: Described) -> Json:
    if one.name == "depends_on":
        long: Json = {"anyOf": [_reference(Dependency), _of(described(Dependency)["condition"])]}
        return {"anyOf": [{"type": "object", "additionalProperties": long}, _strings()]}
    if one.name == "rlimits":
        number = {"type": "integer", "minimum": -1}
        pair = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        properties = {name: {"anyOf": [number, pair]} for name in RLIMITS}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return {"type": "object", "additionalProperties": {"type": "string"}}


def _value(kind: Any, option: Option) -> Json:
    match option.kind:
        case "duration":
            return {"anyOf": [{"type": "string", "pattern": units.DURATION_PATTERN}, _bounded("number", option)]}
        case "size":
            return {"anyOf": [{"type": "string", "pattern": units.SIZE_PATTERN}, _bounded("integer", option)]}
        case "percent":
            return {"type": "string", "pattern": units.PERCENT_PATTERN}
        case "command":
            return {"anyOf": [{"type": "string"}, _strings()]}
        case "signal":
            return {"type": "string", "pattern": rf"^(SIG)?({'|'.join(readers.SIGNALS)})$"}
        case "octal":
            return {"type": "string", "pattern": "^[0-7]{1,4}$"}
        case "action":
            return {"type": "string", "pattern": rf"^({'|'.join(readers.ACTIONS)}|signal:[A-Z0-9]+)$"}
        case "source":
            return {"type": "string", "pattern": "^(notify|output|file:.+)$"}
        case _:
            return _plain(kind, option)


def _plain(kind: Any, option: Option) -> Json:
    found = []
    for member in alternatives(kind):
        words = choices(member)
        found.append({"enum": list(words)} if words else _bounded(_PLAIN[member], option))
    return found[0] if len(found) == 1 else {"anyOf": found}


def _bounded(kind: str, option: Option) -> Json:
    bounds: Json = {"type": kind}
    if option.minimum is not None:
        bounds["minimum"] = option.minimum
    if option.maximum is not None:
        bounds["maximum"] = option.maximum
    return bounds


def _strings() -> Json:
    return {"type": "array", "items": {"type": "string"}}
