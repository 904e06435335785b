"""Lets go of connections whose replica, or whose dispatcher, is to end.

They get no new ones; open ones may end by themselves until ``drain_timeout``. When that is over, a replica is told to
stop with those that it still has, and ends them as it can; a dispatcher that is to stop itself resets them.

A keep-alive connection would not end by itself, so one that is at rest is closed gently: nothing on its way in either
direction, the last byte seen from the backend (or none at all seen), and silence for a moment. The moment gets shorter
while time runs out, so that a connection with short pauses ends in one of them and not in a request. Such a
connection's backend is told that the client sends no more, by half-close, and it is left to the backend to close: so a
server that only paused in the middle of an answer still ends it. A request that crosses this on its way is not
forwarded: it was certainly not acted on, and the client sees its connection closed without an answer, as when a
server's keep-alive time ends.
"""

from hasup.dispatch.ends import OPEN, Flow
from hasup.dispatch.proxy import Proxy

LEAST_QUIET_S = 0.02  # silence that is asked for from the middle of the drain timeout on
LINGER_S = 5.0  # a backend that was told, and does not close, is silent for so long: then it is closed for it


class Drain:
    """Goes through the connections while something is to be drained."""

    def __init__(self, proxy: Proxy, timeout: float, quiet: float) -> None:
        self._proxy = proxy
        self._timeout = max(timeout, 0.001)
        self._quiet = quiet
        self._stopped_at: float | None = None

    def stop(self, now: float) -> None:
        """The dispatcher is to end: drain everything."""
        self._proxy.stop()
        self._stopped_at = self._stopped_at or now

    @property
    def finished(self) -> bool:
        """It was stopped, and no connection is left."""
        return self._stopped_at is not None and not self._proxy.flows

    @property
    def hurried(self) -> bool:
        """Something is being drained: call :meth:`step` every few hundredths of a second."""
        return self._stopped_at is not None or any(
            one.drain_at is not None and one.open for one in self._proxy.balancer.backends.values()
        )

    def step(self, now: float) -> None:
        """Look at every connection that is to end."""
        for flow in list(self._proxy.flows):
            since = self._stopped_at
            if since is None and flow.backend is not None:
                since = flow.backend.drain_at
            if since is None:
                continue
            elapsed = now - since
            if self._stopped_at is not None and elapsed >= self._timeout:
                self._proxy.wire.end(flow, reset=True)
            elif flow.stage == OPEN:
                self._ease(flow, now, self._quiet * (1.0 - 2.0 * elapsed / self._timeout))

    def _ease(self, flow: Flow, now: float, quiet: float) -> None:
        wire = self._proxy.wire
        if flow.drained_at:
            if now - max(flow.drained_at, flow.touched_at) >= LINGER_S:
                wire.end(flow)
        elif _answered(flow) and _silent(flow, now, quiet):
            wire.end(flow)
        elif self._at_rest(flow, now, quiet):
            wire.look_again(flow.client)
            if self._at_rest(flow, now, quiet):
                flow.drained_at = now
                wire.read_no_more(flow.client)

    def _at_rest(self, flow: Flow, now: float, quiet: float) -> bool:
        return flow.plain and not flow.asked_at and _silent(flow, now, quiet)


def _silent(flow: Flow, now: float, quiet: float) -> bool:
    return now - (flow.touched_at or flow.accepted_at) >= max(quiet, LEAST_QUIET_S)


def _answered(flow: Flow) -> bool:
    """The backend has ended its way, and the client has all of it; it just does not end its own."""
    return flow.upstream is not None and flow.upstream.done and flow.client.shut
