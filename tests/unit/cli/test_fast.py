"""What is read without click is what click reads."""

from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.cli import fast, group
from hasup.cli.fast import Plain, parse

WORDS = ["status", "start", "stop", "-c", "--config", "-d", "--detach", "--json", "a.toml", "b", "web.2", "", "--", "-"]
WORDS += ["--config=x", "-cx", "-dc", "-h", "--no", "_"]


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("status", Plain("status", None, (), False)),
        ("start -d", Plain("start", None, (), True)),
        ("-c x start a --detach b -c y", Plain("start", "y", ("a", "b"), True)),
        ("status --json web.1", Plain("status", None, ("web.1",), True)),
    ],
)
def test_plain_lines(line: str, plain: Plain) -> None:
    assert parse(line.split()) == plain


@pytest.mark.parametrize(
    "line", ["", "stop", "start --json", "status -d", "-d start", "start -c", "start --help", "a b"]
)
def test_others_are_clicks(line: str) -> None:
    assert parse(line.split()) is None


@given(
    before=st.lists(st.sampled_from(WORDS), max_size=2),
    command=st.sampled_from(["start", "status"]),
    after=st.lists(st.sampled_from(WORDS), max_size=4),
)
def test_click_reads_the_same(before: list[str], command: str, after: list[str]) -> None:
    argv = [*before, command, *after]
    plain = fast.parse(argv)
    if plain is None:
        return
    read: list[Any] = []
    target = "starting.start" if plain.command == "start" else "statusview.show"
    with mock.patch(f"hasup.cli.{target}", lambda *arguments: read.append(arguments) or 0):
        assert group.invoke(argv) == 0
    assert read == [plain[1:]]
