"""Secrets are kept out of what is shown: in arguments by the names of options, in text by the values of variables."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

MASK = "***"
_SHORTEST = 6  # a shorter value would be found all over the text by chance

_STRONG = r"(?:pass(?:word|wd|phrase)|secret|tokens?|credentials?|api[-_]?key)"  # also at the end of a longer word
_WEAK = r"(?:pass|pwd|auth|key)"  # only as a word of its own; PWD itself is no secret
_SECRET = rf"(?:\w*?{_STRONG}|(?:[\w.-]*[-_.])?{_WEAK})"
_NAME = re.compile(rf"(?i)(?:^|[-_.]){_SECRET}(?:$|[-_.])")
_URL = re.compile(r"\b([a-zA-Z][\w+.-]{0,20}://[^\s:/@]{0,200}):[^\s@/]{1,200}@")
_VALUE = r"""("[^"]*"|'[^']*'|[^\s"'-][^\s"']*)"""
_OPTION = re.compile(rf"(?<![\w.-])(--?[\w.-]+)(=|\s+){_VALUE}")
_ASSIGNMENT = re.compile(rf"(?<![\w.-])(\w+)(=){_VALUE}")
_LONGEST_NAME = 100


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret, as far as its name tells: DB_PASSWORD, --api-key."""
    return name != "PWD" and _NAME.search(name.lstrip("-")[:_LONGEST_NAME]) is not None


def arguments(words: Iterable[str]) -> list[str]:
    """The words of a command, with the values of options that sound secret and passwords in URLs masked."""
    shown: list[str] = []
    hide_next = False
    for word in words:
        name, equals, _ = word.partition("=")
        if hide_next and not word.startswith("-"):
            shown.append(MASK)
        elif equals and is_secret(name) and " " not in word:
            shown.append(f"{name}={MASK}")
        else:
            shown.append(text(word) if " " in word else _URL.sub(rf"\1:{MASK}@", word))
        hide_next = word.startswith("-") and not equals and is_secret(word)
    return shown


def text(line: str) -> str:
    """A command line in one string, masked in the same way."""
    for pattern in (_OPTION, _ASSIGNMENT):
        line = pattern.sub(_masked, line)
    return _URL.sub(rf"\1:{MASK}@", line)


def _masked(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}{MASK}" if is_secret(match[1]) else match[0]


def values(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that sound secret, longest first, so that none is masked in part."""
    found = {value for name, value in environment.items() if is_secret(name) and len(value) >= _SHORTEST}
    return sorted(found, key=len, reverse=True)


def without(lines: Iterable[str], secrets: list[str]) -> list[str]:
    """The lines without these values, and without passwords in URLs."""
    cleaned = []
    for line in lines:
        for secret in secrets:
            line = line.replace(secret, MASK)
        cleaned.append(_URL.sub(rf"\1:{MASK}@", line))
    return cleaned
