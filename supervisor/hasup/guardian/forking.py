"""Fork a child, straight into a cgroup where the kernel can: for what ``cloning`` can't do, or must not.

A child that moves itself makes the kernel wait for every processor (about 10 ms); one that is born there costs nothing.
``clone3`` has no wrapper in Python, so it is called by number, between what Python does before and after its own fork.
"""

import _signal  # type: ignore[import-not-found]  # signal without enums, which cost a child a fifth of its time
import ctypes
import errno
import os
import resource
import signal
from collections.abc import Callable
from typing import Any, Final

from hasup.guardian.failure import words
from hasup.guardian.steps import CAUGHT, Plan

NO_CGROUP: Final = b"\0"  # first in a report: the child could not enter its cgroup
MOST: Final = 4000  # bytes in a report; a pipe takes them at once
_CLONE3: Final = 435  # the same number on all architectures that Python runs on
_CLONE_INTO_CGROUP: Final = 0x2_0000_0000

_Deed = tuple[str, Callable[..., Any], tuple[Any, ...]]  # in which stage, what, with what
_CALLS: Final[dict[str, Callable[..., Any]]] = {
    "setsid": os.setsid, "dup2": os.dup2, "closerange": os.closerange, "setrlimit": resource.setrlimit,
    "setpriority": os.setpriority, "setgroups": os.setgroups, "setgid": os.setgid, "setuid": os.setuid,
    "umask": os.umask, "chdir": os.chdir, "signal": _signal.signal, "pthread_sigmask": _signal.pthread_sigmask,
}  # fmt: skip


class _CloneArgs(ctypes.Structure):
    """``struct clone_args``, as of Linux 5.7."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid",
            "set_tid_size", "cgroup",
        )
    )  # fmt: skip


_python = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock meanwhile: the child needs it as it is


def fork(plan: Plan, cgroup: str | None) -> int:
    """The pid of a child that goes through the plan and executes its program. Raises OSError when there is none left.

    What is to be done was decided before: each page that a child writes to is copied first, and a Python that only
    looks at an object writes to it.
    """
    deeds = [(stage, _CALLS[call], arguments) for stage, call, arguments in plan.steps]
    # A signal that reached the child before its exec would otherwise be told to the guardian's loop, as its own.
    _signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    try:
        pid, placed = fork_into(cgroup)
        if pid == 0:
            _become(plan, deeds, None if placed else cgroup)
    finally:
        _signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
    return pid


def fork_into(cgroup: str | None) -> tuple[int, bool]:
    """As ``os.fork``: the child's pid, 0 in the child; and whether the child is in the cgroup.

    Raises OSError when the machine has no process left. Only for a process of one thread.
    """
    pid = -1 if cgroup is None else _clone(cgroup)
    return (pid, True) if pid >= 0 else (os.fork(), False)


def _clone(cgroup: str) -> int:
    """The child's pid, 0 in the child; -1 where it can't be done so, whatever the reason."""
    try:
        folder = os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    arguments = _CloneArgs(flags=_CLONE_INTO_CGROUP, exit_signal=signal.SIGCHLD, cgroup=folder)
    _python.PyOS_BeforeFork()
    pid: int = _python.syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        _python.PyOS_AfterFork_Child()
    else:
        _python.PyOS_AfterFork_Parent()
        os.close(folder)
    return pid


def _become(plan: Plan, deeds: list[_Deed], cgroup: str | None) -> None:
    """In the child: do all of it and exec, or write why not. Never returns."""
    stage = "prepare"
    try:
        if cgroup is not None and not _join(cgroup):
            os.write(plan.report, NO_CGROUP)
        for step in deeds:
            stage, deed, arguments = step
            deed(*arguments)
        for name in plan.pid_env:
            plan.env[name] = str(os.getpid())
        stage = "exec"
        _exec(plan)
    except BaseException as error:
        os.write(plan.report, words(stage, error, plan.order).encode("utf-8", "replace")[:MOST])
    finally:
        os._exit(127)


def _join(cgroup: str) -> bool:
    """Enter the cgroup; a child that can't is supervised without one."""
    try:
        fd = os.open(cgroup + "/cgroup.procs", os.O_WRONLY)
        try:
            os.write(fd, b"0")
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _exec(plan: Plan) -> None:
    """Exec the program, where it is first found to be one."""
    if not plan.is_searched:
        os.execve(plan.argv[0], plan.argv, plan.env)
    found: OSError | None = None
    for path in plan.programs:
        if not os.access(path, os.F_OK):  # far cheaper than to try
            continue
        try:
            os.execve(path, plan.argv, plan.env)
        except (FileNotFoundError, PermissionError) as error:  # its interpreter is not there; it is not executable
            found = error
    raise found or FileNotFoundError(errno.ENOENT, "not in PATH", plan.argv[0])
