"""What the core is told of the load."""

from hasup.dispatch.balance import Backend
from hasup.dispatch.proxy import Proxy


def figures(proxy: Proxy) -> dict[str, object]:
    """Totals, and for each backend its load: connections, bytes, and times in seconds (moving averages)."""
    now = proxy.wire.now
    return {
        "accepted": proxy.accepted,
        "open": len(proxy.flows),
        "queued": proxy.waiting,
        "refused": sum(proxy.refused.values()),
        "refused_for": dict(proxy.refused),
        "idled": proxy.idled,
        "full": not proxy.accepting,
        "backends": {one.name: _load(one, now) for one in proxy.balancer.backends.values()},
    }


def summary(proxy: Proxy) -> str:
    """One line for people."""
    backends = proxy.balancer.backends.values()
    usable = sum(one.state != "draining" for one in backends)
    waiting = f", {proxy.waiting} waiting" if proxy.waiting else ""
    full = "" if proxy.accepting else ", accepting no more"
    return f"{len(proxy.flows)} connections{waiting}{full}; {usable} of {len(backends)} replicas"


def _load(one: Backend, now: float) -> dict[str, object]:
    return {
        "open": one.open,
        "total": one.total,
        "failed": one.failed,
        "ejected": now < one.ejected_until,
        "bytes_in": one.bytes_in,
        "bytes_out": one.bytes_out,
        "connect_s": round(one.connect_s, 6),
        "first_byte_s": round(one.first_byte_s, 6),
    }
