import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cli import Place
from tests.support.hour import write_an_hour


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    for name in ("HASUP_CONFIG", "STATE_DIRECTORY", "COLUMNS", "FORCE_COLOR", "HASUP_DEBUG", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as stack:
        yield Place(tmp_path, capsys, stack)


@pytest.fixture
def an_hour(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An hour of 31 January 2026 is in the journal; local time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    write_an_hour(place)
    yield place
    monkeypatch.undo()
    time.tzset()
