"""What replicas used, as lines below their bars."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from hasup.cli.reportview import iso
from hasup.cli.terminal import Terminal, size
from hasup.journal.usage import Used

_SHAPES: Final = ("▁▂▃▄▅▆▇█", "_.,-=+*#")


class Curve(NamedTuple):
    """One line: the highest value in each part of the time, None where nothing is known; and its range in words."""

    label: str
    values: list[float | None]
    words: str


def curves(used: Sequence[Used], since: float, until: float, count: int) -> Iterator[Curve]:
    """Processor time and memory, as far as they are known."""
    cpu = [one for one in used if one.row.cpu is not None]
    if cpu:
        words = span([one.row.cpu or 0.0 for one in cpu], [one.row.cpu_most or 0.0 for one in cpu], percent)
        yield Curve(" cpu", highest(cpu, lambda one: one.row.cpu_most or 0.0, since, until, count), words)
    if used:
        words = span(
            [one.row.memory for one in used], [one.row.memory_most for one in used], lambda value: size(int(value))
        )
        yield Curve(" mem", highest(used, lambda one: one.row.memory_most, since, until, count), words)


def span(means: Sequence[float], most: Sequence[float], show: Callable[[float], str]) -> str:
    """``"12M to 30M"``: from the lowest mean to the highest value."""
    low, high = show(min(means)), show(max(most))
    return low if low == high else f"{low} to {high}"


def percent(value: float) -> str:
    """Of a core."""
    return f"{value:.1f}%" if value < 10 else f"{value:.0f}%"


def highest(
    used: Sequence[Used], value: Callable[[Used], float], since: float, until: float, count: int
) -> list[float | None]:
    """The highest value in each of so many equal parts of the time."""
    found: list[float | None] = [None] * count
    width = (until - since) / count
    if width <= 0:
        return found
    for one in used:
        first = max(0, int((one.at - since) / width))
        last = min(count - 1, int((one.at + one.seconds - since) / width))
        for part in range(first, last + 1):
            found[part] = max(found[part] or 0.0, value(one))
    return found


def drawn(curve: Curve, screen: Terminal) -> str:
    """From nothing to the highest value there is."""
    shapes = _SHAPES[0] if screen.unicode else _SHAPES[1]
    top = max((value for value in curve.values if value is not None), default=0.0) or 1.0
    steps = len(shapes) - 1
    return "".join(" " if value is None else shapes[round(value / top * steps)] for value in curve.values)


def document(used: Sequence[Used]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "at": iso(one.at), "seconds": one.seconds, "cpu_percent": one.row.cpu, "cpu_percent_most": one.row.cpu_most,
            "memory_bytes": one.row.memory, "memory_bytes_most": one.row.memory_most, "threads": one.row.threads,
            "processes": one.row.processes, "open_files": one.row.open_files,
        }
        for one in used
    ]  # fmt: skip
