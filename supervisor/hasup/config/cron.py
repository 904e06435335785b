"""The five fields of a schedule, as far as their form goes."""

import re
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# name, lowest, highest, words for the numbers from the lowest on
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_ITEM = re.compile(r"(?:\*|(\w{1,3})(?:-(\w{1,3}))?)(?:/(\d{1,2}))?", re.ASCII)


def checked(text: str) -> str:
    """``text`` with single blanks, when it is five cron fields; raises ValueError, saying which is not."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"there are {len(fields)} fields")
    for field, (name, lowest, highest, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_item(item.lower(), lowest, highest, words) for item in field.split(",")):
            raise ValueError(f"the {name} is from {lowest} to {highest}")
    return " ".join(fields)


def _is_item(item: str, lowest: int, highest: int, words: tuple[str, ...]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None or match[3] in ("0", "00"):
        return False
    bounds = [words.index(b) + lowest if b in words else int(b) if b.isdigit() else -1 for b in match.group(1, 2) if b]
    return bounds == sorted(bounds) and all(lowest <= bound <= highest for bound in bounds)
