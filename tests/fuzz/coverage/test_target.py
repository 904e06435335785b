"""The coverage-guided target runs for a while, where atheris is installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (optional)")
@pytest.mark.parametrize("runs", [20_000, pytest.param(2_000_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
@pytest.mark.parametrize("target", ["notify", "control"])
def test_no_bytes_raise(target, runs, tmp_path):
    argv = [
        sys.executable,
        str(Path(__file__).with_name("target.py")),
        target,
        f"-runs={runs}",
        "-seed=1",
        "-max_len=2048",
    ]
    path = os.pathsep.join([str(ROOT / "supervisor"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        argv, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=800
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {runs} runs" in done.stderr
