"""The channel to hasup's core: tables of backends come in, figures go out. It never waits for the core.

One JSON object a packet. In: ``{"revision": 7, "backends": [{"name", "address", "weight", "state"}, …]}``, always
the whole table; what is not in it is not ready. Out: ``{"want": "backends"}`` first, ``{"applied": revision}`` after
each table, ``{"drained": {"revision", "names"}}`` when draining backends have no connection any more, and ``{"stats":
{…}}`` now and then. What the core does not read is dropped; all but the last are said later then.
"""

import json
from _socket import MSG_DONTWAIT, socket
from collections.abc import Callable
from select import EPOLLIN, epoll

from hasup.dispatch.balance import DEGRADED, DRAINING, READY, Row

_PACKET_MAX = 262_144  # more than a Unix socket takes in one packet
_PACKETS = 64  # read in one turn
_STATES = (READY, DEGRADED, DRAINING)


class Link:
    """Our end of the channel."""

    def __init__(self, channel: socket, watcher: epoll, replace: Callable[[list[Row]], None]) -> None:
        self._channel = channel
        self._watcher = watcher
        self._replace = replace
        self._owed: dict[str, object] = {}
        self.revision: object = 0  # of the last table
        watcher.register(channel.fileno(), EPOLLIN)
        self.owe("want", "backends")

    def receive(self) -> None:
        """Take the tables that have come."""
        for _ in range(_PACKETS):
            try:
                packet = self._channel.recv(_PACKET_MAX, MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # the core's end was closed with something unread; packets may follow, then the end
                continue
            if not packet:  # nobody holds the other end any more: the last table stays
                self._watcher.unregister(self._channel.fileno())
                return
            self._take(packet)

    def owe(self, key: str, value: object) -> None:
        """Say it now, or at the next :meth:`flush` that finds room."""
        self._owed[key] = value
        self.flush()

    def flush(self) -> None:
        """Say what could not be said before."""
        while self._owed:
            key = next(iter(self._owed))
            if not self.tell({key: self._owed[key]}):
                return
            del self._owed[key]

    def tell(self, message: dict[str, object]) -> bool:
        """Say it now or never; tells which."""
        try:
            self._channel.send(json.dumps(message, separators=(",", ":")).encode(), MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def _take(self, packet: bytes) -> None:
        try:
            message = json.loads(packet)
            revision = message["revision"]
            rows = [_row(entry) for entry in message["backends"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # not a table
        self.revision = revision
        self._replace(rows)
        self.owe("applied", revision)


def _row(entry: dict[str, object]) -> Row:
    state = str(entry.get("state", READY))
    if state not in _STATES:
        raise ValueError(state)
    return str(entry["name"]), str(entry["address"]), float(str(entry.get("weight", 1))), state
