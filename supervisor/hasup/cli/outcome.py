"""What commands say about what hasup answered."""

import sys
from collections.abc import Sequence
from typing import Any

from hasup.cli.errors import FAILED, say


def report(done: str, answer: dict[str, Any]) -> int:
    """Say what was done to whom, and what failed with its reason; the exit code."""
    replicas = [replica["name"] for replica in answer.get("replicas", [])]
    failed = {replica["name"]: replica["reason"] for replica in answer.get("failed", [])}
    well = [name for name in replicas if name not in failed and ":" not in name]  # hasup's own come along unnamed
    if well:
        sys.stdout.write(f"{done} {listed(well)}\n")
    for name, reason in failed.items():
        say(f"{name} is not ready: {reason}")
    if failed:
        say("hasup goes on trying; see: hasup status")
    return FAILED if failed or not answer.get("ok", False) else 0


def listed(names: Sequence[str], most: int = 8) -> str:
    """``"web.1, web.2 and 98 more"``."""
    if len(names) <= most:
        return ", ".join(names) or "nothing"
    return f"{', '.join(names[:most])} and {len(names) - most} more"
