"""The main loop's middle: facts in, decisions taken, orders out. One turn of the loop is one frame to the guardian.

Nothing else changes a replica's state. Readers only enqueue; the decisions are pure (:mod:`hasup.core`); what they
ask for is carried out in :meth:`Engine.flush`, after the frame that holds the new state is on its way.
"""

from collections import Counter, deque
from collections.abc import Callable, Set

from hasup.core import Supervisor
from hasup.loop import Loop, Timer
from hasup.model.actions import Action
from hasup.model.events import Due, Event, Stalled
from hasup.runtime.lag import Lag
from hasup.runtime.link import Frame, GuardianLink

BATCH = 16  # slots with orders, after which these are sent: the guardian forks while others are prepared
STALL_S = 1.0  # a loop that did not turn for so long was stopped or starved: signs of life get grace


class Engine:
    """Feeds the decisions and hands their actions to ``perform``, which adds orders to the turn's frame."""

    def __init__(self, loop: Loop, link: GuardianLink, supervisor: Supervisor) -> None:
        self.loop = loop
        self.supervisor = supervisor
        self.frame = Frame()
        self.perform: Callable[[Action], None] = lambda _action: None
        self.changed: Callable[[list[str]], None] = lambda _slots: None
        self.extra_blobs: Callable[[], dict[str, str | None]] = dict
        self.lag = Lag()
        self._link = link
        self._blobs: dict[str, str | None] = {}  # state that has not been sent
        self._queue: deque[Event] = deque()
        self._after: list[Callable[[], None]] = []
        self._timer: Timer | None = None
        self._timer_at: float | None = None
        loop.before_sleep = self.flush
        loop.after_sleep = self._look_for_stall

    def feed(self, event: Event) -> None:
        """Enqueue a fact or a wish."""
        self._queue.append(event)

    def order(self, slot: str, order: dict[str, object]) -> None:
        """Add an order to this turn's frame."""
        self.frame.add(slot, order)

    def after_frame(self, effect: Callable[[], None]) -> None:
        """Do this once the turn's frame has been sent: journal, log, answers."""
        self._after.append(effect)

    def flush(self) -> None:
        """Decide on all that is queued, send the frame, then do what was to be done after it."""
        while self._queue or self._after or self.frame:
            self._decide()
            self._send()
            effects, self._after = self._after, []
            for effect in effects:
                effect()
        self._arm()

    def _decide(self) -> None:
        while self._queue:
            actions = self.supervisor.handle(self._queue.popleft(), self.loop.now())
            to_come = Counter(map(_slot, actions))
            for action in actions:
                self.perform(action)
                to_come[_slot(action)] -= 1
                if len(self.frame) >= BATCH and not to_come[_slot(action)]:
                    self._send({slot for slot, count in to_come.items() if count})

    def _send(self, unfinished: Set[str] = frozenset()) -> None:
        """Send state and orders, but not of slots of which more orders are to come: the two travel together."""
        self._blobs |= self.supervisor.take_blobs()
        blobs = {slot: blob for slot, blob in self._blobs.items() if slot not in unfinished}
        for slot in blobs:
            del self._blobs[slot]
        slots = [slot for slot in blobs if slot]
        if slots:
            self.changed(slots)
        frame = self.frame.take(unfinished)
        self._link.send(frame, blobs | self.extra_blobs())

    def _arm(self) -> None:
        """One timer for the earliest deadline of all."""
        due = self.supervisor.next_deadline()
        if due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = None if due is None else self.loop.call_at(due, self._due)

    def _due(self) -> None:
        self._timer_at = None
        self.feed(Due())

    def _look_for_stall(self, lag: float) -> None:
        self.lag.note(lag)
        if lag > STALL_S:  # first in the turn: grace comes before judgement
            self._queue.appendleft(Stalled(lag))


def _slot(action: Action) -> str:
    return getattr(action, "slot", "")
