"""Who is in a cgroup's folder, and in those below it."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from hasup.guardian import cgroups


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process.pid
        process.kill()


def test_members_are_also_those_of_folders_below(folder: str, sleeper: int) -> None:
    assert cgroups.members(folder) == []
    below = f"{folder}/a/b"
    os.makedirs(below)
    assert cgroups.members(folder) == []
    for place in (below, folder):
        with open(f"{place}/cgroup.procs", "w") as file:
            file.write(str(sleeper))
        assert cgroups.members(folder) == [sleeper]


def test_a_folder_that_is_gone_has_no_members(folder: str) -> None:
    assert cgroups.members(f"{folder}/gone") == []


def test_a_slots_folder_is_a_new_one(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """What the last run left below it is gone."""
    monkeypatch.setattr(cgroups, "own_folder", lambda: folder)
    monkeypatch.setattr(cgroups, "_step_aside", lambda _: None)
    of = cgroups.Cgroups("instance", True)
    first = of.of("web.1")
    assert first is not None
    os.makedirs(f"{first}/left/over")
    assert of.of("web.1") == first
    assert not os.path.exists(f"{first}/left")
