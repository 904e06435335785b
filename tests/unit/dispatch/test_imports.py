"""What the dispatcher does not import: each costs memory in every one of them."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "supervisor"


def test_only_what_it_needs():
    code = "import sys, hasup.dispatch.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert "hasup.dispatch.service" in loaded, done.stderr
    assert not loaded & {"typing", "socket", "selectors", "dataclasses", "logging", "asyncio", "msgspec", "ipaddress"}
