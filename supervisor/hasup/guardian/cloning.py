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
from itertools import accumulate
from pathlib import PurePath
from typing import Any, Final

from hasup.guardian.failure import words
from hasup.guardian.steps import Plan, Step

MARK: Final = b"\1"  # first in what such a child reports
_LAYOUT: Final = 1  # of _child.c
_STACK: Final = 16384  # bytes; a few hundred are used
_ALIGNED: Final = 16
_STEP: Final = struct.Struct("6q")
_FAILURE: Final = struct.Struct("3i")
_PID_DIGITS: Final = 12
_ENCODING: Final = sys.getfilesystemencoding()


class _Call(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("number", ctypes.c_long))


def _load() -> tuple[Any, dict[str, int]]:
    """The library's function and the numbers of system calls on this machine; None and {} where there is none."""
    try:
        library = ctypes.PyDLL(str(PurePath(__file__).with_name("_child.so")))
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

    def put_texts(self, texts: list[bytes]) -> list[int]:
        """The addresses of copies, each with a zero at its end."""
        at = self.put(b"\0".join([*texts, b""]))
        return list(accumulate((len(text) + 1 for text in texts), initial=at))[:-1]

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
    settings = plan.env | dict.fromkeys(plan.pid_env, "\x00" * _PID_DIGITS)
    env = [f"{name}={value}".encode(_ENCODING, "surrogateescape") for name, value in settings.items()]
    argv = [word.encode(_ENCODING, "surrogateescape") for word in plan.argv]
    programs = [path.encode(_ENCODING, "surrogateescape") for path in plan.programs]
    _check(plan, [*argv, *programs], [*plan.env, *plan.env.values()])
    texts = sum(map(len, (*env, *argv, *programs)))
    count = len(plan.steps) + len(plan.pid_env) + len(programs)
    memory = Memory(texts + 16 * (len(env) + len(argv) + len(programs)) + (_STEP.size + 64) * count + 1024)
    steps = [_ENCODERS[step.call](memory, step) for step in plan.steps]
    variables = dict(zip(settings, memory.put_texts(env), strict=True))
    for name in plan.pid_env:
        steps.append(_pack("write_pid", variables[name] + len(name.encode(_ENCODING, "surrogateescape")) + 1))
    environment = memory.put_pointers(variables.values())
    vector = memory.put_pointers(memory.put_texts(argv))
    for path in memory.put_texts(programs):
        steps.append(_pack("execve", path, vector, environment, plan.is_searched))
    return memory, memory.put(b"".join(steps)), count


def _check(plan: Plan, words_of_it: list[bytes], settings: list[str]) -> None:
    """Raise ValueError for what no exec takes, as Python's own does."""
    if any(b"\0" in word for word in words_of_it) or any("\0" in text for text in settings):
        raise ValueError("embedded null byte")
    if any("=" in name or not name for name in plan.env):
        raise ValueError("illegal environment variable name")


def _pack(call: str, *arguments: int) -> bytes:
    return _STEP.pack(_numbers[call], *arguments, *(0,) * (5 - len(arguments)))


def _plain(call: str) -> Callable[[Memory, Step], bytes]:
    return lambda _, step: _pack(call, *step.arguments)


def _close_range(_: Memory, step: Step) -> bytes:
    low, high = step.arguments
    return _pack("close_range", low, high - 1)


def _limit(memory: Memory, step: Step) -> bytes:
    which, both = step.arguments
    return _pack("prlimit64", 0, which, memory.put(struct.pack("2q", *both)))


def _directory(memory: Memory, step: Step) -> bytes:
    [path] = memory.put_texts([os.fsencode(step.arguments[0])])
    return _pack("chdir", path)


def _default(memory: Memory, step: Step) -> bytes:
    """The signal's default: a ``struct sigaction`` of zeros."""
    return _pack("rt_sigaction", step.arguments[0], memory.put(bytes(32)), 0, 8)


def _no_mask(memory: Memory, step: Step) -> bytes:
    return _pack("rt_sigprocmask", step.arguments[0], memory.put(bytes(8)), 0, 8)


_ENCODERS: Final[dict[str, Callable[[Memory, Step], bytes]]] = {
    "setsid": _plain("setsid"), "dup2": _plain("dup3"), "umask": _plain("umask"), "setpriority": _plain("setpriority"),
    "closerange": _close_range, "setrlimit": _limit, "chdir": _directory, "signal": _default,
    "pthread_sigmask": _no_mask,
}  # fmt: skip
