"""What all tests share."""

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms of the suites too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="a long form: run it with --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _own_surroundings() -> None:
    """What the surroundings of the tests say to hasup is not meant for the hasups that the tests start."""
    for name in ("NOTIFY_SOCKET", "STATE_DIRECTORY", "HASUP_CONFIG", "HASUP_ONLY", "LISTEN_FDS", "WATCHDOG_USEC"):
        os.environ.pop(name, None)
