"""As much of an HTTP/1.1 client as a probe needs: one GET, its status, and the start of its body."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_ANSWER = 65_536
UNIX = "http://unix:"


class Target(NamedTuple):
    """Where a URL leads; without a ``port``, ``host`` is the path of a Unix socket."""

    host: str
    port: int | None
    path: str
    authority: str


def target(url: str) -> Target:
    """The parts of ``http://HOST:PORT/PATH``, or ``http://unix:SOCKET:/PATH`` (as nginx has it); else ValueError."""
    if url.startswith(UNIX):
        where, _, path = url.removeprefix(UNIX).partition(":/")
        return Target(where, None, f"/{path}", "localhost")
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no http:// address")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, parts.port or 80, path, parts.netloc.rpartition("@")[2])


def request(goal: Target, headers: Mapping[str, str]) -> bytes:
    """The request, with ``Connection: close``; a Host header of the operator's replaces the URL's."""
    named = {"Host": goal.authority, "User-Agent": "hasup", "Accept": "*/*", "Connection": "close"}
    known = {name.lower() for name in headers}
    lines = [f"{name}: {value}" for name, value in named.items() if name.lower() not in known]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"GET {goal.path} HTTP/1.1", *lines, "", ""]).encode("latin-1", "replace")


class Answer:
    """An answer as it comes in. ``feed`` says when enough of it is there to judge."""

    def __init__(self, wants_body: bool) -> None:
        self._wants_body = wants_body
        self._data = b""

    def feed(self, data: bytes) -> bool:
        """Add what came in (nothing: the end); true when it can be judged."""
        self._data += data[: MAX_ANSWER - len(self._data)]
        if not data or len(self._data) >= MAX_ANSWER:
            return True
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return False
        return not self._wants_body or _is_whole(head, body)

    def verdict(self, statuses: Sequence[int], pattern: str | None) -> str | None:
        """None when it is as wanted; else what is wrong, in words."""
        head, _, body = self._data.partition(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d{3})", head)
        if match is None:
            return "the answer is no HTTP" if head else "the connection was closed without an answer"
        status = int(match.group(1))
        if not (status in statuses if statuses else 200 <= status < 400):
            return f"HTTP status {status}"
        if pattern is not None and not re.search(pattern, _body(head, body)):
            return f"HTTP status {status}, but the body does not match {pattern!r}"
        return None


def _is_whole(head: bytes, body: bytes) -> bool:
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
    if length is not None:
        return len(body) >= int(length.group(1))
    return _is_chunked(head) and _chunks(body)[1]


def _is_chunked(head: bytes) -> bool:
    return re.search(rb"(?i)\r\ntransfer-encoding:\s*chunked", head) is not None


def _body(head: bytes, body: bytes) -> str:
    return (_chunks(body)[0] if _is_chunked(head) else body).decode("utf-8", "replace")


def _chunks(body: bytes) -> tuple[bytes, bool]:
    """What a chunked body holds so far, and whether that is all of it. What is no chunk ends it."""
    parts: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = re.fullmatch(rb"([0-9a-fA-F]{1,8})(?:[ \t]*;.*)?[ \t]*", body[at:end])
        if size is None or int(size[1], 16) == 0:
            return b"".join(parts), True
        at = end + 2 + int(size[1], 16) + 2
        parts.append(body[end + 2 : at - 2])
    return b"".join(parts), False
