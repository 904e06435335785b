"""Messages to systemd, which takes them from the unit's main process only: the guardian."""

import os
import socket


def notify(text: str, fds: list[int]) -> None:
    """Send ``text`` and descriptors to ``NOTIFY_SOCKET``, if there is one; raises OSError."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        if fds:
            socket.send_fds(sender, [text.encode()], fds)
        else:
            sender.send(text.encode())
