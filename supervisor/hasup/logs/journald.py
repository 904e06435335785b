"""hasup's own log to systemd's journal, with its fields: ``journalctl -u hasup-shop HASUP_REPLICA=web.1``.

The format is journald's native protocol: one datagram an entry, ``NAME=VALUE`` lines, and for values with an end of
line NAME, a line end, the length as 64 bits little-endian, the value.
"""

import os
import socket
import struct
from collections.abc import Mapping
from typing import Final

SOCKET: Final = "/run/systemd/journal/socket"
_PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}  # syslog's


def listens(environ: Mapping[str, str], fd: int = 2) -> bool:
    """Whether what is written to this descriptor goes to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journald:
    """Sends entries; nobody waits or fails for one that can't be sent: it is in ``logs/hasup.log`` all the same."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def write(self, level: str, event: str, **fields: object) -> None:
        """One entry; fields that are None are left out."""
        try:
            self._socket.sendto(entry(level, event, fields), self._path)
        except OSError:  # full, restarted, or the entry is too long for a datagram
            return

    def close(self) -> None:
        """No more entries."""
        self._socket.close()


def entry(level: str, event: str, fields: Mapping[str, object]) -> bytes:
    """The datagram: MESSAGE for people, and each field as ``HASUP_NAME`` for machines."""
    who = fields.get("replica") or fields.get("program")
    what = fields.get("to") if event == "state" else event
    message = ": ".join(str(part) for part in (who, what, fields.get("reason")) if part)
    own = {"MESSAGE": message, "PRIORITY": _PRIORITY.get(level, 6), "SYSLOG_IDENTIFIER": "hasup", "HASUP_EVENT": event}
    more = {f"HASUP_{name.upper()}": value for name, value in fields.items() if value is not None}
    return b"".join(_field(name, str(value)) for name, value in (own | more).items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
