"""What is wrong with a configuration, and where."""

import difflib
from collections.abc import Iterable, Sequence

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    ``file`` is as the operator would name it, ``line`` counts from 1 and is 0 where the file as a whole is meant,
    ``where`` is the option (``programs.web.port``) or empty, ``hint`` is what was probably meant, or empty.
    """

    file: str
    line: int
    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        where = f" {self.where}:" if self.where else ""
        hint = f" (did you mean {self.hint}?)" if self.hint else ""
        return f"{place}:{where} {self.what}{hint}"


class ConfigError(Exception):
    """The configuration can't be used; ``faults`` are all its faults, ``file`` is the file that was to be loaded."""

    def __init__(self, file: str, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.file = file
        self.faults = list(faults)


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that ``word`` is probably a slip for, or nothing."""
    return next(iter(difflib.get_close_matches(word, list(choices), n=1)), "")
