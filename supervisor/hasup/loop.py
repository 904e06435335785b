"""A small event loop on epoll: descriptors in a fixed order of precedence, then timers. Standard library only.

One thread owns it. In each turn, ready descriptors are served by their ``order`` (signs of life before exits before
control), and deadlines come last, so that nothing is judged late that had already reported in time.
"""

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Final

SIGNS_OF_LIFE: Final = 0
EXITS: Final = 1
CONTROL: Final = 2

_LONGEST_SLEEP: Final = (
    86_400.0  # seconds; epoll counts milliseconds in 31 bits, which is less than a timer may ask for
)

Callback = Callable[[int], None]


class Timer:
    """A call at a time; ``cancel`` may be called at any moment, also after it ran."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call; harmless when it ran already."""
        self.callback = None


class Loop:
    """Descriptors and timers. Callbacks must not block and must not raise: what they raise ends :meth:`run`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.turns = 0
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callback]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._running = False
        self.lag = 0.0  # how late the earliest timer was when this turn began, in seconds
        self.before_sleep: Callable[[], None] | None = None  # called once a turn, after everything else
        self.after_sleep: Callable[[float], None] | None = None  # called once a turn, first, with the lag

    def add(self, fd: int, callback: Callback, *, read: bool = True, write: bool = False, order: int = CONTROL) -> None:
        """Call ``callback(mask)`` while ``fd`` is ready; ``mask`` is epoll's (EPOLLIN, EPOLLOUT, EPOLLHUP …)."""
        self._epoll.register(fd, _mask(read, write))
        self._watched[fd] = (order, callback)

    def modify(self, fd: int, *, read: bool = True, write: bool = False) -> None:
        """Change what ``fd`` is watched for."""
        self._epoll.modify(fd, _mask(read, write))

    def remove(self, fd: int) -> None:
        """Watch ``fd`` no more; call it before closing ``fd``. Unknown descriptors are ignored."""
        if self._watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed already: the kernel has forgotten it
                pass

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, at ``when`` on the loop's clock (seconds)."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, (when, next(self._count), timer))
        return timer

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once, ``delay`` seconds from now."""
        return self.call_at(self.now() + delay, callback)

    def run(self) -> None:
        """Turn until :meth:`stop`."""
        self._running = True
        while self._running:
            self.turn()

    def stop(self) -> None:
        """End :meth:`run` after this turn."""
        self._running = False

    def turn(self, at_most: float | None = None) -> None:
        """Wait for the next thing to do (at most so many seconds), and do it."""
        self.turns += 1
        ready = self._epoll.poll(self._patience(at_most))
        self.lag = max(0.0, self.now() - self._timers[0][0]) if self._timers else 0.0
        if self.after_sleep is not None:
            self.after_sleep(self.lag)
        for fd, mask in sorted(ready, key=self._order):
            watched = self._watched.get(fd)
            if watched is not None:  # an earlier callback of this turn may have removed it
                watched[1](mask)
        self._run_timers()
        if self.before_sleep is not None:
            self.before_sleep()

    def close(self) -> None:
        """Give the epoll descriptor back."""
        self._epoll.close()

    def _order(self, ready: tuple[int, int]) -> int:
        watched = self._watched.get(ready[0])
        return watched[0] if watched is not None else CONTROL

    def _patience(self, at_most: float | None) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return at_most
        patience = min(max(0.0, self._timers[0][0] - self.now()), _LONGEST_SLEEP)
        return patience if at_most is None else min(patience, at_most)

    def _run_timers(self) -> None:
        now = self.now()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2].callback
            if callback is not None:
                callback()


def _mask(read: bool, write: bool) -> int:
    return (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
