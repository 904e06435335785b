"""Durations, sizes and percentages, as they are written and as they are held."""

import math
import re

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_NUMBER = r"([0-9]{1,20}(?:\.[0-9]{1,9})?)"
DURATION_PATTERN = rf"^{_NUMBER}({'|'.join(_DURATION)})$"
SIZE_PATTERN = rf"^{_NUMBER} ?({'|'.join(_SIZE)})$"
PERCENT_PATTERN = rf"^{_NUMBER} ?%$"

LONGEST = 10 * 366 * 86400.0  # seconds; a longer duration is a slip
LARGEST = 2**60  # bytes


def duration(value: object) -> float:
    """Seconds, from ``"250ms"`` or a number of seconds; raises ValueError."""
    number = _plain(value)
    if number is None:
        match = _match(DURATION_PATTERN, value)
        number = float(match[1]) * _DURATION[match[2]]
    if not 0 <= number <= LONGEST:
        raise ValueError(value)
    return number


def size(value: object) -> int:
    """Bytes, from ``"512MiB"`` or a number of bytes; raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        match = _match(SIZE_PATTERN, value)
        step = _SIZE[match[2]]
        number = int(match[1]) * step if match[1].isdigit() else round(float(match[1]) * step)
    if not 0 <= number <= LARGEST:
        raise ValueError("out of range")
    return number


def percent(value: object) -> float:
    """Percent, from ``"80%"``; raises ValueError."""
    return float(_match(PERCENT_PATTERN, value)[1])


def duration_text(seconds: float) -> str:
    """The shortest way to write a duration, exact to a millisecond: ``"1.5s"``, ``"10m"``."""
    milliseconds = round(seconds * 1000)
    if milliseconds != seconds * 1000 and abs(milliseconds - seconds * 1000) > 1e-6:
        return _number_text(seconds) + "s"
    for unit, length in reversed(_DURATION.items()):
        step = round(length * 1000)
        if milliseconds and milliseconds % step == 0 and (unit != "ms" or milliseconds < 1000):
            return f"{milliseconds // step}{unit}"
    return _number_text(seconds) + "s"


def size_text(number: int) -> str:
    """The shortest exact way to write a size: ``"512MiB"``, ``"10MB"``, ``"1023B"``."""
    exact = [(number // step, unit) for unit, step in _SIZE.items() if len(unit) > 1 and number and not number % step]
    if not exact:
        return f"{number}B"
    count, unit = min(exact, key=lambda pair: (pair[0], pair[1].lower()))
    return f"{count}{'kB' if unit == 'KB' else unit}"


def percent_text(number: float) -> str:
    """``"99.9%"``."""
    return _number_text(number) + "%"


def _number_text(number: float) -> str:
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _plain(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    if not 0 <= value <= LONGEST:  # before float(), which an enormous integer would overflow
        raise ValueError("out of range")
    return float(value)


def _match(pattern: str, value: object) -> re.Match[str]:
    match = re.match(pattern, value) if isinstance(value, str) else None
    if match is None or (isinstance(value, str) and value.endswith("\n")):
        raise ValueError(value)
    return match
