"""Hooks: commands at the turns of a replica's life, each a slot of its own under the guardian (``web.1/before_start``).

Their orders travel in the replica's part of the frame, together with the state that says that they run; a core that
takes over from another one finds both, goes on waiting for what runs, and hears of what ended meanwhile.
"""

from collections.abc import Callable

from hasup.config import expand
from hasup.core import Supervisor
from hasup.core.hooks import BESIDE, GATES
from hasup.logs.sinks import Sinks
from hasup.loop import Timer
from hasup.model import actions as act
from hasup.model.events import HookEnded
from hasup.model.state import Replica
from hasup.protocol.guardian import Message
from hasup.runtime.engine import Engine
from hasup.runtime.jobs import SEPARATOR
from hasup.runtime.snapshot import Slot
from hasup.runtime.spawning import CannotStart, Spawner

_TERM = 15


def is_hook(slot: str) -> bool:
    """Whether a slot of the guardian is a hook."""
    return slot.rpartition(SEPARATOR)[2] in (*GATES, *BESIDE)


class _Hook:
    """One that runs. ``gates``: the decisions wait for it, and see to its time themselves."""

    def __init__(self, name: str, generation: int) -> None:
        self.slot, _, self.hook = name.rpartition(SEPARATOR)
        self.gates = self.hook in GATES
        self.generation = generation
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.cause: str | None = None  # why it failed, "" if it did not; None: it has not ended
        self.cleared = False  # the guardian was asked to see to its end: it will say when nothing is left
        self.timer: Timer | None = None


