"""``python -m hasup.runtime``: started by the guardian, never by hand."""

import gc
import os
import signal
import sys

import msgspec

from hasup.loop import Loop
from hasup.model.spec import Config
from hasup.protocol.guardian import Message
from hasup.runtime.bereaved import stop_everything
from hasup.runtime.core import Core
from hasup.runtime.link import GuardianLink
from hasup.runtime.snapshot import Snapshot


class Process:
    """Waits for the guardian's snapshot, makes the core of it, and sees it through to its end."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.core: Core | None = None
        self._snapshot = Snapshot()
        self._link = GuardianLink(self.loop, int(os.environ["HASUP_GUARDIAN_FD"]), self._hear, self._gone)

    def _hear(self, message: Message, fds: list[int]) -> None:
        if self.core is not None:
            self.core.hear(message, fds)
        elif self._snapshot.take(message, fds):
            self.core = Core(self.loop, self._link, self._snapshot, _config(self._snapshot.store["config"]))
            gc.collect()
            gc.freeze()  # what is here now stays: later collections need not look at it

    def _gone(self) -> None:
        """The guardian ended: as ordered, or it died."""
        core = self.core
        if core is not None and not core.ended:
            core.recorder.trouble("the guardian died; hasup stops everything")
            pairs = [(replica, core.supervisor.spec(name)) for name, replica in core.supervisor.replicas.items()]
            killed = stop_everything(self.loop, core.hello.instance, pairs)
            core.recorder.trouble(f"everything is stopped ({len(killed)} processes had to be killed)")
            core.journal.close(2.0)
        self.loop.stop()


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
    sys.exit(0 if process.core is not None and process.core.ended else 1)


if __name__ == "__main__":
    main()
