"""The five fields of a schedule: their form, and when they come next in local time.

Where local time jumps, it goes as with Debian's cron: what would come in the hour that is left out comes right after
it, what is in the hour that comes twice comes the first time; schedules with ``*`` for the minute or the hour go on as
the clock on the wall does.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
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
    _cronsim(" ".join(fields), datetime.now(UTC))
    return " ".join(fields)


def following(schedule: str, after: float) -> float:
    """The first time of ``schedule`` later than ``after``, both in seconds since the epoch.

    One that does not come within fifty years comes in fifty years.
    """
    for at in _cronsim(schedule, datetime.fromtimestamp(after, UTC).astimezone(LOCAL)):
        if (stamp := at.timestamp()) > after:  # it goes by the clock on the wall, which may have been set back
            return stamp
    return after + timedelta(days=50 * 365).total_seconds()


def shown(at: float) -> str:
    """A time, given in seconds since the epoch, in words."""
    return datetime.fromtimestamp(at, UTC).astimezone(LOCAL).strftime("%Y-%m-%d %H:%M %z").strip()


def _cronsim(schedule: str, after: datetime) -> Iterator[datetime]:
    from cronsim import CronSim, CronSimError

    try:
        return CronSim(schedule, after)
    except CronSimError:
        raise ValueError("there is no such day") from None


class _Local(tzinfo):
    """Local time as the C library has it, by TZ or /etc/localtime, whatever form these have."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        """How far local time is ahead of UTC then."""
        assert dt is not None
        naive = dt.replace(tzinfo=None)
        return naive.replace(tzinfo=UTC) - datetime.fromtimestamp(naive.timestamp(), UTC).replace(
            microsecond=naive.microsecond
        )

    def dst(self, _dt: datetime | None) -> None:
        """Not told."""

    def tzname(self, _dt: datetime | None) -> str:
        """Not told apart."""
        return "local"

    def fromutc(self, dt: datetime) -> datetime:
        """Local time then."""
        return datetime.fromtimestamp(dt.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


LOCAL: Final = _Local()


def _is_item(item: str, lowest: int, highest: int, words: tuple[str, ...]) -> bool:
    match = _ITEM.fullmatch(item)
    if match is None or match[3] in ("0", "00"):
        return False
    bounds = [words.index(b) + lowest if b in words else int(b) if b.isdigit() else -1 for b in match.group(1, 2) if b]
    return bounds == sorted(bounds) and all(lowest <= bound <= highest for bound in bounds)
