"""From a checked configuration to a running guardian: lock, left-overs, descriptors, exec."""

import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, NoReturn

import msgspec

from hasup.cli import statedir
from hasup.cli.errors import Failure, say
from hasup.control.client import ConnectionLost, ControlClient, NoAnswer, NotRunning
from hasup.model.spec import Config

_NO_CGROUP: Final = "HASUP_NO_CGROUP"  # keep out of cgroups, to see what is different without them
_OTHER_S: Final = 10.0  # another start may be on its way up, or a stop on its way down


class Launch(NamedTuple):
    """What the guardian is started with. The descriptors are inheritable."""

    state_dir: str
    instance: str
    lock_fd: int
    config_fd: int
    control_fd: int
    sockets: dict[str, int]  # passed by systemd, by their names in the guardian's store


def running(state_dir: str) -> ControlClient | None:
    """A connection to the hasup that runs here, or None."""
    try:
        return ControlClient(state_dir)
    except NotRunning:
        return None


def acquire(state_dir: str) -> int | ControlClient:
    """The lock, when no hasup runs here; else a connection to the one that does."""
    deadline = time.monotonic() + _OTHER_S
    while True:
        fd = statedir.lock(state_dir)
        if fd is not None:
            return _if_alone(fd, state_dir)
        client = _answering(state_dir)
        if client is not None:
            return client
        if time.monotonic() >= deadline:
            raise Failure(
                f"another hasup holds {state_dir}/{statedir.LOCK_NAME}, but does not answer; "
                "see who: fuser -v, or wait for it to end"
            )
        time.sleep(0.05)  # it is on its way up or down, and there is nothing to wait on but time


def _if_alone(fd: int, state_dir: str) -> int:
    """The lock, unless a hasup runs on whose lock was deleted: there would be two of everything."""
    other = statedir.deleted_under(state_dir)
    if other is None:
        return fd
    os.close(fd)
    raise Failure(f"hasup still runs (pid {other}), but its {state_dir} was deleted; first end it with: kill {other}")


def _answering(state_dir: str) -> ControlClient | None:
    """A connection that answers; one that is only queued may belong to a hasup that is going away."""
    client = running(state_dir)
    if client is None:
        return None
    try:
        client.call("version", timeout=2.0)
    except (ConnectionLost, NoAnswer):
        client.close()
        return None
    return client


def assemble(config: Config, lock_fd: int, *, console: bool) -> Launch:
    """Clear what a dead hasup left, then make all the guardian is handed."""
    from hasup.runtime.internal import prepare

    state_dir = config.supervisor.state_dir
    clear_leftovers(state_dir)
    return Launch(
        state_dir=state_dir,
        instance=statedir.new_instance(),
        lock_fd=lock_fd,
        config_fd=_memory_file(msgspec.json.encode(prepare(config, python=interpreter(), console=console))),
        control_fd=statedir.listen(state_dir),
        sockets=passed_sockets(config, os.environ),
    )


def passed_sockets(config: Config, environ: Mapping[str, str]) -> dict[str, int]:
    """What systemd passed: sockets of its own, as ``systemd:NAME``, and those that an earlier hasup had it keep."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return {}
    from hasup.runtime.sockets import is_bound_to
    from hasup.runtime.systemd import KEPT

    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, int] = {}
    for index in range(int(count)):
        fd, name = 3 + index, names[index] if index < len(names) else "unknown"
        program = config.programs.get(name.removeprefix(KEPT))
        if not name.startswith(KEPT):
            found[f"systemd:{name}"] = fd
        elif program is not None and program.listen is not None:
            with socket.socket(fileno=os.dup(fd)) as opened:
                if is_bound_to(opened, program.listen.address, os.path.dirname(config.file)):
                    found[f"listen:{program.name}"] = fd
    return found


def clear_leftovers(state_dir: str) -> None:
    """End every process that a hasup which died with its core may have left."""
    before = statedir.read_instance(state_dir)
    if before is None or before.get("boot_id") != statedir.boot_id():
        return
    from hasup.guardian.leftovers import end_leftovers

    ended = end_leftovers(before["instance"])
    if ended:
        say(f"ended {len(ended)} processes that an earlier hasup had left: {', '.join(map(str, ended[:10]))}")


def become_guardian(launch: Launch, only: Sequence[str]) -> NoReturn:
    """Turn this process into the guardian."""
    statedir.write_instance(launch.state_dir, launch.instance, os.getpid())
    python = interpreter()
    options = {
        "instance": launch.instance,
        "state_dir": launch.state_dir,
        "store": {"config": launch.config_fd, "control": launch.control_fd, "stdout": 1, "stderr": 2} | launch.sockets,
        "lock_fd": launch.lock_fd,
        "core": [*python, "-m", "hasup.runtime"],
        "notify": bool(os.environ.get("NOTIFY_SOCKET")),
        "cgroup": not os.environ.get(_NO_CGROUP),
    }
    os.execve(python[0], [*python, "-m", "hasup.guardian", json.dumps(options)], environment(only))


def interpreter() -> list[str]:
    """Python with the flags that keep what is foreign out: -P, the working directory; -E, PYTHONPATH and the like,
    which may be meant for the programs. From a source tree, hasup itself may be found by PYTHONPATH only.
    """
    installed = _home() in sys.path[0 if sys.flags.safe_path else 1 :] and _home() not in _python_path()
    return [sys.executable, *(("-E",) if installed else ()), "-P"]


def environment(only: Sequence[str]) -> dict[str, str]:
    """The guardian's environment. ``only``: programs to start instead of those that start by themselves."""
    environ = dict(os.environ)
    environ.pop("HASUP_ONLY", None)
    if only:
        environ["HASUP_ONLY"] = " ".join(only)
    if "-E" not in interpreter() and _home() not in _python_path():
        environ["PYTHONPATH"] = os.pathsep.join([_home(), *_python_path()])
    return environ


def _home() -> str:
    """The directory that the package hasup is in."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _python_path() -> list[str]:
    return [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("hasup-config", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(data)
    os.set_inheritable(fd, True)
    return fd