class Hooks:
    """At most one of a name at a time."""

    def __init__(
        self,
        engine: Engine,
        spawner: Spawner,
        sinks: Sinks,
        open_streams: Callable[[str], None],
        trouble: Callable[[str], None],
    ) -> None:
        self._loop = engine.loop
        self._engine = engine
        self._supervisor: Supervisor = engine.supervisor
        self._spawner = spawner
        self._sinks = sinks
        self._open_streams = open_streams
        self._trouble = trouble
        self._running: dict[str, _Hook] = {}
        self._idle: Callable[[], None] | None = None

    # --- orders -----------------------------------------------------------------------------------------------------
    def run(self, action: act.RunHook) -> None:
        """Start one."""
        name = f"{action.slot}{SEPARATOR}{action.hook}"
        if action.slot not in self._supervisor.replicas:  # scaled away in this very turn
            return
        if name in self._running:  # only of those beside the replica: the decisions wait for the others
            self._told(f"{action.slot}: its {action.hook} hook is left out, since the one before still runs")
            return
        program = self._supervisor.spec(action.slot)
        hook = self._begin(name, action.generation)
        argv: tuple[str, ...] = getattr(program.hooks, action.hook)
        try:
            self._open_streams(action.slot)
            self._mark(hook)
            order = self._spawner.hook_order(action.slot, name, action.generation, program, argv, action.facts)
        except (CannotStart, expand.ExpandError) as error:
            self._fail(name, hook, str(error))
        except OSError as error:  # no descriptors left, say
            self._fail(name, hook, f"hasup could not prepare its start: {error.strerror}")
        else:
            self._engine.order(action.slot, order)

    def end(self, action: act.EndHook) -> None:
        """Ask one to end, and see to it that it does."""
        name = f"{action.slot}{SEPARATOR}{action.hook}"
        hook = self._running.get(name)
        if hook is None or hook.generation != action.generation:  # it has just ended: the decisions will hear of it
            return
        hook.cleared = True
        about: Message = {"slot": name, "generation": action.generation}
        if action.grace_s > 0:
            ask = {"op": "signal", "signal": _TERM, "scope": "group", "cont": True}
            self._engine.order(action.slot, ask | about)
        self._engine.order(action.slot, {"op": "clear", "grace_s": action.grace_s} | about)

    def when_idle(self, do: Callable[[], None]) -> None:
        """Call ``do`` once no hook runs, after this turn's frame: each has its timeout."""
        self._idle = do
        self._engine.after_frame(self._look_idle)

    def kill(self) -> None:
        """Nobody waits for those beside a replica any longer."""
        for name, hook in self._running.items():
            if not hook.gates:
                self._clear(name, hook.generation)

    # --- news -------------------------------------------------------------------------------------------------------
    def take(self, message: Message) -> None:
        """News of the guardian about a hook's slot."""
        name = message["slot"]
        hook = self._running.get(name)
        if hook is not None and hook.generation != message["generation"]:
            return  # an answer about the one before
        match message["event"]:
            case "exited":
                if hook is not None:
                    self._exited(hook, message)
                if message.get("empty"):
                    self._finish(name)
                else:
                    self._clear(name, message["generation"])
            case "spawn-failed":
                if hook is not None:
                    hook.cause = str(message["cause"])
                self._finish(name)
            case "emptied" if hook is None or hook.cleared:
                self._finish(name)

    def adopt(self, known: Slot) -> None:
        """A hook of a core that died: gone on with when it still matters, else ended."""
        slot, _, kind = known.slot.rpartition(SEPARATOR)
        replica = self._supervisor.replicas.get(slot)
        if replica is None or (kind in GATES and not _awaited(replica, kind, known.generation)):
            self._clear(known.slot, known.generation)
            return
        hook = self._begin(known.slot, known.generation)
        self._mark(hook)
        if known.phase != "exited":
            return
        about = {"slot": known.slot, "generation": known.generation, "empty": known.empty}
        if known.exit is not None:
            self.take({**known.exit, **about, "event": "exited"})
        else:
            hook.cause = known.error if isinstance(known.error, str) else "it was not started"
            self._finish(known.slot)

    def adopted(self) -> None:
        """All slots were told: what a replica waits for and is not there has failed."""
        for replica in self._supervisor.replicas.values():
            if replica.hook is not None and f"{replica.name}{SEPARATOR}{replica.hook}" not in self._running:
                lost = HookEnded(replica.name, replica.generation, replica.hook, cause="it was lost")
                self._engine.feed(lost)

    # --- one hook ---------------------------------------------------------------------------------------------------
    def _begin(self, name: str, generation: int) -> _Hook:
        slot = name.rpartition(SEPARATOR)[0]
        hook = self._running[name] = _Hook(name, generation)
        if not hook.gates:
            timeout = self._supervisor.spec(slot).hooks.timeout
            hook.timer = self._loop.call_later(timeout, lambda: self._expire(name, hook, timeout))
        return hook

    def _mark(self, hook: _Hook) -> None:
        """What its replica's log gets from here on is the hook's."""
        if hook.gates:
            self._sinks.drain(hook.slot)
            self._sinks.mark(hook.slot)

    def _expire(self, name: str, hook: _Hook, timeout: float) -> None:
        hook.cause = f"it took longer than {timeout:g} s"
        self._clear(name, hook.generation)

    def _clear(self, name: str, generation: int) -> None:
        slot = name.rpartition(SEPARATOR)[0]
        if name in self._running:
            self._running[name].cleared = True
        self._engine.order(slot, {"op": "clear", "slot": name, "generation": generation, "grace_s": 0.0})

    def _exited(self, hook: _Hook, message: Message) -> None:
        if hook.cause is not None:
            return
        hook.exit_code, hook.signal = message.get("exit_code"), message.get("signal")
        if hook.exit_code == 0:
            hook.cause = ""
        else:
            how = f"signal {hook.signal}" if hook.signal is not None else f"exit code {hook.exit_code}"
            hook.cause = ": ".join([how, *self._words(hook)])

    def _words(self, hook: _Hook) -> list[str]:
        """The last line that it wrote, as far as the replica's log tells: nobody else writes to it meanwhile."""
        if not hook.gates:
            return []
        self._sinks.drain(hook.slot)
        last = self._sinks.tail(hook.slot, 1, of_this_run=True)
        return [line.strip()[:300] for line in last if line.strip()]

    def _fail(self, name: str, hook: _Hook, cause: str) -> None:
        hook.cause = cause
        self._finish(name)

    def _finish(self, name: str) -> None:
        """Nothing of it is left."""
        self._engine.order(name.rpartition(SEPARATOR)[0], {"op": "forget", "slot": name})
        hook = self._running.pop(name, None)
        if hook is None:
            return
        if hook.timer is not None:
            hook.timer.cancel()
        cause = "it was ended" if hook.cause is None else hook.cause
        if hook.gates:
            event = HookEnded(hook.slot, hook.generation, hook.hook, hook.exit_code, hook.signal, cause)
            self._engine.feed(event)
        elif cause:
            self._told(f"{hook.slot}: its {hook.hook} hook failed: {cause}")
        self._engine.after_frame(self._look_idle)

    def _look_idle(self) -> None:
        if self._idle is not None and not self._running:
            do, self._idle = self._idle, None
            do()

    def _told(self, text: str) -> None:
        self._engine.after_frame(lambda: self._trouble(text))


def _awaited(replica: Replica, kind: str, generation: int) -> bool:
    return replica.hook == kind and replica.generation == generation
