"""Brings a slot's tree to its end: waits as long as it was granted, then KILL until nothing is left."""

from collections.abc import Callable
from typing import Any

from hasup.guardian.tree import Tree
from hasup.loop import Loop, Timer

_STUCK_AFTER_S = 5.0
_FIRST_PAUSE_S = 0.001
_PAUSE_MAX_S = 0.1


class Clearing:
    """One tree under way to its end. ``main_lives`` says whether its main process has not been reaped.

    ``done`` is called once, with how many had to be killed; ``stuck`` with the processes that outlive KILL, whenever
    these change.
    """

    def __init__(
        self,
        loop: Loop,
        tree: Tree,
        main_lives: Callable[[], bool],
        done: Callable[[int], None],
        stuck: Callable[[list[int]], None],
    ) -> None:
        self.generation = 0  # that of the last order
        self.grace_until = 0.0
        self.kill_began: float | None = None
        self.killed = 0
        self._loop = loop
        self._tree = tree
        self._main_lives = main_lives
        self._done = done
        self._stuck = stuck
        self._told: list[int] = []
        self._pause = _FIRST_PAUSE_S
        self._timer: Timer | None = None

    def order(self, generation: int, grace_until: float) -> None:
        """Ordered, or ordered again: KILL from ``grace_until`` on, on the loop's clock."""
        self.generation, self.grace_until, self._pause = generation, grace_until, _FIRST_PAUSE_S
        self._tree.remember()
        self.look()

    def cancel(self) -> None:
        """No more of it."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """One step: done, wait, or kill once more. Called at its own times, and when one of its processes ended."""
        self.cancel()
        if not self._main_lives() and self._tree.is_empty():
            self._done(self.killed)
            return
        now = self._loop.now()
        wait = self.grace_until - now
        if wait <= 0:
            self._kill(now)
            wait = self._pause
        elif not self._main_lives():  # while it lives its end is what to wait for, and that comes by itself
            wait = min(self._pause, wait)
        self._pause = min(_PAUSE_MAX_S, self._pause * 2)
        self._timer = self._loop.call_later(wait, self.look)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs."""
        return {
            "generation": self.generation, "grace_until": self.grace_until, "kill_began": self.kill_began,
            "killed": self.killed,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another one was."""
        self.kill_began, self.killed = state["kill_began"], state["killed"]
        self.order(state["generation"], state["grace_until"])

    def _kill(self, now: float) -> None:
        if self.kill_began is None:
            self.kill_began = now
        try:
            self.killed = max(self.killed, self._tree.kill())
            if now - self.kill_began >= _STUCK_AFTER_S:
                self._tell_stuck()
        except OSError:  # no descriptors left, say: the next look may find some
            pass

    def _tell_stuck(self) -> None:
        pids = sorted(self._tree.members())
        if pids and pids != self._told:
            self._told = pids
            self._stuck(pids)
