"""What ``hasup top`` shows and what its keys mean."""

import pytest

from hasup.cli.terminal import Terminal
from hasup.cli.topview import KEYS, View, Wish, keys
from tests.support.cli import program, replica, status

PLAIN = Terminal(colour=False, unicode=True, width=100, interactive=True)
SHOP = status(
    program("web", *(replica(f"web.{n}") for n in range(1, 31))), program("db", replica("db.1", wanted=False))
)


def view(document: dict = SHOP) -> View:
    made = View()
    made.take(document)
    return made


def test_the_choice_moves_and_stops_at_the_ends():
    top = view()
    assert top.chosen == "web.1"
    for key, chosen in (("k", "web.1"), ("j", "web.2"), ("\x1b[B", "web.3"), ("\x1bOA", "web.2")):
        assert top.press(key) is None
        assert top.chosen == chosen
    for _ in range(50):
        top.press("j")
    assert top.chosen == "db.1"


def test_the_choice_stays_on_its_replica_or_goes_to_the_first():
    top = view()
    top.press("j")
    top.take(status(program("db", replica("db.1")), program("web", replica("web.1"), replica("web.2"))))
    assert top.chosen == "web.2"
    top.take(status(program("db", replica("db.1"))))
    assert top.chosen == "db.1"
    top.take(status())
    assert (top.chosen, top.press("r"), top.press("j")) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "wish"),
    [
        ("\r", Wish("why", "web.1")), ("l", Wish("logs", "web.1")), ("r", Wish("restart", "web.1")),
        ("s", Wish("stop", "web.1")), ("q", Wish("quit", "")), ("x", None),
    ],
)  # fmt: skip
def test_wishes(key, wish):
    assert view().press(key) == wish


def test_what_is_not_wanted_is_started():
    top = view(status(program("db", replica("db.1", "stopped", False, wanted=False))))
    assert top.press("s") == Wish("start", "db.1")


def test_the_screen_is_full_and_the_choice_is_on_it():
    top = view()
    for presses in (0, 5, 20, 30):
        for _ in range(presses):
            top.press("j")
        lines = top.lines(SHOP, PLAIN, 0.0, 12)
        assert len(lines) == 12
        [marked] = [line for line in lines if line.startswith("\x1b[7m")]
        assert top.chosen in marked
        assert lines[-1] == KEYS


def test_a_message_until_the_next_key():
    top = view()
    top.message = "restart web.1: asked for"
    assert top.lines(SHOP, PLAIN, 0.0, 12)[-1] == "restart web.1: asked for"
    top.press("x")
    assert top.lines(SHOP, PLAIN, 0.0, 12)[-1] == KEYS


def test_keys_are_told_apart():
    assert keys("j\x1b[Bq\x1b") == ["j", "\x1b[B", "q", "\x1b"]
