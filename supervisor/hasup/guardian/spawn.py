"""Fork and exec, and the words for why it failed."""

import errno
import os
import resource
import signal
import sys
from typing import Any

_RESET = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
_MAX_FDS = 1 << 20
_FILE_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)  # as hasup was started with: the guardian raises its own


class Spawned:
    """A child between fork and exec. ``report`` reads empty at exec, and holds a failure's words otherwise."""

    __slots__ = ("pid", "report")

    def __init__(self, pid: int, report: int) -> None:
        self.pid = pid
        self.report = report


def spawn(order: dict[str, Any], fds: list[tuple[int, int]], cgroup: str | None) -> Spawned:
    """Start a child as the ``spawn`` order says; ``fds`` are ``(target, source)``, -1 for /dev/null.

    Raises OSError when the machine has no process or descriptor left. The child leads a session of its own.
    """
    report, failed = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(report)
        os.close(failed)
        raise
    if pid == 0:
        _become(order, fds, cgroup, failed)
    os.close(failed)
    os.set_blocking(report, False)
    return Spawned(pid, report)


def _become(order: dict[str, Any], fds: list[tuple[int, int]], cgroup: str | None, failed: int) -> None:
    """In the child: set everything up and exec, or write why not. Never returns."""
    stage = "prepare"
    try:
        os.setsid()
        if cgroup is not None:
            _join(cgroup)
        env = _environment(order)
        failed = _place(fds, failed)
        stage = "limits"
        resource.setrlimit(resource.RLIMIT_NOFILE, _FILE_LIMIT)
        for name, soft, hard in order.get("rlimits") or ():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
        if order.get("nice") is not None:
            os.setpriority(os.PRIO_PROCESS, 0, order["nice"])
        stage = "user"
        _drop_to(order)
        if order.get("umask") is not None:
            os.umask(order["umask"])
        stage = "directory"
        if order.get("directory"):
            os.chdir(order["directory"])
        stage = "exec"
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _exec(order["argv"], env)
    except BaseException as error:
        os.write(failed, words(stage, error, order).encode("utf-8", "replace")[:4000])
    finally:
        os._exit(127)


def _environment(order: dict[str, Any]) -> dict[str, str]:
    env = dict(os.environ)
    for name, value in (order.get("env") or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    for name in order.get("pid_env") or ():
        env[name] = str(os.getpid())
    return env


def _join(cgroup: str) -> None:
    """Enter the cgroup; a child that can't is supervised without one."""
    try:
        fd = os.open(cgroup + "/cgroup.procs", os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)
    except OSError:
        pass


def _place(fds: list[tuple[int, int]], failed: int) -> int:
    """Put the descriptors at their targets, close all others; returns where the failure pipe is now.

    Everything is first lifted above all targets, so that no source is overwritten before its turn.
    """
    import fcntl

    floor = max(3, *(target + 1 for target, _ in fds), 3) if fds else 3
    null = os.open(os.devnull, os.O_RDWR)
    lifted = [(target, fcntl.fcntl(null if source < 0 else source, fcntl.F_DUPFD, floor)) for target, source in fds]
    failed = fcntl.fcntl(failed, fcntl.F_DUPFD_CLOEXEC, floor)
    for target, source in lifted:
        os.dup2(source, target, inheritable=True)
    wanted = {target for target, _ in fds}
    for fd in range(floor):
        if fd not in wanted:
            os.dup2(null, fd, inheritable=True) if fd < 3 else _close(fd)
    os.closerange(floor, failed)
    os.closerange(failed + 1, _MAX_FDS)
    return failed


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def _drop_to(order: dict[str, Any]) -> None:
    if order.get("groups") is not None:
        os.setgroups(order["groups"])
    if order.get("gid") is not None:
        os.setgid(order["gid"])
    if order.get("uid") is not None:
        os.setuid(order["uid"])


def _exec(argv: list[str], env: dict[str, str]) -> None:
    """Exec the program, found in the PATH of its own environment."""
    program = argv[0]
    if "/" in program:
        os.execve(program, argv, env)
    denied: OSError | None = None
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        try:
            os.execve(os.path.join(folder or ".", program), argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            denied = error
    raise denied or FileNotFoundError(errno.ENOENT, "not in PATH", program)


def read_report(fd: int) -> str:
    """What a child said of a failure before exec; empty when there was none, or it has not got there yet."""
    try:
        return os.read(fd, 4096).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def words(stage: str, error: BaseException, order: dict[str, Any]) -> str:
    """Why a child could not be started, for the operator."""
    number = error.errno if isinstance(error, OSError) else None
    reason = (os.strerror(number) if number else str(error) or type(error).__name__).lower()
    program, directory = (order.get("argv") or ["?"])[0], order.get("directory")
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
    """Say something on hasup's stderr, where there is nobody else to tell."""
    try:
        sys.stderr.write(f"hasup: guardian: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass
