"""A loop to watch from, and patience."""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator

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
def no_room():
    """A context in which no descriptor can be opened."""

    @contextlib.contextmanager
    def none_left() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    return none_left


@pytest.fixture
def loop():
    turning = Turning()
    yield turning
    turning.close()
