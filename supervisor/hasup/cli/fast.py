"""The command line of a plain ``hasup status``, read without click. Whatever is less than plain is click's."""

from collections.abc import Sequence
from typing import NamedTuple


class StatusArguments(NamedTuple):
    """What :func:`hasup.cli.statusview.show` takes."""

    config: str | None
    names: tuple[str, ...]
    as_json: bool


def parse_status(argv: Sequence[str]) -> StatusArguments | None:
    """The arguments of ``[-c FILE] status [-c FILE] [--json] [NAME…]``, or None when it is anything else."""
    config: str | None = None
    words: list[str] = []
    as_json = False
    rest = iter(argv)
    for word in rest:
        if word in ("-c", "--config"):
            config = next(rest, None)
            if config is None:
                return None
        elif word == "--json" and words:
            as_json = True
        elif word.startswith("-") or not word:
            return None
        else:
            words.append(word)
    if not words or words[0] != "status":
        return None
    return StatusArguments(config, tuple(words[1:]), as_json)
