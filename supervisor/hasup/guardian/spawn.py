"""Start a child, and hear what comes of its exec."""

import os
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
