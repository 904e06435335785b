"""What differs between two configurations, and what follows from it for programs that run."""

from collections.abc import Iterator

import msgspec

from hasup.model.spec import Config, Program

# A running process has these for good: a change of one restarts the program. All others hold from now on.
NEEDS_RESTART = frozenset({
    "command", "shell", "directory", "env", "environment", "env_files", "user", "group", "umask", "nice", "rlimits",
    "port", "kind", "listen", "logs", "heartbeat", "limits.hard", "internal", "owner",
})  # fmt: skip


class Change(msgspec.Struct, frozen=True):
    """One option of a program that differs; ``None`` where it is at its default or was not there."""

    option: str
    old: object
    new: object


class Difference(msgspec.Struct, frozen=True):
    """From an old configuration to a new one. ``changed`` maps programs to what is different in them."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[Change, ...]]
    supervisor: tuple[Change, ...]
    groups: bool

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.changed or self.supervisor or self.groups)

    def restarted(self) -> tuple[str, ...]:
        """The changed programs whose processes must be replaced."""
        return tuple(
            name for name, changes in self.changed.items() if any(_needs_restart(change.option) for change in changes)
        )


def _needs_restart(option: str) -> bool:
    return any(f"{option}.".startswith(f"{name}.") for name in NEEDS_RESTART)


def difference(old: Config, new: Config) -> Difference:
    """What has to be done to get from ``old`` to ``new``."""
    both = [name for name in new.programs if name in old.programs]
    changed = {name: tuple(changes(old.programs[name], new.programs[name])) for name in both}
    return Difference(
        added=tuple(name for name in new.programs if name not in old.programs),
        removed=tuple(name for name in old.programs if name not in new.programs),
        changed={name: found for name, found in changed.items() if found},
        supervisor=tuple(changes(old.supervisor, new.supervisor)),
        groups=old.groups != new.groups,
    )


def changes(old: msgspec.Struct, new: msgspec.Struct, prefix: str = "") -> Iterator[Change]:
    """The options that differ, by their dotted names."""
    for field in msgspec.structs.fields(type(new)):
        before, after = _value(old, field.name), _value(new, field.name)
        name = prefix + field.encode_name
        if before == after or (field.name == "autoscale" and isinstance(new, Program)):
            continue
        if isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
            yield from changes(before, after, f"{name}.")
        else:
            yield Change(name, before, after)


def _value(struct: msgspec.Struct, name: str) -> object:
    """An option's value; for ``replicas`` the table, where it is one."""
    if name == "replicas" and isinstance(struct, Program) and struct.autoscale is not None:
        return struct.autoscale
    value: object = getattr(struct, name)
    return value
