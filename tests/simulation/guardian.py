"""A guardian and children that are data. It takes the orders of a frame and tells its news, as the real one does.

``protocol/guardian.py`` is the contract: spawns are idempotent by generation, ``clear`` is always answered, and the
latest facts of each slot are kept for the next core.
"""

import random
from collections.abc import Callable

from hasup.model import actions as act
from hasup.model import events as ev

STUCK_AFTER_S = 5.0
EXEC_S = 0.001  # from fork to exec; the earliest of ends comes before it


class Broken(AssertionError):
    """A promise was broken."""


def check(holds: object, promise: str) -> None:
    """``promise`` is kept when ``holds``."""
    if not holds:
        raise Broken(promise)


class Life:
    """What becomes of a child; drawn when it is spawned. Times are seconds from its start, None is never."""

    __slots__ = (
        "code", "ends", "extra", "grows", "hangs", "heals", "ill", "leaves", "left_ends", "obeys", "oom", "ready",
        "signal", "stuck_s", "unspawnable",
    )  # fmt: skip

    def __init__(self, chance: random.Random, *, healthy: bool, task: bool) -> None:
        self.unspawnable = False
        self.ends: float | None = 1.0 if task else None
        self.code: int | None = 0
        self.signal: int | None = None
        self.oom = False
        self.obeys = True
        self.leaves = False
        self.left_ends: float | None = None  # what it leaves ends by itself so much later
        self.stuck_s = 0.0  # KILL takes so long
        self.ready: float | None = 0.2
        self.hangs: float | None = None
        self.ill: float | None = None
        self.heals: float | None = None
        self.grows: float | None = None
        self.extra: ev.Notified | None = None
        if not healthy:
            self._draw(chance)

    def _draw(self, chance: random.Random) -> None:
        self.unspawnable = chance.random() < 0.06
        if chance.random() < 0.65:
            self.ends = chance.choice([0.0005, 0.01, 0.4, 3.0, 30.0])
            self.code = chance.choice([0, 1, 1, 3])
            if chance.random() < 0.25:
                self.code, self.signal, self.oom = None, chance.choice([9, 11]), chance.random() < 0.3
        self.obeys = chance.random() < 0.7
        if chance.random() < 0.2:
            self.leaves, self.left_ends = True, chance.choice([None, 0.5])
        self.stuck_s = chance.choice([0.0] * 9 + [8.0])
        self.ready = chance.choice([0.0, 0.2, 0.2, 3.0, None])
        self.hangs = chance.choice([None, None, 0.0, 2.0])
        self.ill, self.heals = chance.choice([(None, None), (0.0, None), (1.0, 2.5), (1.0, None)])
        self.grows = chance.choice([None, 0.0, 1.0])

    def heal(self, *, task: bool) -> None:
        """All is well from here on; what was missed so far stays missed."""
        self.ends = self.ends if task else None
        self.obeys, self.leaves, self.stuck_s = True, False, 0.0
        self.hangs = self.ill = self.grows = None


class Hook:
    """One that runs before a start; what becomes of it is drawn when it begins."""

    __slots__ = ("alive", "code", "ends", "generation", "hook", "obeys", "stuck_s")

    def __init__(self, hook: str, generation: int, chance: random.Random, *, healthy: bool) -> None:
        self.hook, self.generation = hook, generation
        self.alive = True
        self.ends: float | None = 0.1
        self.code: int | None = 0
        self.obeys = True
        self.stuck_s = 0.0
        if not healthy:
            self.ends = chance.choice([0.001, 0.1, 0.1, 1.0, 10.0, None])
            self.code = chance.choice([0, 0, 0, 1])
            self.obeys = chance.random() < 0.7
            self.stuck_s = chance.choice([0.0] * 5 + [8.0])

    def heal(self) -> None:
        """All is well from here on: what has not ended ends when it is told to."""
        self.obeys, self.stuck_s = True, 0.0


class Slot:
    """What the guardian knows of a slot."""

    __slots__ = (
        "alive", "born", "clear_until", "empty", "error", "exit", "generation", "hook", "left", "life", "passed",
        "phase",
    )  # fmt: skip

    def __init__(self) -> None:
        self.generation = 0
        self.phase = "none"  # none, spawning, running, exited
        self.alive = False
        self.left = False  # descendants that outlived it
        self.empty = True  # as last looked at
        self.clear_until: float | None = None  # it is being cleared: KILL from here on
        self.exit: ev.Exited | None = None
        self.error: str | None = None
        self.born = 0.0
        self.life: Life | None = None
        self.hook: Hook | None = None  # the one that runs, or ran last, before a start
        self.passed: tuple[str, int] | None = None  # which one succeeded last, and before which generation


