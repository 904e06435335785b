"""What the guardian has to say when there is nobody to tell."""

import os
import select


def complain(text: str) -> None:
    """Say something on hasup's stderr, where there is nobody else to tell; never wait for one who does not read it."""
    data = f"hasup: guardian: {text}\n".encode("utf-8", "backslashreplace")[: select.PIPE_BUF]
    poller = select.poll()
    poller.register(2, select.POLLOUT)
    try:
        if any(mask & select.POLLOUT for _, mask in poller.poll(0)):  # a ready pipe has room for PIPE_BUF
            os.write(2, data)
    except OSError:
        pass
