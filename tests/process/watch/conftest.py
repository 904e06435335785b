"""A loop to watch from, and patience."""

import time
from collections.abc import Callable

import pytest

from hasup.loop import Loop

PATIENCE_S = 60.0


class Turning(Loop):
    """A loop that turns until something holds."""

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, what
            self.turn(0.05)


@pytest.fixture
def loop():
    turning = Turning()
    yield turning
    turning.close()
