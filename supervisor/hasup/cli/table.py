"""A table that fits: first the columns that matter least go, then the last one is cut."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hasup.cli.terminal import Terminal, elide, elide_middle

_LEAST_LAST: Final = 16  # the last column is cut down to this before another goes


class Column(NamedTuple):
    """``worth``: those worth least go first; None stays always. ``longest``: where width is limited, its
    texts are cut to this or a third of the line, in their middle.
    """

    title: str
    right: bool = False
    worth: int | None = None
    longest: int | None = None
    gap: int = 2  # to the next one


class Cell(NamedTuple):
    """A text and how it is painted."""

    text: str
    styles: tuple[str, ...] = ()


def render(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], terminal: Terminal) -> list[str]:
    """Lines, the titles first."""
    texts = [[Cell(terminal.plain(cell.text), cell.styles) for cell in row] for row in rows]
    widths = [max(len(column.title), *(len(row[i].text) for row in texts)) for i, column in enumerate(columns)]
    kept = list(range(len(columns)))
    if terminal.width is not None:
        kept = _fit(columns, widths, terminal.width)
    titles = [Cell(column.title, ("dim",)) for column in columns]
    return [_line(columns, widths, kept, row, terminal) for row in (titles, *texts)]


def _fit(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """The columns that stay. Cuts the widths of those with a ``longest``, and of the last one."""
    for i, column in enumerate(columns):
        if column.longest is not None:
            widths[i] = min(widths[i], max(10, min(column.longest, room // 3)))
    kept = list(range(len(columns)))
    while True:
        last = kept[-1]
        left = room - sum(widths[i] + columns[i].gap for i in kept[:-1])
        droppable = [i for i in kept if columns[i].worth is not None]
        if left >= min(widths[last], _LEAST_LAST) or not droppable:
            widths[last] = max(1, min(widths[last], left))
            return kept
        kept.remove(min(droppable, key=lambda i: columns[i].worth or 0))


def _line(
    columns: Sequence[Column], widths: Sequence[int], kept: Sequence[int], row: Sequence[Cell], terminal: Terminal
) -> str:
    line = ""
    for i in kept:
        shorten = elide if columns[i].longest is None else elide_middle
        text = terminal.plain(shorten(row[i].text, widths[i]))
        padded = text.rjust(widths[i]) if columns[i].right else text.ljust(widths[i])
        if i == kept[-1]:
            return (line + terminal.paint(padded.rstrip(), *row[i].styles)).rstrip()
        line += terminal.paint(padded, *row[i].styles) + " " * columns[i].gap
    return line
