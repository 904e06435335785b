"""The fixture that every end-to-end test starts from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Hasup


@pytest.fixture
def hasup(tmp_path: Path) -> Iterator[Hasup]:
    one = Hasup(tmp_path)
    yield one
    assert one.end() == [], "processes were left after hasup stop"
