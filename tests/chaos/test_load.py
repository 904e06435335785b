"""Kills of everything under load, by benchmarks/chaos_load.py: what is lost is what a killed process had in hand."""

import subprocess
import sys

import pytest

from tests.e2e.harness import ROOT, needs

MINUTES = 1


@pytest.mark.long
@pytest.mark.chaos
@pytest.mark.timeout(300)
@needs("wrk")
@pytest.mark.parametrize("options", [[], ["--dispatchers", "2"], ["--mode", "share"]], ids=["proxy", "two", "share"])
def test_every_failure_is_explained_by_a_kill(options):
    argv = [sys.executable, ROOT / "benchmarks/chaos_load.py", "--minutes", str(MINUTES), *options]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
