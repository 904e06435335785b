"""What the process table says: who belongs to a replica, and what its processes use."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from hasup.guardian import cgroups
from hasup.guardian.tree import process_table, read_process

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEEPEST = 64  # a chain of parents longer than this is not followed


class Usage(NamedTuple):
    """What a tree uses. ``cpu_ticks`` maps each process to its ticks so far, so that those that come and go tell."""

    memory_bytes: int
    threads: int
    open_files: int | None
    cpu_ticks: dict[tuple[int, int], int]

    @property
    def processes(self) -> int:
        """How many there are."""
        return len(self.cpu_ticks)


def belongs(main_pid: int, pid: int, access: str, *, cgroup: str | None, uid: int) -> bool:
    """Whether process ``pid`` (of user ``uid``) may speak for the replica whose main process is ``main_pid``.

    ``access`` is notify_access. A sender that is gone already can't be placed any more: it is believed when its user
    is the replica's own (docs/decisions/0004).
    """
    if pid == main_pid:
        return True
    if access == "main":
        return False
    process = read_process(pid)
    if process is None:
        return uid == _owner(main_pid)
    if main_pid in (process.session, process.group):
        return True
    if cgroup is not None and _cgroup_of(pid).endswith(_tail(cgroup)):
        return True
    for _ in range(_DEEPEST):
        if process is None or process.parent <= 1:
            return False
        if process.parent == main_pid:
            return True
        process = read_process(process.parent)
    return False


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _cgroup_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            return next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except OSError:
        return ""


def _tail(cgroup: str) -> str:
    """The part of a folder's path that is hasup's own: ``/hasup-INSTANCE/SLOT``."""
    return "/" + "/".join(cgroup.split("/")[-2:])


class Table:
    """One look at the process table, shared by all that are measured with it."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] | None = None
        self._sessions: dict[int, list[int]] = {}

    def tree(self, pid: int, cgroup: str | None) -> list[int]:
        """The processes of a replica."""
        if cgroup is not None:
            return cgroups.members(cgroup)
        if self._children is None:
            self._children = {}
            for process in process_table().values():
                self._children.setdefault(process.parent, []).append(process.pid)
                self._sessions.setdefault(process.session, []).append(process.pid)
        found = {pid, *self._sessions.get(pid, ())}
        pending = list(found)
        while pending:
            fresh = [child for child in self._children.get(pending.pop(), ()) if child not in found]
            found.update(fresh)
            pending += fresh
        return list(found)


def usage(pids: Iterable[int], *, files: bool = False) -> Usage:
    """What these processes use together; those that are gone count for nothing. ``files``: count descriptors too."""
    memory = threads = 0
    descriptors = 0 if files else None
    ticks: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] in (b"Z", b"X"):
            continue
        ticks[pid, int(fields[19])] = int(fields[11]) + int(fields[12])
        threads += int(fields[17])
        memory += int(fields[21]) * _PAGE
        if descriptors is not None:
            descriptors += _open_files(pid)
    return Usage(memory, threads, descriptors, ticks)


def _open_files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def cpu_percent(before: Usage, after: Usage, seconds: float) -> float | None:
    """Processor time between two looks, 100 for one core; a process that is new counts from its own beginning."""
    if seconds <= 0:
        return None
    used = sum(max(0, ticks - before.cpu_ticks.get(key, 0)) for key, ticks in after.cpu_ticks.items())
    return round(100 * used / _TICK / seconds, 1)


def lifetime_percent(now: Usage, age: float) -> float | None:
    """Processor time over a whole life of ``age`` seconds."""
    return round(100 * sum(now.cpu_ticks.values()) / _TICK / age, 1) if age > 0 else None


def age_of(pid: int) -> float | None:
    """Seconds since the process started, by the kernel's clock."""
    process = read_process(pid)
    if process is None:
        return None
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0]) - process.started / _TICK
