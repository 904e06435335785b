"""The state directory of a hasup that is about to start: ours alone, locked, clear of what a dead one left."""

import fcntl
import json
import os
import socket
import stat
import time
from typing import Any, Final

from hasup.cli.errors import USAGE, Failure
from hasup.control.client import SOCKET_NAME, address

LOCK_NAME: Final = "lock"
INSTANCE_NAME: Final = "instance.json"
_BACKLOG: Final = 128
_NEVER_LINKS: Final = (LOCK_NAME, "logs", "journal.db", "journal.db-wal", "journal.db-shm")


def prepare(path: str) -> None:
    """Make the directory, or see that it is safe to use: a directory of our own, closed to others."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.stat(path)
        if found.st_uid != os.geteuid():
            raise Failure(f"{path} belongs to user {found.st_uid}, not to you; name another state_dir", USAGE)
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(path, 0o700)
        for name in _NEVER_LINKS:
            if _is_link(os.path.join(path, name)):
                raise Failure(f"{path}/{name} is a symbolic link, and hasup writes through none: remove it")
        os.makedirs(os.path.join(path, "logs"), mode=0o700, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Failure(f"{path} is in the way: state_dir must be a directory", USAGE) from None
    except OSError as error:
        raise Failure(f"can't use the state directory {path}: {(error.strerror or str(error)).lower()}") from error


def lock(path: str) -> int | None:
    """An inheritable descriptor that holds the lock; None when another process holds it."""
    fd = os.open(os.path.join(path, LOCK_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.set_inheritable(fd, True)
    return fd


def deleted_under(path: str) -> int | None:
    """The pid of a guardian that holds a lock file of this name which somebody has deleted since, or None."""
    deleted = os.path.realpath(os.path.join(path, LOCK_NAME)) + " (deleted)"
    for pid in filter(str.isdigit, os.listdir("/proc")) if os.path.isdir("/proc/self") else ():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                is_guardian = b"hasup.guardian" in file.read()
            if is_guardian and any(
                os.readlink(f"/proc/{pid}/fd/{fd}") == deleted for fd in os.listdir(f"/proc/{pid}/fd")
            ):
                return int(pid)
        except OSError:  # it is gone, or somebody else's
            continue
    return None


def is_locked(path: str) -> bool:
    """Whether a hasup, or what is left of one, holds the lock."""
    try:
        fd = os.open(os.path.join(path, LOCK_NAME), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def listen(path: str) -> int:
    """An inheritable descriptor of the listening control socket. Only the holder of the lock may call this."""
    directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket is never there with another mode than 0600
    try:
        where = address(path, directory)
        try:
            os.unlink(SOCKET_NAME, dir_fd=directory)
        except FileNotFoundError:
            pass
        listener.bind(where)
        listener.listen(_BACKLOG)
    finally:
        os.umask(before)
        os.close(directory)
    fd = listener.detach()
    os.set_inheritable(fd, True)
    return fd


def read_instance(path: str) -> dict[str, Any] | None:
    """What the hasup before this one wrote of itself, or None."""
    try:
        with open(os.path.join(path, INSTANCE_NAME), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("instance"), str) else None


def write_instance(path: str, instance: str, pid: int) -> None:
    """Write, in one step, who runs here: for the next start, should this one leave anything behind."""
    text = json.dumps({
        "instance": instance, "boot_id": boot_id(), "guardian_pid": pid, "guardian_start": _start_of(pid),
    })  # fmt: skip
    target = os.path.join(path, INSTANCE_NAME)
    with open(new_file(f"{target}.new"), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{target}.new", target)


def new_file(path: str) -> int:
    """A descriptor of a file made anew, for appending, mode 0600, whatever was there before."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def new_instance() -> str:
    """32 hexadecimal digits that no hasup had before."""
    return os.urandom(16).hex()


def boot_id() -> str:
    """Which boot of the machine this is; pids and start times mean something within one only."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


def _start_of(pid: int) -> int | None:
    """When it started, in clock ticks since boot: field 22 of its stat, counted after the name."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def wait_until_free(path: str, deadline: float) -> bool:
    """Wait until nobody holds the lock any more; false when somebody still does at ``deadline`` (monotonic)."""
    while is_locked(path):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)  # the kernel tells nobody when a lock is free, and blocking for it would delay the next start
    return True
