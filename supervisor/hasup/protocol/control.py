"""What the commands and hasup say to each other: JSON-RPC 2.0, one object a line, params by name.

Requests are bounded (:data:`MAX_FRAME`), answers are not. Errors carry ``data.exit``, the exit code that a command
ends with. There are no batches. A method that follows sends notifications ``{"method": "event", "params": …}``.

Standard library only, and cheap to import: the client pays for it at each command.
"""

import json
from typing import Any, NamedTuple, NoReturn

MAX_FRAME = 1 << 20

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
FAILED = -32000  # it was tried and did not work
NOT_ALLOWED = -32001
TOO_LARGE = -32002
BUSY = -32003
TOO_SLOW = -32004
IDLE = -32005

RequestId = str | int | None  # None: the caller is not told
Message = dict[str, Any]


class ControlError(Exception):
    """An answer that says no. ``exit_code`` is what the command ends with: 1, 2 (usage) or 4 (no such program)."""

    def __init__(self, message: str, *, code: int = FAILED, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.exit_code = exit_code


class BadRequest(ControlError):
    """A line that holds no valid request; ``request`` is its id as far as that is known."""

    def __init__(self, message: str, code: int, request: RequestId = None) -> None:
        super().__init__(message, code=code, exit_code=2)
        self.request = request


class FrameTooLong(Exception):
    """A line is longer than the limit; nothing after it can be trusted."""


class Request(NamedTuple):
    """One call. ``id`` is None for a notification, which gets no answer."""

    id: RequestId
    method: str
    params: Message


class Lines:
    """Cuts a stream of bytes into lines of at most ``limit`` bytes."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> None:
        """Add what came in."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole line without its end, or None; raises :class:`FrameTooLong`."""
        end = self._buffer.find(b"\n", self._searched)
        if end > self._limit or (end < 0 and len(self._buffer) > self._limit):
            raise FrameTooLong
        if end < 0:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line


def parse_request(line: bytes) -> Request:
    """The request in a line; raises :class:`BadRequest`."""
    message = _load(line)
    if isinstance(message, list):
        raise BadRequest("batches are not supported: send one object a line", INVALID_REQUEST)
    if not isinstance(message, dict):
        raise BadRequest("a request is a JSON object", INVALID_REQUEST)
    request = message.get("id", "")
    if isinstance(request, bool) or not isinstance(request, str | int):
        raise BadRequest("id is a string or a whole number", INVALID_REQUEST)
    if message.get("jsonrpc") != "2.0":
        raise BadRequest('jsonrpc must be "2.0"', INVALID_REQUEST, request)
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str):
        raise BadRequest("method is missing, or no string", INVALID_REQUEST, request)
    if not isinstance(params, dict):
        raise BadRequest("params are given by name, as an object", INVALID_PARAMS, request)
    return Request(request if "id" in message else None, method, params)


def _load(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BadRequest("not UTF-8", PARSE_ERROR) from None
    except RecursionError:
        raise BadRequest("nested too deeply", PARSE_ERROR) from None
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}", PARSE_ERROR) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def request(identifier: RequestId, method: str, params: Message) -> Message:
    """A call that wants an answer."""
    return {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}


def result(identifier: RequestId, value: object) -> Message:
    """The answer to a call."""
    return {"jsonrpc": "2.0", "id": identifier, "result": value}


def failure(identifier: RequestId, error: ControlError) -> Message:
    """The answer that says no."""
    detail = {"code": error.code, "message": error.message, "data": {"exit": error.exit_code}}
    return {"jsonrpc": "2.0", "id": identifier, "error": detail}


def notification(method: str, params: object) -> Message:
    """What a follower is told."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def encode(message: Message) -> bytes:
    """One line; text that is no valid Unicode travels as escapes."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The object in a line that hasup sent; raises ``ValueError`` when it is none."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a line holds one JSON object")
    return message


def error_of(message: Message) -> ControlError | None:
    """The error that an answer carries, if it does."""
    error = message.get("error")
    if not isinstance(error, dict):
        return None
    data = error.get("data")
    code, exit_code = error.get("code"), data.get("exit") if isinstance(data, dict) else None
    return ControlError(
        str(error.get("message", "no reason was given")),
        code=code if isinstance(code, int) else FAILED,
        exit_code=exit_code if isinstance(exit_code, int) else 1,
    )
