"""What a child does between its birth and its exec, decided before it is born.

Whichever way it comes into the world (``cloning``, ``forking``), it goes through this list; so it works nothing out by
itself, and both ways do the same.
"""

import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

CAUGHT = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Ignored by Python, or by whoever started hasup (nohup, a shell's background jobs).
_IGNORED = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
_MAX_FDS = 1 << 20
_INHERITED = dict(os.environ)


class Step(NamedTuple):
    """A call, named as Python names it, and the stage that it belongs to when it fails."""

    stage: str
    call: str
    arguments: tuple[Any, ...]


# Nothing ignored, nothing caught, nothing blocked: what came in meanwhile takes effect here.
_SIGNALS = (
    *(Step("exec", "signal", (int(number), int(signal.SIG_DFL))) for number in (*CAUGHT, *_IGNORED)),
    Step("exec", "pthread_sigmask", (int(signal.SIG_SETMASK), ())),
)


class Plan(NamedTuple):
    """All that a child does. ``pid_env``: variables that hold its own pid; ``report``: where it says why not."""

    order: dict[str, Any]
    steps: list[Step]
    argv: list[str]
    env: dict[str, str]
    pid_env: tuple[str, ...]
    programs: list[str]  # where the program may be
    report: int

    @property
    def is_searched(self) -> bool:
        """Whether the program is looked for, in several places, rather than named by its path."""
        return self.programs != self.argv[:1]


def plan(
    order: dict[str, Any], fds: list[tuple[int, int]], files: tuple[int, int] | None, report: int, lifted: list[int]
) -> Plan:
    """The plan of a ``spawn`` order; descriptors that it needs until the child is born are added to ``lifted``."""
    report = _above(report, _floor(fds), lifted)
    steps = [*_descriptors(fds, report, lifted), *_limits(order, files), *_identity(order), *_SIGNALS]
    env = _environment(order)
    pid_env = tuple(order.get("pid_env") or ())
    return Plan(order, steps, order["argv"], env, pid_env, _programs(order["argv"][0], env), report)


def _floor(fds: list[tuple[int, int]]) -> int:
    """Above all targets."""
    return max([2, *(target for target, _ in fds)]) + 1


def _above(fd: int, floor: int, lifted: list[int]) -> int:
    """The descriptor, or one like it where it is in the way of a target; that is added to ``lifted``."""
    if fd < floor:
        fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor)
        lifted.append(fd)
    return fd


def _descriptors(fds: list[tuple[int, int]], report: int, lifted: list[int]) -> Iterator[Step]:
    """A session of its own, the descriptors at their targets, and all others closed but ``report``.

    Sources are above all targets first, so that none is overwritten before its turn.
    """
    yield Step("prepare", "setsid", ())
    floor = _floor(fds)
    sources = dict(fds)
    lifted.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    null = _above(lifted[-1], floor, lifted)
    for target in range(floor):
        if target in sources:
            source = sources[target]
            source = null if source < 0 else _above(source, floor, lifted)
            yield Step("prepare", "dup2", (source, target))
        elif target < 3:
            yield Step("prepare", "dup2", (null, target))
        else:
            yield Step("prepare", "closerange", (target, target + 1))
    if floor < report:
        yield Step("prepare", "closerange", (floor, report))
    yield Step("prepare", "closerange", (report + 1, _MAX_FDS))


def _limits(order: dict[str, Any], files: tuple[int, int] | None) -> Iterator[Step]:
    if files is not None:
        yield Step("limits", "setrlimit", (resource.RLIMIT_NOFILE, tuple(files)))
    for name, soft, hard in order.get("rlimits") or ():
        yield Step("limits", "setrlimit", (getattr(resource, f"RLIMIT_{name.upper()}", None), (soft, hard)))
    if order.get("nice") is not None:
        yield Step("limits", "setpriority", (os.PRIO_PROCESS, 0, order["nice"]))


def _identity(order: dict[str, Any]) -> Iterator[Step]:
    for key, call in (("groups", "setgroups"), ("gid", "setgid"), ("uid", "setuid"), ("umask", "umask")):
        if order.get(key) is not None:
            yield Step("user", call, (order[key],))
    if order.get("directory"):
        yield Step("directory", "chdir", (order["directory"],))


def _environment(order: dict[str, Any]) -> dict[str, str]:
    env: dict[str, str | None] = _INHERITED | (order.get("env") or {})
    return {name: value for name, value in env.items() if value is not None}


def _programs(program: str, env: dict[str, str]) -> list[str]:
    """Where it may be: as it says, or in the folders of the PATH of its own environment."""
    if "/" in program:
        return [program]
    return [os.path.join(folder or ".", program) for folder in env.get("PATH", os.defpath).split(os.pathsep)]
