"""``${NAME}`` in the strings of the configuration, and the environment that the names come from.

Called at each spawn and probe, so it imports next to nothing: whatever files the environment came from were read when
the configuration was loaded.
"""

import re
from collections.abc import Iterator, Mapping

from hasup.model.spec import Config, Program

# What hasup's own surroundings say to hasup must not reach a child as if it were meant for it.
OWN_NAMES = (
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID",
    "HASUP_GUARDIAN_FD", "HASUP_LOCK_FD", "HASUP_INSTANCE", "HASUP_PROGRAM", "HASUP_REPLICA", "HASUP_REPLICAS",
    "JOURNAL_STREAM", "INVOCATION_ID", "SYSTEMD_EXEC_PID", "STATE_DIRECTORY", "MEMORY_PRESSURE_WATCH", "HASUP_CONFIG",
    "HASUP_ONLY", "HASUP_EVENT", "HASUP_STATE", "HASUP_REASON", "HASUP_RESTARTS", "HASUP_RESULT", "HASUP_EXIT_CODE",
    "HASUP_SIGNAL",
)  # fmt: skip
# What every replica's environment has, apart from PORT.
REPLICA_NAMES = ("HASUP_PROGRAM", "HASUP_REPLICA", "HASUP_REPLICAS", "HASUP_INSTANCE")

_REFERENCE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")


class ExpandError(LookupError):
    """A name is not there, or a reference is not closed; the text says which, ``name`` is the name or ``None``."""

    def __init__(self, text: str, name: str | None = None) -> None:
        super().__init__(text)
        self.name = name


def expand(text: str, names: Mapping[str, str]) -> str:
    """``text`` with ``${NAME}`` replaced and ``$$`` made ``$``; raises :class:`ExpandError`.

    Any other ``$`` stays as it is, so that ``$NAME`` reaches a shell.
    """
    if "$" not in text:
        return text

    def replacement(match: re.Match[str]) -> str:
        name = _name(match)
        if name is None:
            return "$"
        if name not in names:
            raise ExpandError(f"there is no variable {name}", name)
        return names[name]

    return _REFERENCE.sub(replacement, text)


def references(text: str) -> Iterator[str]:
    """The names that ``text`` refers to; raises :class:`ExpandError` for a reference that is not well-formed."""
    for match in _REFERENCE.finditer(text):
        name = _name(match)
        if name is not None:
            yield name


def escape(text: str) -> str:
    """Text that :func:`expand` turns into ``text``."""
    return text.replace("$", "$$")


def environment(
    config: Config, program: Program, index: int, base: Mapping[str, str], instance: str, port: str | None
) -> dict[str, str]:
    """The environment of replica ``index`` (from 1), later over earlier.

    ``base``, then the supervisor's env_files, the program's env_files, its ``env``, and what hasup says of the
    replica. A value of ``env`` may use all of these and the values of ``env`` before it; raises :class:`ExpandError`.
    """
    own = {
        "HASUP_PROGRAM": program.name,
        "HASUP_REPLICA": str(index),
        "HASUP_REPLICAS": str(program.replicas),
        "HASUP_INSTANCE": instance,
    }
    if port is not None:
        own["PORT"] = port
    merged = {**base, **config.environment, **program.environment, **own}
    for name, value in program.env.items():
        expanded = expand(value, merged)
        if name not in own:
            merged[name] = expanded
    return merged


def replica_command(program: Program, env: Mapping[str, str]) -> tuple[str, ...]:
    """The words to execute, expanded; with ``shell`` the words of a shell. Raises :class:`ExpandError`."""
    words = tuple(expand(word, env) for word in program.command)
    return ("/bin/sh", "-c", *words) if program.shell else words


def _name(match: re.Match[str]) -> str | None:
    """The name referred to, ``None`` for ``$$``."""
    if match.group() == "${":
        raise ExpandError("${ does not begin a reference such as ${NAME}; write $${ for the characters themselves")
    return match.group(1)
