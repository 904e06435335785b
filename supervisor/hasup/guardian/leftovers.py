"""Ends what a hasup left behind whose guardian and core died at the same time. Nothing else knows of it by then."""

import os
import signal
import time

from hasup.guardian import cgroups
from hasup.guardian.tree import Process, environ_has, process_table, send

_PATIENCE_S = 10.0


def end_leftovers(instance: str) -> list[int]:
    """SIGKILL to every process of the instance until none is left; returns their pids.

    They are known by ``HASUP_INSTANCE`` in their environment, by the instance's cgroup, and by descent from one of
    these. This process and its ancestors are spared. Gives up after ten seconds on what does not die.
    """
    folders = _folders(instance)
    ended: set[int] = set()
    deadline = time.monotonic() + _PATIENCE_S
    while (found := _members(instance, folders)) and time.monotonic() < deadline:
        ended |= found.keys()
        for folder in folders:
            cgroups.kill(folder)
        for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped, nothing forks between the look and the kill
            for process in found.values():
                send(process.pid, number, process.started)
        time.sleep(0.01)  # their end is not ours to wait for: they are nobody's children here
    for folder in folders:
        cgroups.remove_tree(folder)
    return sorted(ended)


def _folders(instance: str) -> list[str]:
    """The instance's cgroup, wherever it was made."""
    name = os.path.basename(cgroups.instance_folder("", instance))
    return [
        os.path.join(path, name) for mount in cgroups.mounts() for path, folders, _ in os.walk(mount) if name in folders
    ]


def _members(instance: str, folders: list[str]) -> dict[int, Process]:
    table = process_table()
    found = {pid for pid in table if environ_has(pid, f"HASUP_INSTANCE={instance}")}
    for folder in folders:
        found |= set(cgroups.members(folder)) & table.keys()
    grown = 0
    while grown != len(found):
        grown = len(found)
        found |= {process.pid for process in table.values() if process.parent in found}
    return {pid: table[pid] for pid in found - _spared(table)}


def _spared(table: dict[int, Process]) -> set[int]:
    """Those who ask, not to be ended: the current process and its ancestors."""
    spared = {os.getpid()}
    parent = os.getppid()
    while parent in table and parent not in spared:
        spared.add(parent)
        parent = table[parent].parent
    return spared
