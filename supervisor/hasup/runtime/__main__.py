"""``python -m hasup.runtime``: started by the guardian, never by hand.

A core that is asked to park lays down its work and stands by while another one is tried. It holds its program in
memory, so it can go on even if that is not on disk any more: it then makes itself a new core of the guardian's
snapshot, as one that was just started does.
"""

import gc
import os
import signal
import sys
import time

import msgspec

from hasup.guardian.leftovers import end_leftovers
from hasup.loop import Loop
from hasup.model.spec import Config
from hasup.protocol.guardian import VERSION, Message
from hasup.runtime.bereaved import stop_everything
from hasup.runtime.core import Core
from hasup.runtime.link import GuardianLink
from hasup.runtime.snapshot import Snapshot

_DYING_S = 2.0
_KEPT = ("HASUP_GUARDIAN_FD", "HASUP_LOCK_FD")


class Process:
    """Waits for the guardian's snapshot, makes the core of it, and sees it through to its end."""

    def __init__(self, before: "Process | None" = None) -> None:
        self.loop = Loop()
        self.core: Core | None = None
        self.dismissed = False
        self.parked = False
        self._before = before  # what this one stands by for; kept, since its objects own numbers that are used again
        self._snapshot = Snapshot()
        self._link = GuardianLink(self.loop, int(os.environ["HASUP_GUARDIAN_FD"]), self._hear, self._gone)

    def _hear(self, message: Message, fds: list[int]) -> None:
        if self.core is not None and message["event"] == "park":
            self.loop.before_sleep = self._park  # at the end of this turn, when all has been decided
        elif self.core is not None:
            self.core.hear(message, fds)
        elif message["event"] == "dismissed":
            self.dismissed = True
            self.loop.stop()
        elif self._snapshot.take(message, fds):
            self._make_core()

    def _make_core(self) -> None:
        assert self._snapshot.hello is not None
        if self._snapshot.hello.protocol != VERSION:
            sys.exit(f"hasup: this core speaks protocol {VERSION}, the guardian {self._snapshot.hello.protocol}")
        self.core = Core(self.loop, self._link, self._snapshot, _config(self._snapshot.store["config"]))
        gc.collect()
        gc.freeze()  # what is here now stays: later collections need not look at it

    def _park(self) -> None:
        assert self.core is not None
        self.core.park()
        self._link.finish({"op": "parked"})
        self.parked = True
        self.loop.stop()

    def _gone(self) -> None:
        """The guardian hung up: as it had said, or since it died."""
        if self.dismissed:
            return
        if self.core is not None and not self.core.ended:
            self.core.recorder.trouble("the guardian died; hasup stops everything")
            killed = self._stop_everything(self.core)
            self.core.recorder.trouble(f"everything is stopped ({killed} processes had to be killed)")
            self.core.journal.close(2.0)
        elif self.core is None and self._before is not None and self._before.core is not None:
            self._stop_everything(self._before.core)  # the core that is being tried may not have come so far
        elif self.core is None and self._is_orphan():  # it died before it had said what there is
            end_leftovers(os.environ["HASUP_INSTANCE"])
        self.loop.stop()

    def _is_orphan(self) -> bool:
        """Whether the guardian died, rather than only hung up. Its descriptors close a moment before its children
        have another parent.
        """
        deadline = self.loop.now() + _DYING_S
        while os.getppid() == self._link.peer_pid and self.loop.now() < deadline:
            time.sleep(0.01)  # there is nothing else to do, and nothing to wait on but time
        return os.getppid() != self._link.peer_pid

    def _stop_everything(self, core: Core) -> int:
        pairs = [(replica, core.supervisor.spec(name)) for name, replica in core.supervisor.replicas.items()]
        return len(stop_everything(self.loop, core.hello.instance, pairs))


def _stand_by(before: Process) -> Process:
    """In the place of a process that has parked, another one. Only the way to the guardian is left open."""
    kept = sorted({0, 1, 2, *(int(os.environ[name]) for name in _KEPT if name in os.environ)})
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)
    return Process(before)


def _config(fd: int) -> Config:
    """The configuration in force, from the memory file that the guardian keeps."""
    return msgspec.json.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=Config)


def main() -> None:
    """Run the core until the guardian is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # these are the guardian's to hear, and it passes them on
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o077)
    process = Process()
    process.loop.run()
    while process.parked:
        process = _stand_by(process)
        process.loop.run()
    sys.stderr.flush()
    os._exit(0 if process.dismissed or (process.core is not None and process.core.ended) else 1)


if __name__ == "__main__":
    main()
