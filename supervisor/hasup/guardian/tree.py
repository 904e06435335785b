"""Which processes belong to a slot, and how to be rid of them all.

Where the slot has a cgroup, the kernel knows. Elsewhere all is found from the guardian's own children, since whoever
loses its parent comes back to the guardian (it is a subreaper): the slot's main process; adopted orphans in its
session or group, or seen in the tree before, or with the slot's name in their environment; and all descendants of
these. Looking that up costs in proportion to the tree, not to the machine.

What cannot be looked up (no descriptors left, say) raises OSError, which never means "empty".
"""

import errno
import os
import signal
from collections.abc import Callable, Iterable, Set

from hasup.guardian import cgroups
from hasup.guardian.kernelfiles import read_small

_EXEC_LOOKS = 20
_ROUNDS = 8  # looks in a row, for what was forked or adopted meanwhile


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
        fields = read_small(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    threads = int(fields[17])
    if fields[0] in (b"Z", b"X") and threads <= 1:  # a main thread may end before the others
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
    present: list[bytes] = []
    try:
        for _ in range(_EXEC_LOOKS):
            with open(f"/proc/{pid}/environ", "rb") as file:
                present = file.read().split(b"\0")
            if len(present) > 1:
                break
            os.sched_yield()  # in the middle of an exec there is no environment for a moment
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return all(entry.encode("utf-8", "surrogateescape") in present for entry in entries)


def children(pid: int) -> list[int]:
    """The children of a process, zombies among them; none when it is gone."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        if not _KERNEL_LISTS_CHILDREN:
            return [process.pid for process in process_table().values() if process.parent == pid]
    return found


_KERNEL_LISTS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def has_more_children(known: int) -> bool:
    """Whether this process has more than ``known`` children: it adopted orphans. One cheap look."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return file.read().count(b" ") > known
    except FileNotFoundError:  # a kernel without this file: look closely
        return True


class Tree:
    """The processes of one run of a slot. ``marks`` are environment entries that only its processes have; with none,
    every orphan counts.

    ``known`` gives the children of the guardian that it forked and has not reaped: main processes and the core, which
    are never orphans of this tree.
    """

    def __init__(self, pid: int, cgroup: str | None, marks: tuple[str, ...], known: Callable[[], Set[int]]) -> None:
        self.pid = pid
        self.cgroup = cgroup
        self.seen: dict[int, int] = {}  # pid -> start time
        self._marks = marks
        self._known = known
        self._held: set[int] = set()

    def is_empty(self) -> bool:
        """Whether nothing of it lives. Cheap when nothing does; true only when that is certain."""
        try:
            if self.cgroup is not None:
                return not cgroups.is_populated(self.cgroup)
            if (
                self.seen.keys() <= {self.pid}
                and not _group_lives(self.pid)
                and not has_more_children(len(self._known()))
            ):
                return True
            return not self.members()
        except OSError:
            return False

    def members(self) -> set[int]:
        """The living processes of the tree; empty only when that is certain."""
        if self.cgroup is not None:
            return set(cgroups.members(self.cgroup))
        for _ in range(_ROUNDS):  # until nobody came to us while we looked: a parent may have died under our eyes
            ours = children(os.getpid())
            self.seen = _lineage(pid for pid in ours if self._is_root(pid))
            if children(os.getpid()) == ours:
                return set(self.seen)
        if not self.seen:
            raise BlockingIOError(errno.EAGAIN, "the process table does not hold still")
        return set(self.seen)

    def remember(self) -> None:
        """Look at who belongs to it while its main process still lives, so that those who slip away are known."""
        if self.cgroup is None:
            try:
                self.seen.update(_lineage([self.pid]))
            except OSError:
                pass  # it only helps to find them later

    def kill(self) -> int:
        """SIGKILL to all of it once; returns how many there were. Repeat until :meth:`is_empty`."""
        if self.cgroup is not None:
            count = len(cgroups.members(self.cgroup))
            if cgroups.kill(self.cgroup):
                return count
        for _ in range(_ROUNDS):  # stopped processes do not fork: a bomb is held still before it is killed
            found = self.members()
            new = found - self._held
            self._held = found
            if not new:
                break
            self.send(signal.SIGSTOP, new)
        else:
            return len(self._held)  # it still grows: go on holding in the next call
        self._held = set()
        self.send(signal.SIGKILL, found)
        return len(found)

    def send(self, number: int, pids: Iterable[int]) -> None:
        """A signal to these members, each checked to be who it was: its number may be somebody else's by now."""
        for pid in pids:
            if self.cgroup is not None:
                send(pid, number)
            elif pid in self.seen:
                send(pid, number, self.seen[pid])

    def _is_root(self, pid: int) -> bool:
        """Whether a child of ours is the main process or an orphan of the tree."""
        if pid == self.pid:
            return True
        if pid in self._known() or (process := read_process(pid)) is None:
            return False
        if self.pid in (process.session, process.group) or self.seen.get(pid) == process.started:
            return True
        return not self._marks or environ_has(pid, *self._marks)


def send(pid: int, number: int, started: int | None = None) -> None:
    """A signal to a process, if it lives; with ``started``, only to the one that was started then."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        process = None if started is None else read_process(pid)
        if started is None or (process is not None and process.started == started):
            signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(pidfd)


def _lineage(pids: Iterable[int]) -> dict[int, int]:
    """These processes and all their descendants that live, with their start times."""
    found: dict[int, int] = {}
    pending = list(pids)
    while pending:
        process = read_process(pending.pop())
        if process is not None and process.pid not in found:
            found[process.pid] = process.started
            pending += children(process.pid)
    return found


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
