"""Looks how far the wall clock is ahead of the monotonic one, for what runs on a schedule: somebody may set it, and
the monotonic clock stands still while the machine sleeps.
"""

import time

from hasup.model.events import WallClock
from hasup.runtime.engine import Engine

_INTERVAL_S = 10.0
_SET_S = 0.25  # it is not called set for less: it is adjusted all the time


class WallClockWatch:
    """Tells the decisions how the clocks stand, at first and when the wall clock was set."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._offset: float | None = None

    def look(self) -> None:
        """Look now, and again and again."""
        offset = time.time() - self._engine.loop.now()
        if self._offset is None or abs(offset - self._offset) > _SET_S:
            self._offset = offset
            self._engine.feed(WallClock(offset))
        self._engine.loop.call_later(_INTERVAL_S, self.look)
