"""What a supervised Python program calls: readiness, heartbeat, status, and the sockets it was handed.

Speaks systemd's protocols (sd_notify(3), sd_listen_fds(3)), so it works under hasup and under systemd alike. Outside of
both every function does nothing and returns False or an empty list. Nothing here raises for the supervisor's sake, and
nothing blocks: a program never fails because of the one that watches it.
"""

import os
import socket
import time

_FIRST_FD = 3
_MOST_FDS = 4096
_kept: tuple[str, socket.socket, tuple[int, int]] | None = None  # address, socket, which file it is


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
    usec, pid = _number("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID", "")
    return usec / 2_000_000 if usec and pid in ("", str(os.getpid())) else None


def notify(message: str) -> bool:
    """Send ``NAME=VALUE`` lines to the supervisor. True when they were sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("@", "/")):
        return False
    try:
        _connected(address).send(message.encode("utf-8", "replace"))
    except BlockingIOError:  # nobody reads at the moment
        return False
    except (OSError, ValueError):  # there is nobody, or not any more: the next call looks anew
        _forget()
        return False
    return True


def _connected(address: str) -> socket.socket:
    """The socket of the call before, so that a program without a free descriptor can still show that it lives.

    A program that closed all its descriptors, as daemons do, may have another file under that number by now.
    """
    global _kept
    kept = _kept  # another thread may replace it
    if kept is not None and kept[0] == address and _file(kept[1].fileno()) == kept[2]:
        return kept[1]
    _forget()
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.connect("\0" + address[1:] if address.startswith("@") else address)
        file = os.fstat(opened.fileno())
        _kept = (address, opened, (file.st_dev, file.st_ino))
    except BaseException:
        opened.close()
        raise
    return opened


def _file(fd: int) -> tuple[int, int] | None:
    try:
        file = os.fstat(fd)
    except OSError:
        return None
    return file.st_dev, file.st_ino


def _forget() -> None:
    """Drop the socket; close it only if it is still ours."""
    global _kept
    kept, _kept = _kept, None
    if kept is None:
        return
    if _file(kept[1].fileno()) == kept[2]:
        kept[1].close()
    else:
        kept[1].detach()


def listen_sockets(name: str | None = None) -> list[socket.socket]:
    """The listening sockets that this process was handed, in order; empty when there are none for it.

    ``name``: only those of that name in LISTEN_FDNAMES. What is not open or no socket is passed over. Call it once, or
    once for each name: each call makes new socket objects for the same descriptors.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    sockets = []
    for index in range(min(_number("LISTEN_FDS"), _MOST_FDS)):
        try:
            os.set_inheritable(_FIRST_FD + index, False)
            if name is None or names[index : index + 1] == [name]:
                sockets.append(socket.socket(fileno=_FIRST_FD + index))
        except OSError:
            continue
    return sockets


def _number(name: str) -> int:
    """The value of a variable; 0 when it is no number."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and len(text) <= 18 else 0
