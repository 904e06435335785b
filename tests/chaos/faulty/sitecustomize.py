"""Faults to order: tests/chaos puts this folder on PYTHONPATH, and a file a fault in the folder ``HASUP_TEST_FAULTS``.

``core-dies``: each new core ends at once. ``core-waits``: each new core waits before it reads anything.
``no-memory``: the guardian cannot fork. ``clock``: what the wall clock of guardian and core is off by, in seconds.
"""

import errno
import os
import sys
import time


def _fault(name: str) -> str:
    return os.path.join(os.environ["HASUP_TEST_FAULTS"], name)


def _arm_core() -> None:
    if os.path.exists(_fault("core-dies")):
        os._exit(3)
    while os.path.exists(_fault("core-waits")):
        time.sleep(0.01)  # until the test says otherwise


def _arm_guardian() -> None:
    from hasup.guardian import cloning, forking

    fork, clone, spawn = os.fork, forking._clone, cloning._spawn

    def failing() -> int:
        if os.path.exists(_fault("no-memory")):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return fork()

    os.fork = failing
    forking._clone = lambda cgroup: -1 if os.path.exists(_fault("no-memory")) else clone(cgroup)
    if spawn is not None:
        cloning._spawn = lambda *given: -errno.ENOMEM if os.path.exists(_fault("no-memory")) else spawn(*given)


def _arm_clock() -> None:
    true = time.time

    def wrong() -> float:
        try:
            with open(_fault("clock")) as file:
                return true() + float(file.read() or 0)
        except FileNotFoundError:
            return true()

    time.time = wrong


if "HASUP_TEST_FAULTS" in os.environ:
    if "hasup.runtime" in sys.orig_argv:
        _arm_core()
        _arm_clock()
    if "hasup.guardian" in sys.orig_argv:
        _arm_guardian()
        _arm_clock()
