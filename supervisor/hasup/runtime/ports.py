"""Ports for replicas: a fixed row of them, or free ones.

Free ones are taken from below the kernel's ephemeral range, so that no outgoing connection of anybody takes the
port of a replica while it is being restarted, and a slot keeps its port for as long as nobody else took it.
"""

import json
import os
import socket
from pathlib import Path

from hasup.model.spec import Program

_LOWEST = 10_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


class NoPort(Exception):
    """There is no free port; says where one was looked for."""


class Ports:
    """Which slot has which automatic port. Kept across restarts of the core as a blob."""

    BLOB = "~ports"

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._range = _free_range()
        self._next = self._range.start + int.from_bytes(os.urandom(2), "big") % len(self._range)
        self.changed = False

    def restore(self, blob: str | None) -> None:
        """Take over what the last core had assigned."""
        self._ports.update(json.loads(blob or "{}"))

    def blob(self) -> str:
        """What to keep."""
        self.changed = False
        return json.dumps(self._ports)

    def of(self, program: Program, index: int) -> int | None:
        """The port of a replica, as far as it is known now."""
        if program.port is None:
            return None
        return self._ports.get(f"{program.name}.{index}") if program.port == "auto" else program.port + index - 1

    def assign(self, program: Program, index: int, host: str = "127.0.0.1") -> int | None:
        """The port for a replica that is about to listen at ``host`` (a number); raises :class:`NoPort`."""
        port = self.of(program, index)
        if program.port != "auto" or (port is not None and _is_free(port, host)):
            return port
        port = self._find(host)
        self._ports[f"{program.name}.{index}"] = port
        self.changed = True
        return port

    def forget(self, slot: str) -> None:
        """The slot is gone for good."""
        self.changed |= self._ports.pop(slot, None) is not None

    def _find(self, host: str) -> int:
        taken = set(self._ports.values())
        for step in range(len(self._range)):
            port = self._range[(self._next - self._range.start + step) % len(self._range)]
            if port not in taken and _is_free(port, host):
                self._next = port + 1 if port + 1 in self._range else self._range.start
                return port
        raise NoPort(f"no free port from {self._range.start} to {self._range.stop - 1}")


def _free_range() -> range:
    try:
        lowest_ephemeral = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        lowest_ephemeral = 32_768
    if lowest_ephemeral >= _LOWEST + 2_000:
        return range(_LOWEST, lowest_ephemeral)
    return range(_LOWEST, 65_000)


def _is_free(port: int, host: str) -> bool:
    """Whether a server could bind it now, at its host and on all addresses."""
    family, everywhere = (socket.AF_INET6, "::") if ":" in host else (socket.AF_INET, "0.0.0.0")  # noqa: S104 - tried
    for where in (host, everywhere):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((where, port))
            except OSError:
                return False
    return True
