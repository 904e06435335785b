"""The page of states is generated from the table of legal moves, and current."""

import os
from pathlib import Path

from hasup.core.transitions import MOVES, diagram
from hasup.model.state import State

PAGE = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "states.md"
_FENCE = "```mermaid\n"


def test_the_page_shows_the_moves():
    text = PAGE.read_text()
    head, _, _ = text.partition(_FENCE)
    current = f"{head}{_FENCE}{diagram()}```\n"
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(current)
    assert PAGE.read_text() == current
    assert all(f"`{state}`" in head for state in State)


def test_every_state_can_be_left_and_reached():
    assert MOVES.keys() == set(State)
    assert {new for moves in MOVES.values() for new in moves} == set(State)
