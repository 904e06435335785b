"""A real dispatcher, as hasup starts it, and small servers behind it."""

from collections.abc import Callable, Iterator

import pytest

from tests.process.dispatch.harness import Dispatcher


@pytest.fixture
def dispatcher() -> Iterator[Callable[..., Dispatcher]]:
    """Starts dispatchers; ends them after the test."""
    started: list[Dispatcher] = []

    def start(**settings: object) -> Dispatcher:
        started.append(Dispatcher(**settings))
        return started[-1]

    yield start
    for one in started:
        one.close()
