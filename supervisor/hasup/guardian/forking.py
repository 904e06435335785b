"""Fork, straight into a cgroup where the kernel can.

A child that moves itself makes the kernel wait for every processor (about 10 ms); one that is born there costs nothing.
``clone3`` has no wrapper in Python, so it is called by number, between what Python does before and after its own fork.
"""

import ctypes
import os
import signal
from typing import Final

_CLONE3: Final = 435  # the same number on all architectures that Python runs on
_CLONE_INTO_CGROUP: Final = 0x2_0000_0000


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
