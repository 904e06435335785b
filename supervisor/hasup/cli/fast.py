"""The command lines of a plain ``hasup status`` and ``hasup start``, read without click. Whatever is less than plain
is click's.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

_FLAGS: Final = {"status": ("--json",), "start": ("-d", "--detach")}


class Plain(NamedTuple):
    """A command and what it takes. ``flag``: whether it has its only one."""

    command: str
    config: str | None
    names: tuple[str, ...]
    flag: bool


def parse(argv: Sequence[str]) -> Plain | None:
    """The arguments of ``[-c FILE] COMMAND [-c FILE] [FLAG] [NAME…]``, or None when it is anything else."""
    config: str | None = None
    words: list[str] = []
    flag = False
    rest = iter(argv)
    for word in rest:
        if word in ("-c", "--config"):
            config = next(rest, None)
            if not config:
                return None
        elif words and word in _FLAGS[words[0]]:
            flag = True
        elif word.startswith("-") or not word or (not words and word not in _FLAGS):
            return None
        else:
            words.append(word)
    return Plain(words[0], config, tuple(words[1:]), flag) if words else None
