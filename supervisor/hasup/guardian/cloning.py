"""A child that borrows this process's memory until its exec, so that nothing is copied: ``_child.c`` says why and how.

Here its list of steps becomes a list of system calls in memory. Where that can't be (the library was not built, another
processor, an older kernel), or must not be, the child is forked instead (``forking``): one that becomes another user
would, for a moment, let that user's processes at the memory of this one.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from hasup.guardian.failure import words
from hasup.guardian.steps import Plan, Step

MARK: Final = b"\1"  # first in what such a child reports
_LAYOUT: Final = 1  # of _child.c
_STACK: Final = 16384  # bytes; a few hundred are used
_ALIGNED: Final = 16
_NO_FD: Final = 1 << 30
_STEP: Final = struct.Struct("6q")
_FAILURE: Final = struct.Struct("3i")
_PID_DIGITS: Final = 12
_ENCODING: Final = sys.getfilesystemencoding()


class _Call(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("number", ctypes.c_long))


def _load() -> tuple[Any, dict[str, int]]:
    """The library's function and the numbers of system calls on this machine; None and {} where there is none."""
    try:
        library = ctypes.PyDLL(os.path.join(os.path.dirname(__file__), "_child.so"))
        if ctypes.c_int.in_dll(library, "hasup_layout").value != _LAYOUT:
            return None, {}
        table = (_Call * 64).in_dll(library, "hasup_calls")
    except (OSError, ValueError):
        return None, {}
    numbers = {}
    for call in table:
        if call.name is None:
            break
        numbers[call.name.decode()] = call.number
    if ctypes.PyDLL(None).syscall(numbers["close_range"], _NO_FD, _NO_FD, 0) != 0:  # a child would be lost without it
        return None, {}
    spawn = library.hasup_spawn
    spawn.argtypes = (
        ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_long,
    )  # fmt: skip
    spawn.restype = ctypes.c_long
    return spawn, numbers


_spawn, _numbers = _load()


class Memory:
    """What the child reads and its stack. Must be kept until the child has executed its program, or ended."""

    def __init__(self, size: int) -> None:
        size += _STACK
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._used = 0
        self.stack = self._base + (size - _STACK) // _ALIGNED * _ALIGNED

    def put(self, data: bytes) -> int:
        """The address of a copy."""
        start = self._used
        self._used = (start + len(data) + _ALIGNED - 1) // _ALIGNED * _ALIGNED
        self._map[start : start + len(data)] = data
        return self._base + start

    def put_texts(self, texts: list[str]) -> list[int]:
        """The addresses of copies, each with a zero at its end. Raises ValueError for one with a zero in it."""
        data = _encoded("\0".join([*texts, ""]))
        if data.count(0) != len(texts):
            raise ValueError("embedded null byte")
        sizes = [len(text) + 1 for text in (texts if data.isascii() else map(_encoded, texts))]
        return list(accumulate(sizes, initial=self.put(data)))[:-1]

    def put_pointers(self, pointers: Iterable[int]) -> int:
        """The address of an array of them, with a null at its end."""
        all_of_them = (*pointers, 0)
        return self.put(struct.pack(f"{len(all_of_them)}Q", *all_of_them))


def clone(plan: Plan, cgroup: str | None) -> tuple[int, Memory] | None:
    """The child's pid, and what it borrows; None when it has to be forked. It is in the cgroup, if one is given."""
    if _spawn is None or not all(step.call in _ENCODERS for step in plan.steps):
        return None
    try:
        memory, steps, count = _lay_out(plan)
        folder = -1 if cgroup is None else os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, TypeError, ValueError, struct.error):  # the forked one says what is wrong with it
        return None
    pid = _spawn(steps, count, plan.report, folder, memory.stack, _STACK)
    if folder >= 0:
        os.close(folder)
    return (pid, memory) if pid > 0 else None


