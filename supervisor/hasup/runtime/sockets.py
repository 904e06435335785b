"""Listening sockets that hasup holds for its programs, and the channels to dispatchers."""

import errno
import os
import socket
import stat

from hasup.model.spec import Listen


class ListenError(Exception):
    """A socket could not be opened; says which, why, and what to do."""


def bind(listen: Listen, directory: str) -> socket.socket:
    """A listening socket for ``listen.address`` (not ``systemd:``); relative Unix paths start at ``directory``."""
    try:
        if listen.address.startswith("unix:"):
            return _bind_unix(os.path.join(directory, listen.address.removeprefix("unix:")), listen.backlog)
        return _bind_tcp(*split_address(listen.address), listen.backlog)
    except OSError as error:
        raise ListenError(f"cannot listen on {listen.address}: {_words(error)}") from error


def is_bound_to(opened: socket.socket, address: str, directory: str) -> bool:
    """Whether a socket that was handed on listens on ``address``: the configuration may have changed meanwhile."""
    where = opened.getsockname()
    if address.startswith("unix:"):
        return bool(where == os.path.join(directory, address.removeprefix("unix:")))
    if opened.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, opened.family, socket.SOCK_STREAM)
    except OSError:
        return False
    return any(entry[4][:2] == where[:2] for entry in found)


def split_address(address: str) -> tuple[str, int]:
    """``"HOST:PORT"`` or ``"[V6]:PORT"`` in its parts; a missing host is every IPv4 address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - as the operator asked


def _bind_tcp(host: str, port: int, backlog: int) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(backlog)
    except OSError:
        opened.close()
        raise
    return opened


def _bind_unix(path: str, backlog: int) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        opened.bind(path)
        opened.listen(backlog)
    except OSError:
        opened.close()
        raise
    return opened


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; anything else at ``path`` is left, and binding fails."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)


def _words(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another program (see: ss -ltnp)"
    if error.errno == errno.EACCES:
        return "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return (error.strerror or str(error)).lower()


def channel() -> tuple[socket.socket, socket.socket]:
    """The two ends of a channel to a dispatcher: the core's (non-blocking) and the far one."""
    core, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    core.setblocking(False)
    return core, far
