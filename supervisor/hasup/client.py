"""What a supervised Python program calls: readiness, heartbeat, status, and the sockets it was handed.

Speaks systemd's protocols (sd_notify(3), sd_listen_fds(3)), so it works under hasup and under systemd alike. Outside of
both every function does nothing and returns False or an empty list. Nothing here raises for the supervisor's sake, and
nothing blocks: a program never fails because of the one that watches it.
"""

import os
import socket
import time

_FIRST_FD = 3
_socket: socket.socket | None = None
_address = ""


def ready() -> bool:
    """Say that this program can take work (``ready.notify = true``). True when the message was sent."""
    return notify("READY=1")


def heartbeat() -> bool:
    """Say that this program is alive; call it at least every :func:`watchdog_interval` seconds."""
    return notify("WATCHDOG=1")


def status(text: str) -> bool:
    """Say in one line what this program is doing; ``hasup status`` shows it."""
    return notify("STATUS=" + text.replace("\n", " "))


def stopping() -> bool:
    """Say that this program is on its way to its end."""
    return notify("STOPPING=1")


def reloading() -> bool:
    """Say that this program reloads its configuration; :func:`ready` says that it is done."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval() -> float | None:
    """Seconds after which the next heartbeat should be sent: half the time allowed. None when none is asked for."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000


def notify(message: str) -> bool:
    """Send ``NAME=VALUE`` lines to the supervisor. True when they were sent."""
    global _address, _socket
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("@", "/")):
        return False
    try:
        if _socket is None or _address != address:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.connect("\0" + address[1:] if address.startswith("@") else address)
            if _socket is not None:
                _socket.close()
            _socket, _address = opened, address
        _socket.send(message.encode("utf-8", "replace"))
    except OSError:
        return False
    return True


def listen_sockets() -> list[socket.socket]:
    """The listening sockets that this process was handed, in order; empty when there are none for it.

    Call it once: each call makes new socket objects for the same descriptors.
    """
    count = os.environ.get("LISTEN_FDS", "")
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for fd in range(_FIRST_FD, _FIRST_FD + int(count)):
        os.set_inheritable(fd, False)
        sockets.append(socket.socket(fileno=fd))
    return sockets
