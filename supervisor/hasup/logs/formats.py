"""Lines with time and stream in front, or as JSON objects. Here the bytes go through Python; raw output does not."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

MAX_LINE = 65_536  # a longer line is written in pieces


class Formatter:
    """Cuts what one stream wrote into lines and formats each. ``format_`` is text or json."""

    def __init__(self, format_: str, replica: str, stream: str, wall: Callable[[], float] = time.time) -> None:
        self._json = format_ == "json"
        self._replica = replica
        self._stream = stream
        self._wall = wall
        self._partial = b""

    @property
    def waiting(self) -> bool:
        """Whether an unfinished line is held back."""
        return bool(self._partial)

    def feed(self, data: bytes) -> bytes:
        """What is to be written now."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        out = [self._line(line) for line in lines]
        while len(self._partial) > MAX_LINE:
            out.append(self._line(self._partial[:MAX_LINE]))
            self._partial = self._partial[MAX_LINE:]
        return b"".join(out)

    def flush(self) -> bytes:
        """The unfinished line, as if it had ended."""
        line, self._partial = self._partial, b""
        return self._line(line) if line else b""

    def _line(self, line: bytes) -> bytes:
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if not self._json:
            return f"{now} {self._stream} ".encode() + line + b"\n"
        entry = {
            "time": now, "replica": self._replica, "stream": self._stream,
            "line": line.decode("utf-8", "replace").rstrip("\r"),
        }  # fmt: skip
        return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
