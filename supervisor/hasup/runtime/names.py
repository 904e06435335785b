"""Addresses of hosts, looked up without holding up the loop.

Numbers and localhost need no look-up. Any other name is asked for in a thread, since the system's resolver blocks, for
half a minute when its servers are silent: one thread a name at a time, however many want to know.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from hasup.loop import CONTROL, Loop

Address = tuple[int, Any]  # a family, and what its sockets connect to
Found = Callable[[list[Address] | OSError], None]


class Names:
    """Looks up names; each answer goes to all that wait for it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: dict[tuple[str, int], list[Found]] = {}

    def find(self, host: str, port: int, found: Found) -> None:
        """Call ``found`` once, with the addresses (at least one) or what is wrong; before it returns, if it can."""
        if host == "localhost":
            found([(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))])
            return
        try:
            numeric = _ask(host, port, socket.AI_NUMERICHOST)
        except (OSError, ValueError):  # a name
            self._wait(host, port, found)
        else:
            found(numeric)

    def forget(self, found: Found) -> None:
        """Do not call this one any more; unknown ones are ignored."""
        for waiting in self._waiting.values():
            if found in waiting:
                waiting.remove(found)

    def _wait(self, host: str, port: int, found: Found) -> None:
        if (host, port) in self._waiting:
            self._waiting[host, port].append(found)
            return
        try:
            self._begin(host, port)
        except OSError as error:
            found(error)
        else:
            self._waiting[host, port] = [found]

    def _begin(self, host: str, port: int) -> None:
        """Start the thread; it closes its end of a pipe when it has an answer. Raises OSError."""
        answers: list[list[Address] | OSError] = []
        read_end, write_end = os.pipe()
        try:
            self._loop.add(read_end, lambda _mask: self._answered(host, port, read_end, answers), order=CONTROL)
            threading.Thread(target=_look_up, args=(host, port, answers, write_end), daemon=True).start()
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self._loop.remove(read_end)
            os.close(read_end)
            os.close(write_end)
            raise BlockingIOError(errno.ENOMEM, str(error)) from None

    def _answered(self, host: str, port: int, read_end: int, answers: list[list[Address] | OSError]) -> None:
        self._loop.remove(read_end)
        os.close(read_end)
        answer = answers[0] if answers else OSError(errno.EIO, "the look-up of its name ended without an answer")
        waiting = self._waiting[host, port]
        while waiting:  # one that is told may forget another
            waiting.pop(0)(answer)
        del self._waiting[host, port]


def _look_up(host: str, port: int, answers: list[list[Address] | OSError], write_end: int) -> None:
    try:
        answers.append(_ask(host, port, 0))
    except OSError as error:
        answers.append(error)
    except ValueError:
        answers.append(OSError(errno.EINVAL, f"{host!r} is no host name"))
    finally:
        os.close(write_end)


def _ask(host: str, port: int, flags: int) -> list[Address]:
    asked = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, where) for family, _, _, _, where in asked]
