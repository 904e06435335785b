import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hasup.guardian import cgroups
from tests.process.guardian.harness import Bench, Benches, can_make_cgroups


@pytest.fixture
def start(tmp_path: Path) -> Benches:
    """Starts guardians that end with the test."""
    benches: list[Bench] = []

    def begin(**options: Any) -> Bench:
        benches.append(Bench(tmp_path, **options))
        return benches[-1]

    yield begin
    for bench in benches:
        bench.end()


@pytest.fixture
def bench(start: Callable[..., Bench]) -> Bench:
    """A guardian without cgroups."""
    return start()


@pytest.fixture(params=["no cgroup", "cgroup"])
def either(request: pytest.FixtureRequest, start: Callable[..., Bench]) -> Bench:
    """A guardian without cgroups, and one with."""
    if request.param == "cgroup" and not can_make_cgroups():
        pytest.skip("no cgroup v2 folder may be made here")
    return start(cgroup=request.param == "cgroup")


@pytest.fixture
def folder() -> Iterator[str]:
    """The folder of a new cgroup; it, and those below it, must be empty at the end."""
    path = f"{cgroups.own_folder()}/hasup-test-{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield path
    cgroups.remove_tree(path)
    assert not os.path.exists(path)
