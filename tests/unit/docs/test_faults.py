"""Each row of the page on faults names tests, and these exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/explanation/faults.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| the fault |")]


@pytest.mark.parametrize("row", ROWS)
def test_a_fault_is_shown_by_tests_that_exist(row):
    cells = row.strip("| ").split(" | ")
    assert len(cells) == 3, row
    shown = re.findall(r"`([^`]+)::([^`]+)`", cells[2])
    assert shown, row
    for file, name in shown:
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"


def test_no_file_of_hostile_conditions_is_left_out():
    for path in [*(ROOT / "tests/chaos").glob("test_hostile_*.py"), ROOT / "tests/chaos/test_guardian_death.py"]:
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE):
            assert f"`tests/chaos/{path.name}::{name}`" in PAGE, f"{path.name}::{name} has no row"
