"""Where each replica listens: what its ``$PORT`` says, and where the dispatcher connects.

A port (see :mod:`hasup.runtime.ports`) at ``listen.replica_host``, or the path of a Unix socket. Sockets are in
``state_dir/sockets``, which is hasup's alone; a program that runs as another user could not get there, and some paths
would be longer than the kernel takes. Those are in a folder of hasup's in the machine's folder for such things.
"""

import contextlib
import os
import pwd
import stat

from hasup.model.spec import Program
from hasup.runtime.ports import Ports

LONGEST = 107  # bytes of a Unix socket's path: sun_path has 108, and ends in a NUL
FOLDER = "sockets"


class NoPlace(Exception):
    """A socket can't be put anywhere; the text is the cause, in words."""


class Endpoints:
    """The ports and socket paths of all replicas. Paths follow from the program alone: nothing is to be kept."""

    def __init__(self, ports: Ports, state_dir: str) -> None:
        self.ports = ports
        self._own = os.path.join(os.path.abspath(state_dir), FOLDER)

    def port(self, program: Program, index: int) -> int | None:
        """The port of a replica, as far as it is known now; None where it has none, or a socket."""
        return None if on_unix(program) else self.ports.of(program, index)

    def path(self, program: Program, index: int) -> str | None:
        """The path of a replica's Unix socket; None where it has none."""
        if not on_unix(program):
            return None
        own = _within(self._own, program.name, index)
        fits = program.user is None and len(os.fsencode(own)) <= LONGEST
        return own if fits else _within(self._outside(), program.name, index)

    def text(self, program: Program, index: int) -> str | None:
        """What ``$PORT`` says."""
        port = self.port(program, index)
        return self.path(program, index) if port is None else str(port)

    def address(self, program: Program, index: int) -> str:
        """Where the dispatcher connects, numbers only: see :func:`hasup.dispatch.upstream.connect`."""
        path = self.path(program, index)
        if path is not None:
            return f"unix:{path}" if program.user is None else f"unix@{_uid(program.user)}:{path}"
        host = program.listen.replica_host if program.listen else "127.0.0.1"
        return f"{f'[{host}]' if ':' in host else host}:{self.ports.of(program, index)}"

    def prepare(self, program: Program, index: int) -> None:
        """A replica is about to be started; raises :class:`hasup.runtime.ports.NoPort`, :class:`NoPlace`."""
        path = self.path(program, index)
        if path is None:
            host = program.listen.replica_host if program.listen else "127.0.0.1"
            self.ports.assign(program, index, host)
            return
        if len(os.fsencode(path)) > LONGEST:
            raise NoPlace(f"its socket {path} would have more than {LONGEST} bytes, the most that the kernel takes")
        try:
            folder = os.path.dirname(path)
            above = os.path.dirname(folder)
            _make(above, 0o700 if above == self._own else 0o711)  # others may pass through it to what is theirs
            _make(folder, 0o700, program.user)
            _remove(path)
        except OSError as error:
            raise NoPlace(f"cannot prepare its socket {path}: {(error.strerror or str(error)).lower()}") from error

    def release(self, program: Program, index: int) -> None:
        """The replica is at rest, and its tree empty: nobody listens on its socket any more."""
        path = self.path(program, index)
        if path is not None:
            with contextlib.suppress(OSError):
                _remove(path)

    def forget(self, slot: str) -> None:
        """The slot is gone for good."""
        self.ports.forget(slot)
        name, _, index = slot.rpartition(".")
        for folder in (self._own, self._outside()):
            with contextlib.suppress(OSError):
                _remove(_within(folder, name, index))

    def close(self) -> None:
        """hasup ends: nothing of it is left outside the state directory."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._outside()):
                os.rmdir(entry)
            os.rmdir(self._outside())

    def _outside(self) -> str:
        import hashlib  # brings OpenSSL along, and is seldom needed

        mark = hashlib.sha256(os.fsencode(f"{os.geteuid()} {self._own}")).hexdigest()[:8]
        return os.path.join(_machines_folder(), f"hasup-{mark}")


def on_unix(program: Program) -> bool:
    """Whether its replicas listen on Unix sockets."""
    listen = program.listen
    return listen is not None and listen.mode == "proxy" and listen.replica_address == "unix"


def _within(folder: str, program: str, index: int | str) -> str:
    return os.path.join(folder, program, str(index))


def _machines_folder() -> str:
    """Where sockets belong on this machine, for this user: at most 20 bytes, so that any program's name fits."""
    for folder in ("/run", os.environ.get("XDG_RUNTIME_DIR", "")):
        if folder and len(folder) <= 20 and os.access(folder, os.W_OK):
            return folder
    return "/tmp"  # noqa: S108 - what is made there is checked to be hasup's own


def _make(folder: str, mode: int, user: str | None = None) -> None:
    """A folder that only hasup, or ``user``, can write to; one that is there must be such a folder."""
    owner = os.geteuid() if user is None else _uid(user)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode)
        os.chmod(folder, mode)  # whatever the umask is
        if owner != os.geteuid():
            os.chown(folder, owner, -1)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022 or found.st_uid not in (os.geteuid(), owner):
        raise NoPlace(f"{folder} is there, and is no folder that only hasup can write to: remove it")
    if found.st_uid != owner:  # the program runs as another user now
        os.chown(folder, owner, -1, follow_symlinks=False)


def _uid(user: str) -> int:
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise NoPlace(f"user {user!r} does not exist on this machine") from None


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
