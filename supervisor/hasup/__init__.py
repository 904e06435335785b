"""hasup keeps programs running.

For programs that hasup (or systemd) runs, this package is also a tiny client without dependencies::

    import hasup

    hasup.ready()
    while work():
        hasup.heartbeat()
"""

from hasup.version import __version__

TYPE_CHECKING = False  # as typing has it, which would take longer to import than all the rest
if TYPE_CHECKING:
    from hasup.client import heartbeat, listen_sockets, notify, ready, reloading, status, stopping, watchdog_interval

_CLIENT = (
    "heartbeat", "listen_sockets", "notify", "ready", "reloading", "status", "stopping", "watchdog_interval",
)  # fmt: skip

__all__ = [
    "__version__", "heartbeat", "listen_sockets", "notify", "ready", "reloading", "status", "stopping",
    "watchdog_interval",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _CLIENT:
        from hasup import client

        return getattr(client, name)
    raise AttributeError(f"module 'hasup' has no attribute {name!r}")
