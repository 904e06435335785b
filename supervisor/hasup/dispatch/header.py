"""The PROXY protocol, versions 1 and 2: what a replica is told of the client, ahead of the client's first byte.

https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt. Addresses are as a socket tells them: a tuple that begins
with host and port, or the name of a Unix socket. Clients of those have no name as a rule, and HAProxy closes
connections with the family that version 2 has for them: they are told as hasup's own, which every receiver must take.
"""

from _socket import AF_INET, AF_INET6, inet_pton
from _struct import pack

Address = tuple[str, int] | tuple[str, int, int, int] | str | bytes

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_RELAYED, _LOCAL = 0x21, 0x20  # version 2, with the command PROXY or LOCAL
_TCP4, _TCP6 = 0x11, 0x21
_MAPPED = "::ffff:"  # an IPv4 address, as a socket for both families tells it

# For connections of hasup's own, such as probes: nobody's address is told.
OWN = {"v1": b"PROXY UNKNOWN\r\n", "v2": _SIGNATURE + bytes((_LOCAL, 0, 0, 0))}


def v1(client: Address, server: Address) -> bytes:
    """The line of version 1 for a connection of ``client`` to ``server``, which accepted it."""
    if isinstance(client, tuple) and isinstance(server, tuple):
        family, source, target = _hosts(client[0], server[0])
        return f"PROXY TCP{family} {source} {target} {client[1]} {server[1]}\r\n".encode()
    return OWN["v1"]


def v2(client: Address, server: Address) -> bytes:
    """The header of version 2 for a connection of ``client`` to ``server``, which accepted it."""
    if not (isinstance(client, tuple) and isinstance(server, tuple)):
        return OWN["v2"]
    family, source, target = _hosts(client[0], server[0])
    kind, af = (_TCP4, AF_INET) if family == 4 else (_TCP6, AF_INET6)
    body = inet_pton(af, source) + inet_pton(af, target) + pack("!HH", client[1], server[1])
    return _SIGNATURE + pack("!BBH", _RELAYED, kind, len(body)) + body


VERSIONS = {"v1": v1, "v2": v2}


def _hosts(client: str, server: str) -> tuple[int, str, str]:
    """The family, 4 or 6, and both hosts in it."""
    client, server = _plain(client), _plain(server)
    if ":" not in client and ":" not in server:
        return 4, client, server
    return 6, _six(client), _six(server)


def _plain(host: str) -> str:
    mapped = host.startswith(_MAPPED) and "." in host
    return host[len(_MAPPED) :] if mapped else host


def _six(host: str) -> str:
    return host if ":" in host else _MAPPED + host
