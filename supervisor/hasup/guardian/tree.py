"""Which processes belong to a slot, and how to be rid of them all.

Where the slot has a cgroup, the kernel knows. Elsewhere a process belongs to the slot when it is in the main process's
session or group, descends from one that does, was seen to do so before, or is an orphan that the guardian adopted
(it is a subreaper) and whose environment names the slot.
"""

import os
import signal
from collections.abc import Callable, Iterable, Set

from hasup.guardian import cgroups


class Process:
    """One line of the process table."""

    __slots__ = ("group", "parent", "pid", "session", "started")

    def __init__(self, pid: int, parent: int, group: int, session: int, started: int) -> None:
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.started = started


def read_process(pid: int) -> Process | None:
    """The process, or None when it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def process_table() -> dict[int, Process]:
    """All living processes by pid."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := read_process(int(name))) is not None:
            table[process.pid] = process
    return table


def environ_has(pid: int, *entries: str) -> bool:
    """Whether a process was started with all of these ``NAME=VALUE``; false when it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            present = file.read().split(b"\0")
    except OSError:
        return False
    return all(entry.encode("utf-8", "surrogateescape") in present for entry in entries)


def unknown_children(known: Set[int]) -> bool:
    """Whether this process has children besides ``known``: orphans that it adopted."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return any(int(pid) not in known for pid in file.read().split())
    except OSError:
        return True  # a kernel without this file: look closely


class Tree:
    """The processes of one run of a slot. ``marks`` are environment entries that only its processes have.

    ``known`` gives the guardian's children that are main processes or the core: never orphans of this tree.
    """

    def __init__(self, pid: int, cgroup: str | None, marks: tuple[str, ...], known: Callable[[], Set[int]]) -> None:
        self.pid = pid
        self.cgroup = cgroup
        self._marks = marks
        self._known = known
        self._seen: dict[int, int] = {}  # pid -> start time

    def is_empty(self) -> bool:
        """Whether nothing of it lives. Cheap when nothing does."""
        if self.cgroup is not None:
            return not cgroups.is_populated(self.cgroup)
        if not self._seen and not _group_lives(self.pid) and not unknown_children(self._known()):
            return True
        return not self.members()

    def members(self) -> set[int]:
        """The living processes of the tree."""
        if self.cgroup is not None:
            return set(cgroups.members(self.cgroup))
        table = process_table()
        found = {pid for pid, process in table.items() if self._is_member(process)}
        _add_descendants(found, table)
        found -= self._known() - {self.pid}
        self._seen = {pid: table[pid].started for pid in found}
        return found

    def remember(self) -> None:
        """Look at who belongs to it while its main process still lives, so that those who slip away are known."""
        if self.cgroup is None:
            self.members()

    def kill(self) -> int:
        """SIGKILL to all of it once; returns how many there were. Repeat until :meth:`is_empty`."""
        if self.cgroup is not None:
            count = len(cgroups.members(self.cgroup))
            if cgroups.kill(self.cgroup):
                return count
        found = self.members()
        for _ in range(8):  # stopped processes do not fork: a bomb is held still before it is killed
            send_all(found, signal.SIGSTOP)
            more = self.members() - found
            if not more:
                break
            found |= more
        send_all(found, signal.SIGKILL)
        return len(found)

    def _is_member(self, process: Process) -> bool:
        if self.pid in (process.session, process.group) or self._seen.get(process.pid) == process.started:
            return True
        adopted = process.parent == os.getpid() and process.pid not in self._known()
        return adopted and environ_has(process.pid, *self._marks)


def send_all(pids: Iterable[int], number: int) -> None:
    """A signal to each; those that are gone are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _add_descendants(found: set[int], table: dict[int, Process]) -> None:
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    pending = list(found)
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
