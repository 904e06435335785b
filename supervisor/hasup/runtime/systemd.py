"""What hasup tells systemd, when it runs as a service of ``Type=notify``.

The messages are sent by the guardian, since it is the unit's main process, but it is the core that says when: so the
watchdog is only fed while the core is alive and its loop turns. Names of kept sockets carry :data:`KEPT`, by which the
next start knows them again among the descriptors that systemd passes.
"""

from collections.abc import Mapping

from hasup.core import Supervisor
from hasup.loop import Loop
from hasup.model.state import State
from hasup.runtime.engine import Engine

KEPT = "hasup-listen-"  # FDNAME of a listening socket in systemd's store; a program's name follows
_READY_AT_LATEST_S = 60.0


class Systemd:
    """Does nothing where there is no ``NOTIFY_SOCKET``."""

    def __init__(self, loop: Loop, engine: Engine, environ: Mapping[str, str], *, restarted: bool) -> None:
        self._loop = loop
        self._engine = engine
        self._supervisor: Supervisor = engine.supervisor
        self.active = "NOTIFY_SOCKET" in environ
        self._told_ready = restarted  # by the core before
        self.begun = restarted  # before anything was asked to start, everything would seem to be ready
        self._told_stopping = False
        self._status = ""
        if not self.active:
            return
        loop.call_later(_READY_AT_LATEST_S, self._ready)
        interval = int(environ.get("WATCHDOG_USEC") or 0) / 1e6 / 2
        if interval > 0:
            self._feed_watchdog(interval)

    def look(self) -> None:
        """Tell what has changed; called after each decision."""
        if not self.active:
            return
        if self._supervisor.stopping and not self._told_stopping:
            self._told_stopping = True
            self._send("STOPPING=1")
        if self.begun and not self._told_ready and self._supervisor.settled():
            self._ready()
        status = self._summary()
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; :meth:`reloaded` ends it."""
        if self.active:
            self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._loop.now() * 1e6)}")

    def reloaded(self) -> None:
        """The reload is over."""
        if self.active:
            self._send("READY=1")

    def keep_socket(self, program: str) -> None:
        """Have systemd keep the program's listening socket across a restart of the unit."""
        if self.active:
            name = KEPT + program
            self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")
            self._send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", [f"listen:{program}"])

    def drop_socket(self, program: str) -> None:
        """The program's listening socket is closed for good."""
        if self.active:
            self._send(f"FDSTOREREMOVE=1\nFDNAME={KEPT}{program}")

    def _ready(self) -> None:
        if not self._told_ready:
            self._told_ready = True
            self._send("READY=1")

    def _feed_watchdog(self, interval: float) -> None:
        self._send("WATCHDOG=1")
        self._loop.call_later(interval, lambda: self._feed_watchdog(interval))

    def _summary(self) -> str:
        """One line for ``systemctl status``."""
        own = [r for r in self._supervisor.replicas.values() if not self._supervisor.spec(r.name).internal]
        wanted = [replica for replica in own if replica.wanted]
        failing = [r.name for r in wanted if r.state in (State.BACKOFF, State.FAILED, State.ABORTING)]
        done = sum(replica.ready or replica.state is State.COMPLETED for replica in wanted)
        trouble = f"; failing: {', '.join(failing[:5])}{' …' if len(failing) > 5 else ''}" if failing else ""
        return f"{done} of {len(wanted)} replicas ready or completed{trouble}"

    def _send(self, text: str, names: list[str] | None = None) -> None:
        self._engine.order("", {"op": "notify", "text": text, "names": names or []})
