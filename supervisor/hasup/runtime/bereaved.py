"""The guardian died: nobody is there to reap, spawn or keep anything. The core stops every replica and ends."""

import os
import signal
from collections.abc import Iterable

from hasup.guardian.leftovers import end_leftovers
from hasup.loop import Loop
from hasup.model.spec import Program
from hasup.model.state import Replica

_LOOK_S = 0.02


def stop_everything(loop: Loop, instance: str, replicas: Iterable[tuple[Replica, Program]]) -> list[int]:
    """Ask every replica to end, wait as long as the operator allows, then KILL what is left of the instance.

    Returns the processes that had to be killed. The loop goes on turning, so that output is still taken.
    """
    living: dict[int, float] = {}
    for replica, program in replicas:
        if replica.pid is not None and _is_ours(replica.pid, instance):
            living[replica.pid] = loop.now() + program.stop.timeout
            _send(replica.pid, getattr(signal, f"SIG{program.stop.signal}"))
    while living:
        loop.turn(_LOOK_S)
        living = {p: until for p, until in living.items() if loop.now() < until and _is_ours(p, instance)}
    return end_leftovers(instance)


def _send(pid: int, number: int) -> None:
    for each in (number, signal.SIGCONT):
        try:
            os.killpg(pid, each)  # each replica leads a session, so its pid is its group
        except (ProcessLookupError, PermissionError):
            pass


def _is_ours(pid: int, instance: str) -> bool:
    """Whether the process is still the replica: the number may belong to somebody else by now."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"HASUP_INSTANCE={instance}".encode() in file.read().split(b"\0")
    except OSError:
        return False
