import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hasup.protocol import control
from hasup.protocol.control import BadRequest, ControlError, FrameTooLong, Lines, Request, parse_request


def test_a_request_is_read() -> None:
    line = b'{"jsonrpc": "2.0", "id": 7, "method": "stop", "params": {"names": ["web"]}}'
    assert parse_request(line) == Request(7, "stop", {"names": ["web"]})


def test_params_may_be_left_out_and_a_notification_has_no_id() -> None:
    assert parse_request(b'{"jsonrpc": "2.0", "method": "status"}') == Request(None, "status", {})


@pytest.mark.parametrize(
    ("line", "code", "request_id", "message"),
    [
        (b"{", control.PARSE_ERROR, None, "not JSON: Expecting property name enclosed in double quotes"),
        (b"\xff", control.PARSE_ERROR, None, "not UTF-8"),
        (b"[" * 200_000, control.PARSE_ERROR, None, "nested too deeply"),
        (b"9" * 5000, control.PARSE_ERROR, None, "not JSON: Exceeds the limit"),
        (b'{"id": NaN}', control.PARSE_ERROR, None, "not JSON: NaN is no JSON"),
        (b"7", control.INVALID_REQUEST, None, "a request is a JSON object"),
        (b"[{}]", control.INVALID_REQUEST, None, "batches are not supported"),
        (b'{"method": "status", "id": 3}', control.INVALID_REQUEST, 3, 'jsonrpc must be "2.0"'),
        (b'{"jsonrpc": "2.0", "id": 3}', control.INVALID_REQUEST, 3, "method is missing"),
        (b'{"jsonrpc": "2.0", "id": null, "method": "x"}', control.INVALID_REQUEST, None, "id is a string or"),
        (b'{"jsonrpc": "2.0", "id": true, "method": "x"}', control.INVALID_REQUEST, None, "id is a string or"),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "x"}', control.INVALID_REQUEST, None, "id is a string or"),
        (b'{"jsonrpc": "2.0", "id": "a", "method": "x", "params": []}', control.INVALID_PARAMS, "a", "params are"),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(
    line: bytes, code: int, request_id: str | int | None, message: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(line)
    assert (caught.value.code, caught.value.request) == (code, request_id)
    assert caught.value.message.startswith(message)


@given(st.binary(max_size=300))
def test_any_line_is_a_request_or_a_bad_one(line: bytes) -> None:
    try:
        request = parse_request(line)
    except BadRequest:
        return
    assert isinstance(request.method, str)


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)), st.lists(st.integers(1, 60)))
def test_lines_come_out_whole_however_they_come_in(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cutter = Lines(40)
    found = []
    for cut in [*cuts, len(stream) or 1]:
        chunk, stream = stream[:cut], stream[cut:]
        cutter.feed(chunk)
        while (line := cutter.next()) is not None:
            found.append(line)
    assert found == lines


def test_a_line_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    lines = Lines(10)
    lines.feed(b"x" * 10 + b"\n")
    assert lines.next() == b"x" * 10
    lines.feed(b"x" * 11 + b"\n")
    with pytest.raises(FrameTooLong):
        lines.next()


def test_an_endless_line_is_noticed_before_its_end() -> None:
    lines = Lines(10)
    lines.feed(b"x" * 11)
    with pytest.raises(FrameTooLong):
        lines.next()


def test_an_error_survives_the_way() -> None:
    sent = control.encode(control.failure(1, ControlError("no such program", exit_code=4)))
    error = control.error_of(control.decode(sent))
    assert error is not None
    assert (error.message, error.code, error.exit_code) == ("no such program", control.FAILED, 4)


@pytest.mark.parametrize("error", [{}, {"code": "x"}, {"data": None}, {"data": {"exit": "4"}}])
def test_a_misshapen_error_is_still_an_error(error: dict[str, object]) -> None:
    found = control.error_of({"error": error})
    assert found is not None
    assert found.exit_code == 1


def test_text_that_is_no_unicode_can_be_sent() -> None:
    sent = control.encode(control.result(1, {"path": "\udcff"}))
    assert json.loads(sent)["result"] == {"path": "\udcff"}