class Guardian:
    """Slots; ``later`` runs a deed after so many seconds, ``tell`` sends news, ``draw`` draws a life."""

    def __init__(
        self,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
        tell: Callable[[ev.Event], None],
        draw: Callable[[str], Life],
        draw_hook: Callable[[str, int], Hook],
        born: Callable[[str, int], None],
    ) -> None:
        self.slots: dict[str, Slot] = {}
        self._now, self._later, self._tell, self._draw, self._born = now, later, tell, draw, born
        self._draw_hook = draw_hook

    def empty(self) -> bool:
        """Whether nothing lives."""
        return not any(slot.alive or slot.left or hook_lives(slot) for slot in self.slots.values())

    def carry_out(self, action: act.Action) -> None:
        """One order."""
        match action:
            case act.Spawn(slot, generation):
                self._spawn(slot, generation)
            case act.RunHook(slot, generation, hook) if hook.startswith("before"):
                self._run_hook(slot, generation, hook)
            case act.EndHook(slot, generation, hook, grace_s):
                self.end_hook(slot, generation, hook, grace_s)
            case act.Signal(slot, generation, number):
                self._signal(slot, generation, number)
            case act.RunStopCommand(slot, generation):
                self._signal(slot, generation, 15)
            case act.ClearTree(slot, generation, grace_s):
                self.clear(slot, generation, grace_s)
            case act.Forget(slot):
                known = self.slots.pop(slot, Slot())
                check(not known.alive and not known.left, "P2: only what is empty is forgotten")
                check(not hook_lives(known), "P2: nothing is forgotten while a hook of it runs")

    def news(self, name: str) -> list[ev.Event]:
        """The facts of a slot, as a new core is told them."""
        slot = self.slots[name]
        hook = slot.hook
        if hook is not None and not hook.alive:
            return [*self._news(name, slot), _hook_ended(name, hook)]
        return self._news(name, slot)

    def _news(self, name: str, slot: Slot) -> list[ev.Event]:
        if slot.phase == "running":
            return [ev.Spawned(name, slot.generation, 1000 + slot.generation)]
        if slot.phase != "exited":
            return []
        emptied: list[ev.Event] = [ev.Emptied(name, slot.generation)] if slot.empty else []
        if slot.error is not None:
            return [ev.SpawnFailed(name, slot.generation, slot.error), *emptied]
        assert slot.exit is not None
        return [ev.Spawned(name, slot.generation, 1000 + slot.generation), slot.exit, *emptied]

    # --- a child's life ---------------------------------------------------------------------------------------------
    def _spawn(self, name: str, generation: int) -> None:
        slot = self.slots.setdefault(name, Slot())
        check(generation > slot.generation, "P1: a generation is spawned once")
        check(not slot.alive, "P1: never two")
        check(not slot.left, "P1: nothing of the last run is left")
        check(not hook_lives(slot), "hooks: nothing is spawned while a hook runs that comes before it")
        slot.generation, slot.phase, slot.alive, slot.empty = generation, "spawning", True, False
        slot.exit = slot.error = slot.clear_until = None
        slot.born, slot.life = self._now(), self._draw(name)
        self._later(EXEC_S, lambda: self._exec_known(name, generation))
        if slot.life.ends is not None:
            self._later(slot.life.ends, lambda: self._ends(name, generation))

    def _current(self, name: str, generation: int) -> Slot | None:
        slot = self.slots.get(name)
        return slot if slot is not None and slot.alive and slot.generation == generation else None

    def _exec_known(self, name: str, generation: int) -> None:
        slot = self._current(name, generation)
        if slot is None or slot.phase != "spawning" or slot.life is None:
            return
        if slot.life.unspawnable:
            slot.alive, slot.empty, slot.phase, slot.error = False, True, "exited", "no such program"
            self._tell(ev.SpawnFailed(name, generation, slot.error))
            self._cleared(name, slot)
        else:
            slot.phase = "running"
            self._tell(ev.Spawned(name, generation, 1000 + generation))
            self._born(name, generation)

    def _ends(self, name: str, generation: int) -> None:
        slot = self._current(name, generation)
        if slot is not None and slot.life is not None and slot.life.ends is not None:
            self.die(name, generation, code=slot.life.code, signal=slot.life.signal, oom=slot.life.oom)

    def die(
        self, name: str, generation: int, *, code: int | None = None, signal: int | None = None, oom: bool = False
    ) -> None:
        """Its main process ends."""
        slot = self._current(name, generation)
        if slot is None or slot.life is None:
            return
        if slot.phase == "spawning":
            self._tell(ev.Spawned(name, generation, 1000 + generation))
        slot.alive, slot.phase = False, "exited"
        slot.left = slot.life.leaves
        slot.empty = not slot.left
        slot.exit = ev.Exited(
            name, generation, exit_code=code, signal=signal, core_dump=signal in (6, 11), oom=oom, empty=slot.empty
        )
        self._tell(slot.exit)
        self._cleared(name, slot)
        if slot.left and slot.life.left_ends is not None:
            self._later(slot.life.left_ends, lambda: self._left_ends(name, generation))

    def _left_ends(self, name: str, generation: int) -> None:
        slot = self.slots.get(name)
        if slot is not None and slot.generation == generation and slot.left:
            slot.left = False
            self._cleared(name, slot)

    # --- hooks before a start ---------------------------------------------------------------------------------------
    def _run_hook(self, name: str, generation: int, kind: str) -> None:
        slot = self.slots.setdefault(name, Slot())
        check(generation > slot.generation, "hooks: one before a start comes before it")
        check(not slot.alive and not slot.left, "hooks: nothing of the last run is left")
        check(not hook_lives(slot), "hooks: one at a time")
        hook = slot.hook = self._draw_hook(kind, generation)
        if hook.ends is not None:
            self._later(hook.ends, lambda: self._end_hook_now(name, hook, hook.code))

    def end_hook(self, name: str, generation: int, kind: str, grace_s: float) -> None:
        """See to it that nothing of it is left; what has ended was told to have."""
        hook = self.slots[name].hook if name in self.slots else None
        if hook is None or not hook.alive or (hook.hook, hook.generation) != (kind, generation):
            return
        if grace_s > 0 and hook.obeys:
            self._later(0.02, lambda: self._end_hook_now(name, hook, None))
        self._later(grace_s + hook.stuck_s, lambda: self._end_hook_now(name, hook, None))

    def _end_hook_now(self, name: str, hook: Hook, code: int | None) -> None:
        slot = self.slots.get(name)
        if slot is None or not hook.alive:
            return
        hook.alive, hook.code = False, code
        if code == 0:
            slot.passed = (hook.hook, hook.generation)
        self._tell(_hook_ended(name, hook))

    # --- ending it --------------------------------------------------------------------------------------------------
    def _signal(self, name: str, generation: int, number: int) -> None:
        slot = self.slots.get(name)
        check(slot is not None and slot.generation == generation, "P1: no signal to another generation")
        if slot is not None and slot.alive and slot.life is not None and slot.life.obeys and number in (6, 15):
            self._later(0.02, lambda: self.die(name, generation, signal=number))

    def clear(self, name: str, generation: int, grace_s: float) -> None:
        """See to it that nothing is left; always answered."""
        slot = self.slots.get(name)
        if slot is None or slot.life is None or generation < slot.generation:
            self._tell(ev.Emptied(name, generation))
            return
        until = slot.clear_until = self._now() + grace_s
        if self._cleared(name, slot):
            return
        self._later(grace_s, lambda: self._kill(name, generation, until))

    def _kill(self, name: str, generation: int, until: float) -> None:
        slot = self.slots.get(name)
        if slot is None or slot.generation != generation or slot.clear_until != until or slot.life is None:
            return
        if slot.life.stuck_s:
            self._later(STUCK_AFTER_S, lambda: self._tell_stuck(name, generation))
            self._later(slot.life.stuck_s, lambda: self._kill(name, generation, until))
            slot.life.stuck_s = 0.0
            return
        slot.life.leaves = slot.left = False
        self.die(name, generation, signal=9)
        self._cleared(name, slot)

    def _tell_stuck(self, name: str, generation: int) -> None:
        slot = self.slots.get(name)
        if slot is not None and slot.generation == generation and slot.clear_until is not None:
            self._tell(ev.Stuck(name, generation, (1000 + generation,)))

    def _cleared(self, name: str, slot: Slot) -> bool:
        if slot.alive or slot.left or slot.clear_until is None:
            return False
        slot.empty, slot.clear_until = True, None
        self._tell(ev.Emptied(name, slot.generation))
        return True


def hook_lives(slot: Slot) -> bool:
    """Whether a hook before a start runs."""
    return slot.hook is not None and slot.hook.alive


def _hook_ended(name: str, hook: Hook) -> ev.HookEnded:
    cause = "" if hook.code == 0 else "it did not work"
    return ev.HookEnded(name, hook.generation, hook.hook, exit_code=hook.code, cause=cause)
