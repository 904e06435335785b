"""Start a child, and hear what comes of its exec."""

import errno
import os
import select
from typing import Any

from hasup.guardian import cloning
from hasup.guardian.forking import MOST, NO_CGROUP, fork
from hasup.guardian.steps import Plan, plan


class Report:
    """Reads what a child says before its exec. ``cause``: why there was none, "" when there was."""

    __slots__ = ("_borrowed", "_plan", "_said", "fd")

    def __init__(self, fd: int, of: Plan | None = None, borrowed: cloning.Memory | None = None) -> None:
        self.fd = fd
        self._plan = of
        self._borrowed = borrowed
        self._said = b""

    def read(self) -> bool:
        """Take what is there; true when that is all."""
        try:
            while piece := os.read(self.fd, MOST):
                self._said += piece
        except BlockingIOError:
            return False
        self._borrowed = None  # the child has memory of its own, or is no more
        return True

    @property
    def cause(self) -> str:
        """Why the child could not be started."""
        if self._said.startswith(cloning.MARK):
            return cloning.cause(self._said, self._plan)
        return self._said.lstrip(NO_CGROUP).decode("utf-8", "replace")

    @property
    def in_cgroup(self) -> bool:
        """Whether the child is in its cgroup, if it was to enter one."""
        return not self._said.startswith(NO_CGROUP)


def spawn(
    order: dict[str, Any], fds: list[tuple[int, int]], cgroup: str | None, files: tuple[int, int] | None = None
) -> tuple[int, Report]:
    """Start a child as the ``spawn`` order says; ``fds`` are ``(target, source)``, -1 for /dev/null.

    ``files`` is its RLIMIT_NOFILE, unless the order has one. Returns its pid and the report on its exec, whose
    descriptor is the caller's to close. Raises OSError when the machine has no process or descriptor left. The child
    leads a session of its own.
    """
    report, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    lifted: list[int] = []
    try:
        todo = plan(order, fds, files, told, lifted)
        pid, borrowed = cloning.clone(todo, cgroup) or (fork(todo, cgroup), None)
    except OSError:
        os.close(report)
        raise
    finally:
        for fd in (told, *lifted):
            os.close(fd)
    return pid, Report(report, todo._replace(env={}), borrowed)


def fork_failure(error: OSError) -> str:
    """The words for a fork that failed."""
    if error.errno == errno.EAGAIN:
        return "this user or machine has no process left (see: ulimit -u, pids.max)"
    if error.errno == errno.ENOMEM:
        return "there is no memory left for another process"
    return f"cannot fork: {os.strerror(error.errno or 0).lower()}"


def complain(text: str) -> None:
    """Say something on hasup's stderr, where there is nobody else to tell; never wait for one who does not read it."""
    data = f"hasup: guardian: {text}\n".encode("utf-8", "backslashreplace")[: select.PIPE_BUF]
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    try:
        if any(mask & select.POLLOUT for _, mask in poller.poll(0)):  # a ready pipe has room for PIPE_BUF
            os.write(2, data)
    except OSError:
        pass
