"""What the process table says: who belongs to a replica, and what its processes use."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from hasup.guardian import cgroups
from hasup.guardian.kernelfiles import read_small
from hasup.guardian.tree import Process, environ_has, process_table, read_process

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_DEEPEST = 64  # a chain of parents longer than this is not followed


class Usage(NamedTuple):
    """What a tree uses. ``cpu_ticks`` maps each process (pid and start) to its ticks so far, so that those that come
    and go tell; ``cpu_s`` is the processor time of a cgroup so far, of those that have gone as well.
    """

    memory_bytes: int
    threads: int
    open_files: int | None
    cpu_ticks: dict[tuple[int, int], int]
    cpu_s: float | None = None

    @property
    def processes(self) -> int:
        """How many there are."""
        return len(self.cpu_ticks)


def belongs(main_pid: int, pid: int, access: str, *, cgroup: str | None, uid: int) -> bool:
    """Whether process ``pid`` (of user ``uid``) may speak for the replica whose main process is ``main_pid``.

    ``access`` is notify_access. A sender that can't be placed, since it is gone already or no descriptor is left to
    look with, is believed when its user is the replica's own; so is an orphan that was started with the replica's
    HASUP_SLOT (docs/decisions/0004). Pid 0 is the kernel's word for a process outside of this pid namespace.
    """
    if pid == main_pid:
        return True
    if access == "main" or pid <= 0:
        return False
    try:
        process = read_process(pid)
        if process is not None:
            return (
                main_pid in (process.session, process.group)
                or (cgroup is not None and _is_within(pid, cgroup))
                or _descends(process, main_pid)
                or (uid == _owner(main_pid) and _is_marked_as(main_pid, pid))
            )
    except OSError:  # no descriptors left, say
        pass
    return uid == _owner(main_pid)


def _descends(process: Process, ancestor: int) -> bool:
    above: Process | None = process
    for _ in range(_DEEPEST):
        if above is None or above.parent <= 1:
            return False
        if above.parent == ancestor:
            return True
        above = read_process(above.parent)
    return False


def _is_marked_as(main_pid: int, pid: int) -> bool:
    """Whether a process was started with the main process's HASUP_INSTANCE and HASUP_SLOT in its environment."""
    with open(f"/proc/{main_pid}/environ", "rb") as file:
        entries = [entry.decode("utf-8", "surrogateescape") for entry in file.read().split(b"\0")]
    marks = [entry for entry in entries if entry.startswith(("HASUP_INSTANCE=", "HASUP_SLOT="))]
    return len(marks) == 2 and environ_has(pid, *marks)


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _is_within(pid: int, folder: str) -> bool:
    """Whether a process is in a cgroup or in one below it."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), "")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(f"{mount}{path}/".startswith(f"{folder}/") for mount in cgroups.mounts())


class Table:
    """One look at the process table, shared by all that are measured with it. What can't be looked up (no descriptors
    left, say) raises OSError.
    """

    def __init__(self) -> None:
        self._children: dict[int, list[int]] | None = None
        self._sessions: dict[int, list[int]] = {}

    def tree(self, pid: int, cgroup: str | None) -> list[int]:
        """The processes of a replica."""
        if cgroup is not None:
            return cgroups.members(cgroup)
        if self._children is None:
            processes = process_table().values()
            self._children = {}
            for process in processes:
                self._children.setdefault(process.parent, []).append(process.pid)
                self._sessions.setdefault(process.session, []).append(process.pid)
        found = {pid, *self._sessions.get(pid, ())}
        pending = list(found)
        while pending:
            fresh = [child for child in self._children.get(pending.pop(), ()) if child not in found]
            found.update(fresh)
            pending += fresh
        return list(found)


def usage(pids: Iterable[int], *, files: bool = False, cgroup: str | None = None) -> Usage:
    """What these processes use together; those that are gone count for nothing. ``files``: count descriptors too.
    ``cgroup`` is that of their own, if they have one.

    Raises OSError when it can't be told (no descriptors left, say), which never means "nothing".
    """
    memory = threads = 0
    descriptors = 0 if files else None
    ticks: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            fields = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            if fields[0] in (b"Z", b"X"):
                continue
            opened = len(os.listdir(f"/proc/{pid}/fd")) if descriptors is not None else 0
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:  # another user's, and hasup is not root: unknown rather than too few
            descriptors, opened = None, 0
        ticks[pid, int(fields[19])] = int(fields[11]) + int(fields[12])
        threads += int(fields[17])
        memory += int(fields[21]) * _PAGE
        if descriptors is not None:
            descriptors += opened
    return Usage(memory, threads, descriptors, ticks, None if cgroup is None else cgroups.processor_s(cgroup))


def proportional(pids: Iterable[int]) -> int | None:
    """Resident bytes of these processes, where what several share counts once (PSS); None where it can't be told.

    The kernel walks all their memory for this, and may have to wait for a process in the middle of a page fault: it is
    not asked about those that wait for a disk.
    """
    total = 0
    for pid in pids:
        try:
            state = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0]
            if state == b"D":
                return None
            if state in (b"Z", b"X"):
                continue
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                total += next((int(line.split()[1]) for line in file if line.startswith(b"Pss:")), 0) * 1024
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:  # another user's, or a kernel without it
            return None
    return total


def cpu_percent(before: Usage, after: Usage, seconds: float) -> float | None:
    """Processor time between two looks, 100 for one core; never negative.

    Exact where the kernel counts for a whole cgroup. Else a process that is new counts from its own beginning, and what
    one that ended had used since the first look is not counted: its parent is told its time as a whole, when it waits
    for it, and that would look like a sudden burst.
    """
    if seconds <= 0:
        return None
    if before.cpu_s is not None and after.cpu_s is not None:
        return round(100 * max(0.0, after.cpu_s - before.cpu_s) / seconds, 1)
    used = sum(max(0, ticks - before.cpu_ticks.get(key, 0)) for key, ticks in after.cpu_ticks.items())
    return round(100 * used / _TICK / seconds, 1)


def lifetime_percent(now: Usage, age: float) -> float | None:
    """Processor time over a whole life of ``age`` seconds."""
    used = now.cpu_s if now.cpu_s is not None else sum(now.cpu_ticks.values()) / _TICK
    return round(100 * used / age, 1) if age > 0 else None


def age_of(pid: int) -> float | None:
    """Seconds since the process started, by the kernel's clock; None when it is gone. Raises OSError."""
    process = read_process(pid)
    if process is None:
        return None
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0]) - process.started / _TICK
