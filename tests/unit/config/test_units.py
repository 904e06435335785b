import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.config import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1.5s", 1.5), (3, 3), (0.5, 0.5), (0, 0)],
)
def test_durations(text: object, seconds: float) -> None:
    assert units.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "number"),
    [("512MB", 512_000_000), ("512MiB", 512 << 20), ("512M", 512 << 20), ("1kB", 1000), ("7B", 7), ("7", 7), (9, 9)],
)
def test_sizes(text: object, number: int) -> None:
    assert units.size(text) == number


@pytest.mark.parametrize(
    "value",
    ["", "10", "s", "10 s", "-1s", "1e3s", "10s\n", "10sec", "१s", "inf", True, None, -1, math.inf, math.nan, 10**400,
     "999999999d", [], {}],
)  # fmt: skip
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError):
        units.duration(value)


@pytest.mark.parametrize("value", ["", "MB", "-1MB", "1XB", "1MB\n", 1.5, True, -1, 10**400, "999999999TB", None])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError):
        units.size(value)


@pytest.mark.parametrize("value", ["", "%", "80", "-1%", 80, 0.8, "80%\n", None])
def test_what_is_no_percentage(value: object) -> None:
    with pytest.raises(ValueError):
        units.percent(value)


@given(st.integers(0, int(units.LONGEST * 1000)))
def test_a_duration_comes_back_to_the_millisecond(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.duration(units.duration_text(seconds)) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(0, units.LARGEST))
def test_a_size_comes_back_exactly(number: int) -> None:
    assert units.size(units.size_text(number)) == number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.1, "100ms"), (1.5, "1.5s"), (60, "1m"), (90, "90s"), (86400, "1d"), (1e-4, "0.0001s")],
)
def test_durations_are_written_shortly(seconds: float, text: str) -> None:
    assert units.duration_text(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0B"), (10_000_000, "10MB"), (512 << 20, "512MiB"), (1023, "1023B")])
def test_sizes_are_written_shortly(number: int, text: str) -> None:
    assert units.size_text(number) == text
