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
    TCP_QUICKACK,
    socket,
)
from _struct import unpack

from hasup.dispatch.balance import Target

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


def connect(target: Target, speaks: bool = False) -> int:
    """A new socket that is connected to a target, or on its way. Raises CannotConnect.

    ``speaks`` says that something is to be sent at once: what ends the handshake can then go with it.
    """
    family, where, owner = target
    try:
        opened = socket(family, _KIND, 0)
    except OSError as error:
        raise CannotConnect(error.errno or errno.EMFILE) from None
    try:
        if family != AF_UNIX:
            opened.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            if speaks:
                opened.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 0)
        number = opened.connect_ex(where)
        if number not in _UNDER_WAY:
            raise CannotConnect(number)
        if owner is not None and owner != _owner(opened):
            raise CannotConnect(errno.EACCES)
    except OSError as error:  # an address that is none, or a path that is too long
        opened.close()
        raise CannotConnect(error.errno or errno.EINVAL) from None
    except CannotConnect:
        opened.close()
        raise
    return opened.detach()


def parse(address: str) -> Target:
    """What to connect to for ``HOST:PORT``, ``[V6]:PORT`` or ``unix:PATH``; numbers only.

    ``unix@UID:PATH`` is in a folder of that user's, who could put a link to anybody's socket there: it must be a
    process of that user that listens. Raises CannotConnect for an address that is none.
    """
    try:
        if address.startswith("unix"):
            scheme, _, path = address.partition(":")
            return AF_UNIX, path, int(scheme[5:]) if scheme != "unix" else None
        host, _, port = address.rpartition(":")
        if host.startswith("["):
            return AF_INET6, (host[1:-1], int(port)), None
        return AF_INET, (host, int(port)), None
    except ValueError:
        raise CannotConnect(errno.EINVAL) from None


def _owner(connected: socket) -> int:
    """The user who began to listen on the other side."""
    return int(unpack("iII", connected.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))[1])
