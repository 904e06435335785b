"""The options of each table, as :mod:`hasup.model.spec` defines them: the source of all that is generated."""

import functools
import types
import typing
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from hasup.model.option import Option
from hasup.model.spec import Limit, Table

REQUIRED: Final = msgspec.NODEFAULT


class Described(msgspec.Struct, frozen=True):
    """One option: ``name`` as it is written, ``attribute`` as the model has it, ``type`` without ``None``."""

    name: str
    attribute: str
    type: Any
    option: Option
    default: Any
    long: type[Table] | None = None  # the table that may be written in its place

    @property
    def table(self) -> type[Table] | None:
        """The table that this option is, if it is one."""
        return self.type if isinstance(self.type, type) and issubclass(self.type, Table) else None

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


@functools.cache
def described(table: type[Table], option: Option | None = None) -> dict[str, Described]:
    """The options of ``table`` by the names they are written with; ``option`` is that of the table itself.

    The bound of a :class:`Limit` is read as the limit's own option says (memory in bytes, age in seconds).
    """
    found = {}
    hints = typing.get_type_hints(table, include_extras=True)
    for field in msgspec.structs.fields(table):
        own, plain = _option(hints[field.name])
        if table is Limit:
            own = _limit_option(field.name, option)
        if own is not None:
            long = _option(hints[own.long])[1] if own.long is not None else None
            found[field.encode_name] = Described(field.encode_name, field.name, plain, own, _default(field), long)
    return found


def choices(kind: Any) -> tuple[str, ...]:
    """The words that a type allows, none when it is no choice of words."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a union is made of, without ``None``; a single one for any other type."""
    if get_origin(kind) not in (types.UnionType, typing.Union):
        return (kind,)
    return tuple(member for member in get_args(kind) if member is not type(None))


def _option(hint: Any) -> tuple[Option | None, Any]:
    option = None
    if get_origin(hint) is Annotated:
        hint, option = get_args(hint)[:2]
    members = alternatives(hint)
    return option, members[0] if len(members) == 1 else hint


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _limit_option(attribute: str, limit: Option | None) -> Option:
    assert limit is not None
    if attribute == "above":
        return Option("The bound", limit.kind, minimum=limit.minimum, maximum=limit.maximum)
    if attribute == "for_":
        return Option("Only after so long above it without a break", "duration", minimum=0)
    return Option("restart, warn, stop, or signal:NAME", "action")
