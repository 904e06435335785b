"""Tells the supervisor that we serve, and that we live: sd_notify, with nothing imported for it."""

from _socket import AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM, socket
from collections.abc import Mapping


class Notifier:
    """Sends to ``$NOTIFY_SOCKET``; without one, or when nobody reads, it does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) if path else None
        usec = environ.get("WATCHDOG_USEC", "")
        self.interval: float | None = int(usec) / 3_000_000 if usec.isdigit() and int(usec) else None
        self._status = ""

    def tell(self, text: str) -> None:
        """Send one datagram, lines of ``NAME=value``."""
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), MSG_DONTWAIT, self._path)
            except OSError:
                pass

    def status(self, text: str) -> None:
        """Send ``STATUS=``, when it is another one than before."""
        if text != self._status:
            self._status = text
            self.tell(f"STATUS={text}")
