"""Who is in a cgroup's folder, and in those below it."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from hasup.guardian import cgroups


@pytest.fixture
def folder() -> Iterator[str]:
    path = f"{cgroups.own_folder()}/hasup-test-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield path
    cgroups.remove_tree(path)
    assert not os.path.exists(path)


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
