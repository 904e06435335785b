"""hasup's own log: one JSON object a line, in ``logs/hasup.log``. The console shows it to people."""

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hasup.logs.files import LogFile


class OwnLog:
    """Writes lines; what can't be written is lost, counted and told later; nobody waits or fails for it."""

    def __init__(self, path: str, max_size: int, keep: int, wall: Callable[[], float] = time.time) -> None:
        self._file = LogFile(Path(path), max_size, keep, compress=True)
        self._wall = wall
        self.lost = 0

    def write(self, level: str, event: str, **fields: object) -> None:
        """One line: time, level, event and the fields that are not None."""
        if self.lost and self._append("warning", "lost", {"reason": f"{self.lost} lines of this log were lost"}):
            self.lost = 0
        if self.lost or not self._append(level, event, fields):
            self.lost += 1

    def _append(self, level: str, event: str, fields: dict[str, object]) -> bool:
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": now, "level": level, "event": event}
        entry |= {name: value for name, value in fields.items() if value is not None}  # type: ignore[misc]
        try:
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")
        except OSError:
            return False
        with contextlib.suppress(OSError):  # it can't be rotated: it grows
            self._file.rotate_if_due()
        return True
