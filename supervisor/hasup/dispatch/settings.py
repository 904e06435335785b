"""What the dispatcher was told to do, from ``HASUP_DISPATCH``: a JSON object."""

import json

from hasup.dispatch.balance import METHODS
from hasup.dispatch.header import VERSIONS

_COUNTS = ("listen_fd", "control_fd", "max_connections", "max_connections_per_client", "queue_limit", "dispatchers")
_SECONDS = ("drain_timeout", "queue_timeout", "connect_timeout", "slow_start", "quiet", "idle_timeout")


class BadSettings(Exception):
    """The environment does not say what to do; the text says what is wrong."""


class Settings:
    """Durations are seconds. What the object leaves out has the default below."""

    name: str
    listen_fd: int = 3
    control_fd: int = 4
    balance: str = "round-robin"
    drain_timeout: float = 30.0
    queue_timeout: float = 10.0
    connect_timeout: float = 1.0
    max_connections: int = 1024
    dispatchers: int = 1  # that accept from the same socket
    max_connections_per_client: int = 0  # 0: no limit; so with the next two
    queue_limit: int = 0
    idle_timeout: float = 0.0
    slow_start: float = 5.0  # a replica that joins others gets its full share after so long
    proxy_protocol: str = "none"  # or the version in which replicas are told of the client: v1, v2
    quiet: float = 1.0  # a draining connection that is silent for so long may be closed

    def __init__(self, text: str) -> None:
        try:
            given = json.loads(text)
            self.name = str(given["name"])
            for key in _COUNTS:
                setattr(self, key, int(given.get(key, getattr(self, key))))
            for key in _SECONDS:
                setattr(self, key, float(given.get(key, getattr(self, key))))
            self.balance = str(given.get("balance", self.balance))
            METHODS[self.balance]
            self.proxy_protocol = str(given.get("proxy_protocol", self.proxy_protocol))
            if self.proxy_protocol != "none":
                VERSIONS[self.proxy_protocol]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadSettings(f"HASUP_DISPATCH is not what hasup sets ({error!r})") from None
