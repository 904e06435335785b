"""Connecting to a backend without waiting for it."""

import errno
import os
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    IPPROTO_TCP,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
    socket,
)
from _struct import unpack

_OUR_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
_UNDER_WAY = {0, errno.EINPROGRESS}
_KIND = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC


class CannotConnect(Exception):
    """No connection. ``blame`` tells whether that speaks against the backend: not so when it is we who lack
    something, nor when a Unix socket's queue is full for the moment.
    """

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.blame = number not in _OUR_FAULT and number != errno.EAGAIN


def is_tcp(address: str) -> bool:
    """Whether ``address`` is one of IPv4 or IPv6."""
    return not address.startswith("unix")


def connect(address: str) -> int:
    """A new socket that is connected, or on its way, to ``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``; numbers only.

    ``unix@UID:PATH`` is in a folder of that user's, who could put a link to anybody's socket there: it must be a
    process of that user that listens. Raises CannotConnect.
    """
    family, where = _parse(address)
    try:
        opened = socket(family, _KIND, 0)
    except OSError as error:
        raise CannotConnect(error.errno or errno.EMFILE) from None
    try:
        number = opened.connect_ex(where)
        if number not in _UNDER_WAY:
            raise CannotConnect(number)
        if family != AF_UNIX:
            opened.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        elif address.startswith("unix@") and not _is_of(opened, address):
            raise CannotConnect(errno.EACCES)
    except OSError as error:  # an address that is none, or a path that is too long
        opened.close()
        raise CannotConnect(error.errno or errno.EINVAL) from None
    except CannotConnect:
        opened.close()
        raise
    return opened.detach()


def _is_of(connected: socket, address: str) -> bool:
    """Whether it was the user named in ``unix@UID:PATH`` who began to listen there."""
    _, uid, _ = unpack("iII", connected.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
    return address[5:].partition(":")[0] == str(uid)


def _parse(address: str) -> tuple[int, str | tuple[str, int]]:
    if address.startswith("unix"):
        return AF_UNIX, address.partition(":")[2]
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return AF_INET6, (host[1:-1], int(port))
    return AF_INET, (host, int(port))
