"""Points in time as operators write them."""

from datetime import datetime

from hasup.cli.errors import USAGE, Failure
from hasup.config import units


def parse(text: str, now: float) -> float:
    """Seconds since 1970, from ``"10m"`` (so long ago), ``"2026-01-31"``, ``"2026-01-31T12:00"`` (local time) or with
    a zone (``…Z``, ``…+02:00``); Failure when it is none of these.
    """
    try:
        return now - units.duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise Failure(f"{text!r} is no time; for example 10m, 2h, 2026-01-31 or 2026-01-31T12:00", USAGE) from None
