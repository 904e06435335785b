"""hasup's own log: one JSON object a line, in ``logs/hasup.log``. The console shows it to people."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hasup.logs.files import LogFile


class OwnLog:
    """Writes lines; what can't be written is lost and counted, and nobody waits or fails for it."""

    def __init__(self, path: str, max_size: int, keep: int, wall: Callable[[], float] = time.time) -> None:
        self._file = LogFile(Path(path), max_size, keep, compress=True)
        self._wall = wall
        self.lost = 0

    def write(self, level: str, event: str, **fields: object) -> None:
        """One line: time, level, event and the fields that are not None."""
        now = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": now, "level": level, "event": event}
        entry |= {name: value for name, value in fields.items() if value is not None}  # type: ignore[misc]
        try:
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")
            self._file.rotate_if_due()
        except OSError:
            self.lost += 1
