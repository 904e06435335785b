import pytest

from hasup.config.locate import DEEPEST, TooDeep, key_lines

TEXT = (
    '''\
top = 1 # comment = 5
[a]
b.c = "x"
"quoted \\u00e9.key" = 'y'

[a.d]   # header
e = """
[not.a.header]
x = 1 \\""" y
"""
f = [
  1,  # one
  { g = 1,
    h = [ { i = 2 } ],
  },
]
when = 1979-05-27 07:32:00
after = \'\'\'
z = '''
    + """''''
[[t.u]]
n = 1
[[t.u]]
n = 2
[t.u.v]
w = 3
[[t.u.x]]
y = {}
"""
)


def test_every_key_has_its_line() -> None:
    lines = key_lines(TEXT)
    expected = {
        ("top",): 1, ("a",): 2, ("a", "b"): 3, ("a", "b", "c"): 3, ("a", "quoted é.key"): 4, ("a", "d"): 6,
        ("a", "d", "e"): 7, ("a", "d", "f"): 11, ("a", "d", "f", 0): 12, ("a", "d", "f", 1): 13,
        ("a", "d", "f", 1, "g"): 13, ("a", "d", "f", 1, "h"): 14, ("a", "d", "f", 1, "h", 0): 14,
        ("a", "d", "f", 1, "h", 0, "i"): 14, ("a", "d", "when"): 17, ("a", "d", "after"): 18,
        ("t",): 20, ("t", "u"): 20, ("t", "u", 0): 20, ("t", "u", 0, "n"): 21,
        ("t", "u", 1): 22, ("t", "u", 1, "n"): 23,
        ("t", "u", 1, "v"): 24, ("t", "u", 1, "v", "w"): 25, ("t", "u", 1, "x"): 26, ("t", "u", 1, "x", 0): 26,
        ("t", "u", 1, "x", 0, "y"): 27,
    }  # fmt: skip
    assert lines == expected


def test_windows_line_ends_count_once() -> None:
    assert key_lines("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


@pytest.mark.parametrize("text", ["[", "a", "a =", "a = [", "a = {b", "a = {b = 1", '"', "[[a]", "= 1", '"\\q" = 1'])
def test_what_is_not_toml_ends_the_search_quietly(text: str) -> None:
    assert set(key_lines("x = 1\n" + text).items()) >= {(("x",), 1)}


@pytest.mark.parametrize(
    "text",
    ["\n" + ".".join("a" * 100_000) + " = 1", "\na = " + "[" * 100_000, "\n[" + ".".join("a" * 100_000) + "]",
     "\na = " + "{a=" * 100_000],
)  # fmt: skip
def test_nesting_is_bounded_before_anything_costs_time(text: str) -> None:
    with pytest.raises(TooDeep) as caught:
        key_lines(text)
    assert caught.value.line == 2


def test_the_bound_itself_is_allowed() -> None:
    assert len(key_lines(".".join("a" * DEEPEST) + " = 1")) == DEEPEST
