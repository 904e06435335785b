"""docs/benchmarks.md has a part for each benchmark, between two comments; the rest of the page is written by hand."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def put(part: str, text: str) -> None:
    """Replace one part of the page; raises SystemExit when the page has no such part."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    page, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text.strip()}\n{end}",
        PAGE.read_text(),
        flags=re.S,
    )
    if count != 1:
        raise SystemExit(f"{PAGE} has no place for it: {begin} … {end}")
    PAGE.write_text(page)
