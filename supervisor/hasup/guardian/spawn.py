"""Fork and exec, and the words for why it failed."""

import _signal  # type: ignore[import-not-found]  # signal without enums, which cost a child a fifth of its time
import errno
import fcntl
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator
from typing import Any

from hasup.guardian.forking import fork_into

Step = tuple[str, Callable[..., Any], tuple[Any, ...]]  # in which stage, what, with what
_MAX_FDS = 1 << 20
_MAX_REPORT = 4000
_NO_CGROUP = b"\0"  # first in a report: the child could not enter its cgroup
CAUGHT = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# Ignored by Python, or by whoever started hasup (nohup, a shell's background jobs).
_IGNORED = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
_INHERITED = dict(os.environ)


class Report:
    """Reads what a child says before its exec. ``cause``: why there was none, "" when there was."""

    __slots__ = ("_said", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._said = b""

    def read(self) -> bool:
        """Take what is there; true when that is all."""
        try:
            while piece := os.read(self.fd, _MAX_REPORT):
                self._said += piece
        except BlockingIOError:
            return False
        return True

    @property
    def cause(self) -> str:
        """Why the child could not be started."""
        return self._said.lstrip(_NO_CGROUP).decode("utf-8", "replace")

    @property
    def in_cgroup(self) -> bool:
        """Whether the child is in its cgroup, if it was to enter one."""
        return not self._said.startswith(_NO_CGROUP)


def spawn(
    order: dict[str, Any], fds: list[tuple[int, int]], cgroup: str | None, files: tuple[int, int] | None = None
) -> tuple[int, Report]:
    """Start a child as the ``spawn`` order says; ``fds`` are ``(target, source)``, -1 for /dev/null.

    ``files`` is its RLIMIT_NOFILE, unless the order has one. Returns its pid and the report on its exec, whose
    descriptor is the caller's to close. Raises OSError when the machine has no process or descriptor left. The child
    leads a session of its own.
    """
    env = _environment(order)
    report, failed = os.pipe2(os.O_CLOEXEC)
    lifted: list[int] = []
    # A signal that reached the child before its exec would otherwise be told to the guardian's loop, as its own.
    _signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    try:
        told = _above(failed, _floor(fds), lifted)
        steps = [*_descriptors(fds, told, lifted), *_limits(order, files), *_identity(order), *_signals()]
        pid, placed = fork_into(cgroup)
        if pid == 0:
            _become(order, env, steps, None if placed else cgroup, told)
    except OSError:
        os.close(report)
        raise
    finally:
        _signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)
        for fd in (failed, *lifted):
            os.close(fd)
    os.set_blocking(report, False)
    return pid, Report(report)


def _become(order: dict[str, Any], env: dict[str, str], steps: list[Step], cgroup: str | None, failed: int) -> None:
    """In the child: take all steps and exec, or write why not. Never returns.

    What is to be done was decided before the fork: each page that is written to after it is copied first.
    """
    stage = "prepare"
    try:
        if cgroup is not None and not _join(cgroup):
            os.write(failed, _NO_CGROUP)
        for step in steps:
            stage, deed, arguments = step
            deed(*arguments)
        for name in order.get("pid_env") or ():
            env[name] = str(os.getpid())
        stage = "exec"
        _exec(order["argv"], env)
    except BaseException as error:
        os.write(failed, words(stage, error, order).encode("utf-8", "replace")[:_MAX_REPORT])
    finally:
        os._exit(127)


def _floor(fds: list[tuple[int, int]]) -> int:
    """Above all targets."""
    return max([2, *(target for target, _ in fds)]) + 1


def _above(fd: int, floor: int, lifted: list[int]) -> int:
    """The descriptor, or one like it where it is in the way of a target; that is added to ``lifted``."""
    if fd < floor:
        fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, floor)
        lifted.append(fd)
    return fd


