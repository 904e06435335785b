"""Cgroup v2 folders for the slots, where they may be made. One folder an instance, one below it for each slot.

    FOLDER               where hasup was started; under systemd that of its unit, delegated to it
      hasup-own          the guardian and the core, where they may move there
      hasup-INSTANCE
        web.2e.1         a slot

A folder that holds processes hands no controllers to those below it (the root's does). So the guardian moves aside
when it is alone in FOLDER; then each slot has counters and bounds of its own.
"""

import errno
import os
from collections.abc import Iterable

from hasup.guardian.kernelfiles import read_small, read_whole

_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")  # unified: the v2 tree of a hybrid machine
PREFIX = "hasup-"
_LEAF = "/hasup-own"
_CONTROLLERS = ("memory", "cpu", "pids")


def own_folder() -> str | None:
    """The v2 folder that this process was started in, or None."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            path = next((line[3:].rstrip("\n") for line in file if line.startswith("0::")), None)
    except OSError:
        return None
    if path is None:
        return None
    candidates = (mount + path.rstrip("/").removesuffix(_LEAF) for mount in mounts())
    return next((folder for folder in candidates if os.path.exists(folder + "/cgroup.procs")), None)


def mounts() -> list[str]:
    """Where a v2 tree is mounted on this machine."""
    return [mount for mount in _MOUNTS if os.path.exists(mount + "/cgroup.procs")]


def instance_folder(parent: str, instance: str) -> str:
    """Where an instance's folders are."""
    return f"{parent}/{PREFIX}{instance[:12]}"


class Cgroups:
    """Makes and removes the folders of one instance; ``folder`` is None where none can be made."""

    def __init__(self, instance: str, wanted: bool) -> None:
        self._parent = parent = own_folder() if wanted else None
        self.folder = instance_folder(parent, instance) if parent else None
        if self.folder is None or not _make(self.folder):
            self.folder = None
        elif parent is not None:
            _step_aside(parent)
            for folder in (parent, self.folder):
                for controller in _CONTROLLERS:
                    _write(folder + "/cgroup.subtree_control", f"+{controller}")

    def of(self, slot: str) -> str | None:
        """A new folder for the slot, of which nothing lives; None where none can be made."""
        if self.folder is None:
            return None
        path = f"{self.folder}/{safe_name(slot)}"
        fault = _mkdir(path)
        if fault == errno.EEXIST:
            remove_tree(path)  # with its bounds, and what its last run made of it and below it
            fault = _mkdir(path)
        return path if fault in (0, errno.EEXIST) else None

    def remove(self, slot: str) -> None:
        """Give the slot's folder back, with those that its processes made below; what is not empty stays."""
        if self.folder is not None:
            remove_tree(f"{self.folder}/{safe_name(slot)}")

    def close(self) -> None:
        """Give all back."""
        if self.folder is not None:
            remove_tree(self.folder)

    def leave(self) -> None:
        """As the last one, undo having moved aside: whoever comes after finds the folder as it was."""
        leaf = f"{self._parent}{_LEAF}"
        if self._parent is not None and _words(leaf + "/cgroup.procs") == {str(os.getpid())}:
            for controller in _CONTROLLERS:
                _write(f"{self._parent}/cgroup.subtree_control", f"-{controller}")
            _write(f"{self._parent}/cgroup.procs", "0")
            _remove(leaf)


def bound(folder: str | None, files: dict[str, str]) -> list[str]:
    """Write bounds, such as ``{"memory.max": "1048576"}``, into a slot's folder; returns those that can't be."""
    return [name for name, text in files.items() if folder is None or not _write(f"{folder}/{name}", text)]


def controllers(folder: str) -> set[str]:
    """The controllers that a folder has."""
    return _words(folder + "/cgroup.controllers")


def safe_name(slot: str) -> str:
    """A slot's name as a folder's: letters, digits, ``-`` and ``_`` as they are, the rest in hexadecimal."""
    return "".join(c if (c.isalnum() and c.isascii()) or c in "-_" else f".{ord(c):x}." for c in slot)


def members(folder: str) -> list[int]:
    """The processes in a folder and all below it. Raises OSError when it cannot be told."""
    pids: list[int] = []
    for path in _with_folders_below(folder):
        try:
            pids += map(int, read_whole(path + "/cgroup.procs").split())
        except FileNotFoundError:  # removed meanwhile
            continue
        except OSError as error:
            if error.errno != errno.ENODEV:  # being removed
                raise
    return pids


def _with_folders_below(folder: str) -> Iterable[str]:
    try:
        if os.stat(folder).st_nlink == 2:  # no folder below it, which is usual, told without a walk
            return [folder]
    except FileNotFoundError:
        return []
    return (path for path, _, _ in os.walk(folder))


def is_populated(folder: str) -> bool:
    """Whether a process lives in the folder or below it. Raises OSError when it cannot be told."""
    try:
        return b"populated 1" in read_small(folder + "/cgroup.events")
    except FileNotFoundError:
        return False


def kill(folder: str) -> bool:
    """SIGKILL to all of them at once, also to those that fork meanwhile; false where the kernel has no cgroup.kill."""
    try:
        with open(folder + "/cgroup.kill", "w", encoding="ascii") as file:
            file.write("1")
    except OSError:
        return False
    return True


def processor_s(folder: str) -> float | None:
    """Processor time of all that ever ran in a folder, in seconds; None where the kernel does not tell."""
    try:
        lines = read_small(folder + "/cpu.stat").splitlines()
        return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith(b"usage_usec ")), None)
    except (FileNotFoundError, PermissionError):
        return None


def counts_ooms(folder: str) -> bool:
    """Whether the kernel counts in this folder whom it kills for want of memory."""
    return os.path.exists(folder + "/memory.events")


def oom_kills(folder: str) -> int:
    """How many processes of the folder the kernel has killed for want of memory; 0 where it does not count."""
    try:
        lines = read_small(folder + "/memory.events").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)
    except OSError:
        return 0


class SharedOoms:
    """The kernel's kills for want of memory in hasup's own folder, for slots whose folders have no counter: the memory
    controller is handed down only where no process is, and hasup is in its own.

    Each counted kill is claimed by one main process that ended by SIGKILL; what was counted before another one started
    or ended by itself was some helper's.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder if folder is not None and counts_ooms(folder) else None
        self._known = 0
        self.settle()

    def settle(self) -> None:
        """What has been counted so far is nobody's any more."""
        if self._folder is not None:
            self._known = oom_kills(self._folder)

    def claim(self) -> bool:
        """Whether there was a kill that nobody has claimed yet; it is claimed by that."""
        if self._folder is None or oom_kills(self._folder) <= self._known:
            return False
        self._known += 1
        return True


def remove_tree(folder: str) -> None:
    """Remove a folder and those below it, as far as they are empty."""
    if not _remove(folder):
        for path, _, _ in os.walk(folder, topdown=False):
            _remove(path)


def _step_aside(folder: str) -> None:
    """Move this process into a leaf, if that lets controllers be handed down, and if no other process is in its way."""
    lacking = controllers(folder) & {*_CONTROLLERS} - _words(folder + "/cgroup.subtree_control")
    alone = _words(folder + "/cgroup.procs") == {str(os.getpid())}
    if lacking and alone and _make(folder + _LEAF):
        _write(folder + _LEAF + "/cgroup.procs", "0")


def _words(path: str) -> set[str]:
    try:
        with open(path, encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True


def _make(path: str) -> bool:
    return _mkdir(path) in (0, errno.EEXIST)


def _mkdir(path: str) -> int:
    """The error's number, 0 when it was made."""
    try:
        os.mkdir(path)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _remove(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True
