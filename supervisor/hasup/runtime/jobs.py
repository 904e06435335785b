"""Short commands beside a replica: exec probes, stop commands, hooks. They run as slots of their own under the
guardian, so that they are killed, cleared and reaped as thoroughly as a replica, also when the core dies.
"""

import os
from collections.abc import Callable

from hasup.loop import Loop, Timer
from hasup.protocol.guardian import Message
from hasup.runtime.engine import Engine
from hasup.runtime.store import Store

SEPARATOR = "/"  # no program's name has one: "web.1/health" is a job of web.1
_OUTPUT_MAX = 4096

Done = Callable[[int | None, str], None]  # exit code (None: killed, timed out or not started), end of its output


def is_job(slot: str) -> bool:
    """Whether a slot of the guardian is a job rather than a replica."""
    return SEPARATOR in slot


class _Job:
    def __init__(self, done: Done, timer: Timer, output_fd: int) -> None:
        self.done = done
        self.timer = timer
        self.output_fd = output_fd
        self.verdict: tuple[int | None, str] | None = None
        self._output = b""

    def read(self) -> None:
        """Take what it wrote, so that it never blocks on us; only the end is kept."""
        try:
            while piece := os.read(self.output_fd, 65536):
                self._output = (self._output + piece)[-_OUTPUT_MAX:]
        except BlockingIOError:
            pass

    def output(self) -> str:
        """The end of what it wrote."""
        self.read()
        return self._output.decode("utf-8", "replace").strip()


class Jobs:
    """At most one job a name at a time."""

    def __init__(self, loop: Loop, engine: Engine, store: Store) -> None:
        self._loop = loop
        self._engine = engine
        self._store = store
        self._jobs: dict[str, _Job] = {}

    def run(self, name: str, order: Message, timeout: float, done: Done) -> None:
        """Run ``order`` (a ``spawn`` order without slot and descriptors); ``done`` is called once, after its end."""
        if name in self._jobs:
            done(None, "the one before has not ended yet")
            return
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        pipe = f"job:{name}:w"
        self._store.keep(self._engine.frame, name, {pipe: write_end})
        order |= {"slot": name, "generation": 1, "fds": [[0, "null"], [1, pipe], [2, pipe]]}
        self._engine.order(name, order)
        timer = self._loop.call_later(timeout, lambda: self._expire(name, timeout))
        job = self._jobs[name] = _Job(done, timer, read_end)
        self._loop.add(read_end, lambda _mask: job.read())

    def cancel(self, name: str) -> None:
        """Kill the job if it runs; its ``done`` is still called."""
        if name in self._jobs:
            self._end(name, None, "cancelled")

    def take(self, message: Message) -> None:
        """News of the guardian about a job's slot."""
        name, job = message["slot"], self._jobs.get(message["slot"])
        match message["event"]:
            case "exited":
                if job is not None and job.verdict is None:
                    job.verdict = (message.get("exit_code"), job.output())
                if message.get("empty"):
                    self._finish(name)
                else:
                    self._clear(name)
            case "spawn-failed":
                if job is not None:
                    job.verdict = (None, str(message["cause"]))
                self._finish(name)
            case "emptied":
                self._finish(name)

    def abandon(self, name: str) -> None:
        """A job of a core that died: nobody waits for it any more."""
        self._clear(name)

    def _expire(self, name: str, timeout: float) -> None:
        self._end(name, None, f"took longer than {timeout:g} s")

    def _end(self, name: str, code: int | None, output: str) -> None:
        job = self._jobs[name]
        if job.verdict is None:
            job.verdict = (code, output)
        self._clear(name)

    def _clear(self, name: str) -> None:
        self._engine.order(name, {"op": "clear", "slot": name, "generation": 1, "grace_s": 0.0})

    def _finish(self, name: str) -> None:
        self._store.drop(self._engine.frame, name, [f"job:{name}:w"])
        self._engine.order(name, {"op": "forget", "slot": name})
        job = self._jobs.pop(name, None)
        if job is None:
            return
        job.timer.cancel()
        code, output = job.verdict or (None, job.output())
        self._loop.remove(job.output_fd)
        os.close(job.output_fd)
        self._engine.after_frame(lambda: job.done(code, output))
