"""How many connections a client may have. Nothing of it is touched unless it was configured."""

from _socket import AF_INET6, inet_pton

from hasup.dispatch.ends import Flow

_MAPPED = b"\0" * 10 + b"\xff" * 2  # begins an IPv4 address, as a socket for both families tells it


class Clients:
    """Counts the connections of each client: of an IPv4 address, or of an IPv6 network of 64 bits, which is one
    customer's as a rule.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str | bytes, int] = {}
        self._of: dict[Flow, str | bytes] = {}

    def admit(self, flow: Flow, host: str) -> bool:
        """Count a connection from ``host``, unless it has as many as it may; says whether it was counted."""
        client = client_of(host)
        count = self._open.get(client, 0)
        if count >= self._most:
            return False
        self._open[client] = count + 1
        self._of[flow] = client
        return True

    def leave(self, flow: Flow) -> None:
        """A connection has ended; one that was not counted is ignored."""
        client = self._of.pop(flow, None)
        if client is not None:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]


def client_of(host: str) -> str | bytes:
    """What a client is counted by."""
    if ":" not in host:
        return host
    packed = inet_pton(AF_INET6, host)
    return ".".join(map(str, packed[12:])) if packed.startswith(_MAPPED) else packed[:8]
