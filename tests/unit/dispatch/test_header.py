"""The PROXY protocol, byte for byte."""

import pytest

from hasup.dispatch import header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
FOUR = (("192.168.0.1", 56324), ("192.168.0.11", 443))
SIX = (("2001:db8::1", 56324, 0, 0), ("2001:db8::2", 443, 0, 0))
MAPPED = (("::ffff:192.168.0.1", 56324, 0, 0), ("::ffff:192.168.0.11", 443, 0, 0))


@pytest.mark.parametrize(
    ("ends", "line"),
    [
        (FOUR, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
        (SIX, b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"),
        (MAPPED, b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"),
        ((SIX[0], MAPPED[1]), b"PROXY TCP6 2001:db8::1 ::ffff:192.168.0.11 56324 443\r\n"),
        ((("::1", 1, 0, 0), ("::ffff:1", 65535, 0, 0)), b"PROXY TCP6 ::1 ::ffff:1 1 65535\r\n"),
        (("", "/run/web.sock"), b"PROXY UNKNOWN\r\n"),
        (("", b"\0abstract"), b"PROXY UNKNOWN\r\n"),
    ],
)
def test_version_1(ends, line):
    assert header.v1(*ends) == line


def test_the_longest_line_fits_into_what_receivers_take_at_least():
    longest = ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 0, 0)
    assert len(header.v1(longest, longest)) <= 107


@pytest.mark.parametrize(
    ("ends", "rest"),
    [
        (FOUR, "21 11 000c c0a80001 c0a8000b dc04 01bb"),
        (MAPPED, "21 11 000c c0a80001 c0a8000b dc04 01bb"),
        (SIX, "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dc04 01bb"),
        (
            (SIX[0], MAPPED[1]),
            "21 21 0024 20010db8000000000000000000000001 00000000000000000000ffffc0a8000b dc04 01bb",
        ),
        (("", "/run/web"), "20 00 0000"),
        ((b"\0ab", "/run/web"), "20 00 0000"),
    ],
)
def test_version_2(ends, rest):
    assert header.v2(*ends) == SIGNATURE + bytes.fromhex(rest)


def test_of_hasups_own():
    assert {"v1": b"PROXY UNKNOWN\r\n", "v2": SIGNATURE + bytes.fromhex("20 00 0000")} == header.OWN