def _descriptors(fds: list[tuple[int, int]], failed: int, lifted: list[int]) -> Iterator[Step]:
    """A session of its own, the descriptors at their targets, and all others closed but ``failed``.

    Sources are above all targets first, so that none is overwritten before its turn.
    """
    yield "prepare", os.setsid, ()
    floor = _floor(fds)
    sources = dict(fds)
    lifted.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    null = _above(lifted[-1], floor, lifted)
    for target in range(floor):
        if target in sources:
            source = sources[target]
            source = null if source < 0 else _above(source, floor, lifted)
            yield "prepare", os.dup2, (source, target)
        elif target < 3:
            yield "prepare", os.dup2, (null, target)
        else:
            yield "prepare", os.closerange, (target, target + 1)
    yield "prepare", os.closerange, (floor, failed)
    yield "prepare", os.closerange, (failed + 1, _MAX_FDS)


def _limits(order: dict[str, Any], files: tuple[int, int] | None) -> Iterator[Step]:
    if files is not None:
        yield "limits", resource.setrlimit, (resource.RLIMIT_NOFILE, files)
    for name, soft, hard in order.get("rlimits") or ():
        yield "limits", resource.setrlimit, (getattr(resource, f"RLIMIT_{name.upper()}", None), (soft, hard))
    if order.get("nice") is not None:
        yield "limits", os.setpriority, (os.PRIO_PROCESS, 0, order["nice"])


def _identity(order: dict[str, Any]) -> Iterator[Step]:
    for key, deed in (("groups", os.setgroups), ("gid", os.setgid), ("uid", os.setuid), ("umask", os.umask)):
        if order.get(key) is not None:
            yield "user", deed, (order[key],)
    if order.get("directory"):
        yield "directory", os.chdir, (order["directory"],)


def _signals() -> Iterator[Step]:
    """Nothing ignored, nothing caught, nothing blocked: what came in meanwhile takes effect here."""
    for number in (*CAUGHT, *_IGNORED):
        yield "exec", _signal.signal, (number, _signal.SIG_DFL)
    yield "exec", _signal.pthread_sigmask, (signal.SIG_SETMASK, ())


def _environment(order: dict[str, Any]) -> dict[str, str]:
    env: dict[str, str | None] = _INHERITED | (order.get("env") or {})
    return {name: value for name, value in env.items() if value is not None}


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


def _exec(argv: list[str], env: dict[str, str]) -> None:
    """Exec the program, found in the PATH of its own environment."""
    program = argv[0]
    if "/" in program:
        os.execve(program, argv, env)
    found: OSError | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", program)
        if not os.access(path, os.F_OK):  # far cheaper than to try
            continue
        try:
            os.execve(path, argv, env)
        except (FileNotFoundError, PermissionError) as error:  # its interpreter is not there; it is not executable
            found = error
    raise found or FileNotFoundError(errno.ENOENT, "not in PATH", program)


def words(stage: str, error: BaseException, order: dict[str, Any]) -> str:
    """Why a child could not be started, for the operator."""
    number = error.errno if isinstance(error, OSError) else None
    reason = (os.strerror(number) if number else str(error) or type(error).__name__).lower()
    program = getattr(error, "filename", None) or order["argv"][0]
    directory = order.get("directory")
    if stage == "directory":
        missing = number == errno.ENOENT
        return f"directory {directory} does not exist" if missing else f"cannot enter directory {directory}: {reason}"
    if stage == "user":
        return f"cannot become user {order.get('uid')}, group {order.get('gid')}: {reason}"
    if stage == "limits":
        return f"cannot set limits or priority: {reason}"
    if stage != "exec":
        return f"cannot prepare its start: {reason}"
    if number == errno.ENOENT:
        return _not_found(program, directory)
    if number == errno.EACCES:
        return f"{program}: permission denied (is it executable, and its folder readable, for this user?)"
    if number == errno.ENOEXEC:
        return f"{program}: not an executable format (a script needs a first line such as #!/bin/sh)"
    return f"{program}: {reason}"


def _not_found(program: str, directory: str | None) -> str:
    if "/" not in program:
        return f"command {program!r} was not found in PATH"
    path = os.path.join(directory or ".", program)
    if not os.path.exists(path):
        return f"{path} does not exist"
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        first = b""
    if first.startswith(b"#!"):
        interpreter = first[2:].split()[0].decode("utf-8", "replace") if first[2:].split() else "?"
        return f"{path}: bad interpreter: {interpreter} does not exist (in its first line)"
    return f"{path}: its loader or a library that it names does not exist"


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
