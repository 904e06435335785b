"""What a probed server may answer, in whatever pieces."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hasup.runtime.http import Answer

PIECES = st.lists(
    st.one_of(
        st.binary(max_size=50),
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Length: 3\r\n",
                b"\r\n",
                b"5\r\n",
                b"0\r\n\r\n",
            ]
        ),
    ),
    max_size=30,
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(PIECES, st.booleans())
def test_nothing_raises(pieces, wants_body):
    answer = Answer(wants_body)
    for piece in pieces:
        answer.feed(piece)
    assert answer.feed(b"")
    verdict = answer.verdict((), "x" if wants_body else None)
    assert verdict is None or isinstance(verdict, str)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5), st.integers(1, 30))
def test_a_chunked_body_is_read_to_its_end_and_no_further(chunks, step):
    """Also one whose content looks like the end of a chunked body."""
    chunks = [b"0\r\n\r\n", *chunks, b"[the end]"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    answer = Answer(wants_body=True)
    for at in range(0, len(whole), step):
        if answer.feed(whole[at : at + step]):
            break
    assert answer.verdict((), r"\[the end\]$") is None
