"""``python -m hasup.guardian OPTIONS``: started by ``hasup start``, never by hand.

``OPTIONS`` is one JSON object: ``instance`` (32 hexadecimal digits), ``state_dir``, ``store`` ({name: descriptor}, all
inherited), ``lock_fd``, ``core`` (the core's argv), ``cgroup`` (false: use none). Or, from a guardian that replaces
itself: ``resume``, the descriptor of its state; with ``rehearse``, that is only read.
"""

import ctypes
import gc
import json
import os
import resource
import signal
import sys
from typing import Any

from hasup.guardian.complaint import complain
from hasup.guardian.guardian import Guardian
from hasup.guardian.steps import CAUGHT
from hasup.guardian.tree import children
from hasup.guardian.upgrade import inherited, read_state, rehearse, resume
from hasup.loop import EXITS, Loop

_PR_SET_CHILD_SUBREAPER = 36
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Signals as bytes on a pipe, so that the loop serves them in its order."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self._read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in CAUGHT:
            signal.signal(number, _heard)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        guardian.loop.add(self._read, lambda _mask: self.take(), order=EXITS)
        guardian.take_signals = self.take

    def take(self) -> None:
        """Serve what has come."""
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return
        self._guardian.reap()  # whichever came: a lost byte must not lose a child
        for number in numbers:
            if number != signal.SIGCHLD:
                self._guardian.core.signal(number)
            if number in _ENDING:
                self._guardian.ending.asked()


def _heard(_number: int, _frame: object) -> None:
    """The wakeup descriptor has told the loop."""


def _become_subreaper() -> None:
    """Descendants whose parent died come back to this process rather than to PID 1."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        complain("this system has no subreapers: daemons that leave their session may not be found")


def _raise_file_limit() -> tuple[int, int]:
    """Two pipes and a socket a replica add up; children get back what hasup was started with, which is returned."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def _fresh(options: dict[str, Any]) -> Guardian:
    for fd in (*options.get("store", {}).values(), options.get("lock_fd")):
        if fd is not None and fd > 2:
            os.set_inheritable(fd, False)
    _become_subreaper()
    options["files"] = _raise_file_limit()
    guardian = Guardian(Loop(), options)
    guardian.ending.spared.update(children(os.getpid()))
    Signals(guardian)
    guardian.core.start()
    return guardian


def _resumed(fd: int, only_rehearse: bool) -> Guardian | None:
    state = read_state(fd)
    if only_rehearse:
        rehearse(Guardian(Loop(), state["options"] | {"cgroup": False}), state)
        return None
    os.close(fd)
    for kept in inherited(state):
        if kept > 2:
            os.set_inheritable(kept, False)
    guardian = Guardian(Loop(), state["options"])
    Signals(guardian)
    resume(guardian, state)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    guardian.reap()  # what ended under the old program, whose SIGCHLD it may have taken
    return guardian


def main() -> int:
    """Run until the core orders the end; returns the exit code."""
    options = json.loads(sys.argv[1])
    if "resume" in options:
        guardian = _resumed(options["resume"], options.get("rehearse", False))
        if guardian is None:
            return 0
    else:
        guardian = _fresh(options)
    gc.collect()
    gc.freeze()  # what is here now stays: no collection after a fork copies its pages
    guardian.loop.run()
    guardian.cgroups.leave()
    return guardian.ending.code if guardian.ending.code is not None else 1


if __name__ == "__main__":
    sys.exit(main())
