"""The end of hasup itself: nothing may be left, then the core goes, then the guardian."""

from typing import TYPE_CHECKING

from hasup.guardian.clearing import Clearing
from hasup.guardian.complaint import complain
from hasup.guardian.tree import Tree

if TYPE_CHECKING:
    from hasup.guardian.guardian import Guardian

_LAST_WORDS_S = 3.0  # the core may take so long to end after everything has
_LOOK_S = 0.005
_PATIENCE_S = 10.0  # asked to end, and no core there to do it in order


class Ending:
    """Ends everything, in order, and stops the loop. ``spared`` are children that were there before hasup was."""

    def __init__(self, guardian: "Guardian") -> None:
        self._guardian = guardian
        self._asked = 0
        self._programs_gone = False
        self.code: int | None = None
        self.spared: set[int] = set()

    @property
    def begun(self) -> bool:
        """Whether hasup is on its way out."""
        return self.code is not None

    def asked(self) -> None:
        """SIGTERM or SIGINT came. That is the core's to carry out; it is done here only when no core can."""
        self._asked += 1
        if self._asked >= 3:
            self._force("asked to end three times: everything is killed")
        elif self._asked == 1:
            self._guardian.loop.call_later(_PATIENCE_S, self._without_core)

    def _without_core(self) -> None:
        down = self._guardian.core.down_since
        waited = 0.0 if down is None else self._guardian.loop.now() - down
        if waited >= _PATIENCE_S:
            self._force("asked to end, and no core comes up to do it in order: everything is killed")
        elif not self.begun:
            self._guardian.loop.call_later(_PATIENCE_S - waited, self._without_core)

    def _force(self, why: str) -> None:
        if not self.begun:
            complain(why)
            self.begin(1)
        self._guardian.core.kill()

    def begin(self, code: int) -> None:
        """KILL what lives, then the core goes, then hasup ends with this exit code."""
        if self.begun:
            return
        self.code = code
        self._guardian.core.wanted = False
        self._guardian.upgrade.dismiss()
        for slot in self._guardian.slots.values():
            if not slot.is_empty():
                self._guardian.clear(slot, slot.generation, 0.0)
        self._look()

    def _look(self) -> None:
        if any(slot.clearing is not None for slot in self._guardian.slots.values()):
            self._guardian.loop.call_later(_LOOK_S, self._look)
            return
        self._programs_gone = True
        self._guardian.cgroups.close()
        self._guardian.core.hang_up()
        self._guardian.loop.call_later(_LAST_WORDS_S, self._guardian.core.kill)
        self.core_ended()

    def core_ended(self) -> None:
        """The core is gone, or never was: whoever was adopted and belongs to nobody goes last."""
        guardian = self._guardian
        if self._programs_gone and guardian.core.pid is None:
            rest = Tree(0, None, (), lambda: guardian.own_children() | self.spared)
            last = Clearing(guardian.loop, rest, lambda: False, lambda _killed: guardian.loop.stop(), _complain_of)
            last.order(0, guardian.loop.now())


def _complain_of(pids: list[int]) -> None:
    complain(f"these processes outlive KILL: {pids}")
