"""Kernel pipes for splicing, a bounded number of them, used over and over."""

import os

from hasup.dispatch.ends import Pipe

MOST = 64  # in use at once; more bulk connections than that are read and written
_SPARE = 8  # kept when nobody uses them
CAPACITY = 1 << 16  # bytes: what a pipe holds by default


class Pipes:
    """Lends pipes."""

    def __init__(self) -> None:
        self._lent = 0
        self._spare: list[Pipe] = []

    def lend(self) -> Pipe | None:
        """An empty pipe, or None when there are no more to be had."""
        if self._lent >= MOST:
            return None
        if self._spare:
            pipe = self._spare.pop()
        else:
            try:
                pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError:  # no descriptors left: bulk data is copied then
                return None
        self._lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back; one that is not empty is closed."""
        self._lent -= 1
        if pipe.held or len(self._spare) >= _SPARE:
            os.close(pipe.read_fd)
            os.close(pipe.write_fd)
        else:
            self._spare.append(pipe)