def cause(said: bytes, plan: Plan | None) -> str:
    """Why it could not be started, for the operator, of what such a child reported."""
    _, at, number = _FAILURE.unpack(said)
    if plan is None:
        return f"it could not be started: {os.strerror(number).lower()}"
    if at < 0:
        return words("exec", FileNotFoundError(errno.ENOENT, "not in PATH", plan.argv[0]), plan.order)
    if at < len(plan.steps):
        return words(plan.steps[at].stage, OSError(number, os.strerror(number)), plan.order)
    program = plan.programs[at - len(plan.steps) - len(plan.pid_env)]
    return words("exec", OSError(number, os.strerror(number), program), plan.order)


def _lay_out(plan: Plan) -> tuple[Memory, int, int]:
    """The memory, and where in it how many steps are."""
    env = [name + "=" + value for name, value in plan.env.items() if name not in plan.pid_env]
    if "=" in "".join(plan.env) or "" in plan.env:
        raise ValueError("illegal environment variable name")
    texts = [*env, *plan.argv, *plan.programs]
    size = 4 * sum(map(len, texts)) + 32 * len(texts) + 256 * (len(plan.steps) + len(plan.pid_env)) + 4096
    memory = Memory(size)
    steps = [_ENCODERS[step.call](memory, step) for step in plan.steps]
    variables = memory.put_texts(env)
    for name in plan.pid_env:
        at = memory.put(_encoded(name) + b"=" + bytes(_PID_DIGITS))
        steps.append(_pack("write_pid", at + len(_encoded(name)) + 1))
        variables.append(at)
    environment = memory.put_pointers(variables)
    argv = memory.put_pointers(memory.put_texts(plan.argv))
    steps += [_pack("execve", path, argv, environment, plan.is_searched) for path in memory.put_texts(plan.programs)]
    return memory, memory.put(b"".join(steps)), len(steps)


def _encoded(text: str) -> bytes:
    return text.encode(_ENCODING, "surrogateescape")


def _pack(call: str, *arguments: int) -> bytes:
    return _STEP.pack(_numbers[call], *arguments, *(0,) * (5 - len(arguments)))


@lru_cache(maxsize=1024)
def _without_memory(call: str, arguments: tuple[int, ...]) -> bytes:
    return _pack(call, *arguments)


def _plain(call: str) -> Callable[[Memory, Step], bytes]:
    return lambda _, step: _without_memory(call, step.arguments)


def _close_range(_: Memory, step: Step) -> bytes:
    low, high = step.arguments
    return _without_memory("close_range", (low, high - 1))


def _limit(memory: Memory, step: Step) -> bytes:
    which, both = step.arguments
    return _pack("prlimit64", 0, which, memory.put(struct.pack("2q", *both)))


def _directory(memory: Memory, step: Step) -> bytes:
    return _pack("chdir", *memory.put_texts([step.arguments[0]]))


def _default(_: Memory, step: Step) -> bytes:
    """The signal's default is a ``struct sigaction`` of zeros."""
    return _without_memory("rt_sigaction", (step.arguments[0], _ZEROS_AT, 0, _SIGNAL_SET))


def _no_mask(_: Memory, step: Step) -> bytes:
    return _without_memory("rt_sigprocmask", (step.arguments[0], _ZEROS_AT, 0, _SIGNAL_SET))


_ZEROS = ctypes.create_string_buffer(64)
_ZEROS_AT: Final = ctypes.addressof(_ZEROS)
_SIGNAL_SET: Final = 8  # bytes, to the kernel
_ENCODERS: Final[dict[str, Callable[[Memory, Step], bytes]]] = {
    "setsid": _plain("setsid"), "dup2": _plain("dup3"), "umask": _plain("umask"), "setpriority": _plain("setpriority"),
    "closerange": _close_range, "setrlimit": _limit, "chdir": _directory, "signal": _default,
    "pthread_sigmask": _no_mask,
}  # fmt: skip
