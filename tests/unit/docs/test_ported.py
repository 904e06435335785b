"""Each row of the page on other supervisors' cases names tests, and these exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/explanation/ported.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| case |")]
FOLDERS = ("", "tests/unit/core/ported/", "tests/unit/core/", "tests/unit/config/")
HERE = sorted((ROOT / "tests/unit/core/ported").glob("test_*.py"))


def source(name: str) -> str:
    """The text of a test file that the page names, with or without its folder."""
    return next(path.read_text() for folder in FOLDERS if (path := ROOT / folder / name).is_file())


@pytest.mark.parametrize("row", ROWS)
def test_a_case_is_shown_by_tests_that_exist(row):
    named = re.findall(r"`([^`]+)`", row.split(" | ")[1])
    text = "".join(path.read_text() for path in HERE)
    assert named, row
    for one in named:
        file, _, name = one.rpartition("::") if "::" in one else ("", "", one)
        if one.endswith(".py"):
            assert "def test_" in source(one)
        elif one.startswith("test_") or file:
            text = source(file) if file else text
            assert f"\ndef {name}(" in text, f"there is no {one}"
