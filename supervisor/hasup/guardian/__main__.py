"""``python -m hasup.guardian OPTIONS``: started by ``hasup start``, never by hand.

``OPTIONS`` is one JSON object: ``instance`` (32 hexadecimal digits), ``state_dir``, ``store`` ({name: descriptor}, all
inherited), ``lock_fd``, ``core`` (the core's argv), ``cgroup`` (false: use none).
"""

import ctypes
import gc
import json
import os
import resource
import signal
import sys

from hasup.guardian.guardian import Guardian
from hasup.guardian.spawn import complain
from hasup.loop import EXITS, Loop

_PR_SET_CHILD_SUBREAPER = 36
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_S = 10.0


class Signals:
    """Signals as bytes on a pipe, so that the loop serves them in its order."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self._ends = 0
        self._read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_FORWARDED):
            signal.signal(number, _heard)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        guardian.loop.add(self._read, self._take, order=EXITS)

    def _take(self, _mask: int) -> None:
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return
        self._guardian.reap()  # whichever came: a lost byte must not lose a child
        for number in numbers:
            if number != signal.SIGCHLD:
                self._forward(number)

    def _forward(self, number: int) -> None:
        guardian = self._guardian
        guardian.signalled(number)
        if number not in _ENDING:
            return
        self._ends += 1
        if self._ends >= 3:
            guardian.give_up("asked to end three times: everything is killed")
        elif guardian.core.down_since is not None:
            guardian.loop.call_later(_PATIENCE_S, self._without_core)

    def _without_core(self) -> None:
        down = self._guardian.core.down_since
        if down is not None and self._guardian.exit_code is None:
            self._guardian.give_up("asked to end, and no core comes up to do it in order: everything is killed")


def _heard(_number: int, _frame: object) -> None:
    """The wakeup descriptor has told the loop."""


def _become_subreaper() -> None:
    """Descendants whose parent died come back to this process rather than to PID 1."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        complain("this system has no subreapers: daemons that leave their session may not be found")


def _raise_file_limit() -> None:
    """Two pipes and a socket a replica add up; children get back what hasup itself was started with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Run until the core orders the end; returns the exit code."""
    options = json.loads(sys.argv[1])
    for fd in (*options.get("store", {}).values(), options.get("lock_fd")):
        if fd is not None and fd > 2:
            os.set_inheritable(fd, False)
    _become_subreaper()
    _raise_file_limit()
    loop = Loop()
    guardian = Guardian(loop, options)
    Signals(guardian)
    guardian.core.start()
    gc.collect()
    gc.freeze()  # what is here now stays: no collection after a fork copies its pages
    loop.run()
    return guardian.exit_code if guardian.exit_code is not None else 1


if __name__ == "__main__":
    sys.exit(main())
