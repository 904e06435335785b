"""Makes one core die at the k-th boundary of its deeds: tests/chaos puts this folder on PYTHONPATH.

A boundary is the moment before or after a packet leaves for the guardian, and after each effect that follows a frame
(journal, log, answers). ``HASUP_TEST_DIE`` is ``K:FILE``; the file says that a core has died already.
"""

import os
import signal
import sys


def _arm(at: int, done: str) -> None:
    from hasup.runtime import engine, link

    count = 0

    def boundary() -> None:
        nonlocal count
        count += 1
        if count == at and not os.path.exists(done):
            with open(done, "w") as file:
                file.write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)

    send, after = link.GuardianLink._try, engine.Engine.after_frame

    def dying_send(self: link.GuardianLink, data: bytes, fds: list[int]) -> bool:
        boundary()
        sent = send(self, data, fds)
        boundary()
        return sent

    def dying_after(self: engine.Engine, effect: object) -> None:
        def both() -> None:
            effect()  # type: ignore[operator]
            boundary()

        after(self, both)

    link.GuardianLink._try = dying_send  # type: ignore[method-assign]
    engine.Engine.after_frame = dying_after  # type: ignore[method-assign]


if "hasup.runtime" in sys.orig_argv and "HASUP_TEST_DIE" in os.environ:
    _at, _, _done = os.environ["HASUP_TEST_DIE"].partition(":")
    _arm(int(_at), _done)
