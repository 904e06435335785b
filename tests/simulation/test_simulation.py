"""Thousands of histories of the decision core in a simulated world."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.simulation.world import World

HISTORIES = 10_000


def run(seed: int) -> World:
    """One history; a failure says how to replay it."""
    world = World(random.Random(seed))
    try:
        world.run()
    except AssertionError as error:
        replay = f"replay it: World(random.Random({seed})).run()"
        pytest.fail(f"history {seed} at {world.now:.4f} s: {error!r}; {replay}\n{world.story()}")
    return world


@pytest.mark.timeout(400)
def test_ten_thousand_histories():
    events = sum(run(seed).events for seed in range(HISTORIES))
    print(f"\n{HISTORIES} histories, {events} events")
    assert events > 20 * HISTORIES


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_histories_that_hypothesis_draws_and_shrinks(chance):
    world = World(chance)
    try:
        world.run(steps=6)
    except AssertionError:
        note(world.story())
        raise


_DIGEST = """
import random, zlib
from tests.simulation.world import World
for seed in range(60):
    world = World(random.Random(seed))
    world.run()
    print(zlib.crc32(repr((world.trail, world.blobs)).encode()))
"""


def test_a_seed_replays_the_same_history_in_another_process():
    """No decision hangs on the order of a set, which differs from one process to the next."""
    root = Path(__file__).resolve().parents[2]
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            cwd=root,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'supervisor'}:{root}"},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().split()) == 60
