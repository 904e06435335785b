"""sd_notify datagrams: bytes to what they say. Bounded, and nothing in them can raise.

The format is systemd's (sd_notify(3)): ``NAME=VALUE`` lines in UTF-8. What is not understood is passed over, since
newer clients may say more than we know.
"""

from typing import NamedTuple

MAX_DATAGRAM = 65_536
_MAX_LINES = 256  # of one datagram; the rest is passed over, so that no datagram costs much
_MAX_STATUS = 500
_MAX_NAME = 255


class Message(NamedTuple):
    """What one datagram says. Fields that were not sent are false or None; times are microseconds.

    ``malformed`` counts the lines that are no ``NAME=VALUE``, or have a value that can't be one of that name.
    """

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    beat: bool = False
    trigger: bool = False
    barrier: bool = False
    fd_store: bool = False
    fd_store_remove: bool = False
    fd_name: str | None = None
    fd_poll: bool = True
    status: str | None = None
    errno: int | None = None
    exit_status: int | None = None
    main_pid: int | None = None
    watchdog_usec: int | None = None
    extend_timeout_usec: int | None = None
    monotonic_usec: int | None = None
    malformed: int = 0

    @property
    def tells(self) -> bool:
        """Whether there is more to it than a heartbeat, a barrier or descriptors."""
        return (
            self.ready or self.reloading or self.stopping or self.trigger or self.status is not None
            or self.errno is not None or self.exit_status is not None or self.main_pid is not None
            or self.watchdog_usec is not None or self.extend_timeout_usec is not None
        )  # fmt: skip


_FLAGS = {
    b"READY": "ready", b"RELOADING": "reloading", b"STOPPING": "stopping", b"BARRIER": "barrier",
    b"FDSTORE": "fd_store", b"FDSTOREREMOVE": "fd_store_remove",
}  # fmt: skip
_NUMBERS = {
    b"ERRNO": "errno", b"EXIT_STATUS": "exit_status", b"MAINPID": "main_pid", b"WATCHDOG_USEC": "watchdog_usec",
    b"EXTEND_TIMEOUT_USEC": "extend_timeout_usec", b"MONOTONIC_USEC": "monotonic_usec",
}  # fmt: skip


def parse(datagram: bytes) -> Message:
    """The message in a datagram; one that is too long says nothing."""
    if len(datagram) > MAX_DATAGRAM:
        return Message(malformed=1)
    fields: dict[str, object] = {}
    malformed = 0
    for line in datagram.split(b"\n", _MAX_LINES)[:_MAX_LINES]:
        name, equals, value = line.partition(b"=")
        if not equals or not name:
            malformed += line != b""
        elif name in _FLAGS:
            fields[_FLAGS[name]] = value == b"1"
        elif name in _NUMBERS:
            number = _number(value)
            if number is None:
                malformed += 1
            else:
                fields[_NUMBERS[name]] = number
        elif name == b"WATCHDOG":
            fields["beat"] = fields.get("beat", False) or value == b"1"
            fields["trigger"] = fields.get("trigger", False) or value == b"trigger"
        elif name == b"STATUS":
            fields["status"] = _text(value, _MAX_STATUS)
        elif name == b"FDPOLL":
            fields["fd_poll"] = value != b"0"
        elif name == b"FDNAME":
            fields["fd_name"] = _text(value, _MAX_NAME)
    return Message(**fields, malformed=malformed)  # type: ignore[arg-type]


def _number(value: bytes) -> int | None:
    """A decimal number of at most 18 digits; None for anything else."""
    return int(value) if value.isdigit() and len(value) <= 18 else None


def _text(value: bytes, most: int) -> str:
    """Readable text: control characters out, so that a status can't change what a terminal shows around it."""
    text = value[: 4 * most].decode("utf-8", "replace")  # no character has more than four bytes
    return "".join(character if character.isprintable() else " " for character in text)[:most].strip()
