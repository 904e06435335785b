"""All replicas and what is counted about them, so that no event costs a walk over everything."""

from collections.abc import Iterable, Mapping
from typing import TypeGuard

import msgspec
from msgspec.structs import replace

from hasup.core.autoscale import Memory
from hasup.core.deadlines import Deadlines
from hasup.core.plan import Plan
from hasup.core.rate import Queue, Rate
from hasup.core.restore import decode
from hasup.core.rolling import Rolling, for_standing_in, other
from hasup.core.step import Calendar
from hasup.model.spec import Config, Group, Program
from hasup.model.state import AT_REST, Replica, State

_FORWARDS = frozenset({State.RUNNING, State.STOPPING})
_ASKED = 16  # tokens kept


class Own(msgspec.Struct, omit_defaults=True):
    """What the supervisor remembers besides its replicas."""

    scale: dict[str, int] = {}  # as an operator wants it
    scaled: dict[str, int] = {}  # as their load wants it
    scaled_for: dict[str, str] = {}  # why there are so many of those
    ending: str | None = None  # why everything is being stopped
    exit_code: int = 0
    killing: bool = False
    group_history: dict[str, list[float]] = {}
    rolling: dict[str, Rolling] = {}  # program -> its rolling restart under way
    reloaded: dict[str, str] = {}  # program -> why its last one failed, or does not get on
    asked: list[str] = []  # the tokens of the last reloads: a command whose core died asks again with the same


class Roster:
    """The replicas of a configuration. Every change goes through :meth:`put`."""

    def __init__(self, config: Config, seed: int, calendar: Calendar) -> None:
        self.seed = seed
        self.calendar = calendar
        self.offset = 0.0  # of the wall clock from the monotonic one
        self.own = Own()
        self.replicas: dict[str, Replica] = {}
        self.deadlines = Deadlines(lambda slot: earliest(self.replicas.get(slot)))
        self.wake: dict[str, None] = {}  # programs that changed: those that depend on them must be looked at
        self.looks: dict[str, Memory] = {}  # programs that are scaled by their load -> what is known of that
        self.unsettled = 0  # wanted, and neither ready, completed nor failed yet
        self._slots: dict[str, dict[str, None]] = {}
        self._busy: dict[str, int] = {}  # program -> replicas that are not at rest
        self._waiting: dict[str, int] = {}  # program -> replicas that wait for others
        self._along: dict[tuple[str, State], int] = {}  # group -> replicas that are restarted with it, by state
        self._dirty: dict[str, None] = {"": None}  # an ordered set, as is the next: the same history, the same frames
        self._forgotten: dict[str, None] = {}
        self.rate = Rate(config.supervisor.restart_rate)
        self.queue = Queue()
        self.configure(config, config.programs)
        for program in config.programs.values():
            self.resize(program.name, program.replicas)

    def configure(self, config: Config, programs: Mapping[str, Program]) -> None:
        """Take over a configuration; ``programs`` may hold some more, which are on their way out."""
        self.config = config
        self.programs = dict(programs)
        self.rate.change(config.supervisor.restart_rate)
        self.plan = Plan(self.programs, self.of)
        self._bound = {name: [g for g in _bound(config) if name in g.programs] for name in programs}
        self.servers: dict[str, list[str]] = {}  # program -> hasup's own programs that serve it
        for program in self.programs.values():
            if program.owner is not None:
                self.servers.setdefault(program.owner, []).append(program.name)

    def revert(self, name: str, program: Program) -> Program:
        """Let a program be configured as it was; returns what it was to become. Its number of replicas stays."""
        rejected = self.config.programs[name]
        depends_on = {other: how for other, how in program.depends_on.items() if other in self.programs}
        program = replace(program, depends_on=depends_on)
        config = replace(self.config, programs=self.config.programs | {name: program})
        running = replace(program, replicas=self.programs[name].replicas)
        self.configure(config, self.programs | {name: running})
        self.wake.update(dict.fromkeys(self.programs))
        return rejected

    # --- what is known ----------------------------------------------------------------------------------------------
    def spec(self, known: Replica, *, of_next: bool = False) -> Program:
        """What a replica runs (or its next generation is to): while its configuration changes, the old or the new."""
        program = self.programs[known.program]
        plan = self.own.rolling.get(known.program)
        if plan is None:
            return program
        if (runs := other(plan, known, known.generation + of_next)) is not None:
            program = replace(runs, replicas=program.replicas)
        return for_standing_in(program) if known.name in plan.stand_ins else program

    def stands_in(self, known: Replica) -> bool:
        """Whether it is there only while its program is reloaded."""
        plan = self.own.rolling.get(known.program)
        return plan is not None and known.name in plan.stand_ins

    def of(self, program: str) -> list[Replica]:
        """The replicas that a program is to have, by number."""
        count = self.programs[program].replicas
        return [r for i in range(1, count + 1) if (r := self.replicas.get(f"{program}.{i}")) is not None]

    def there(self, program: str) -> list[Replica]:
        """Those that a program is to have, and those that stand in."""
        plan = self.own.rolling.get(program)
        stand_ins = plan.stand_ins if plan is not None else ()
        return [*self.of(program), *(self.replicas[slot] for slot in stand_ins if slot in self.replicas)]

    def beyond(self, program: str, count: int) -> list[Replica]:
        """The replicas of a program beyond so many, the last one first."""
        known = self._slots.get(program, {})
        if len(known) <= count:
            return []
        found = [self.replicas[slot] for slot in known if self.replicas[slot].index > count]
        return sorted(found, key=lambda r: -r.index)

    def at_rest(self, program: str) -> bool:
        """Whether nothing of a program lives or is about to."""
        return not self._busy.get(program)

    def waiting(self, program: str) -> list[Replica]:
        """Its wanted replicas that wait for others, not for a time."""
        return [known for known in self.there(program) if _waits(known)] if self._waiting.get(program) else []

    def all_at_rest(self) -> bool:
        """Whether nothing lives at all."""
        return not any(self._busy.values())

    def drains(self, program: str) -> str | None:
        """What still serves a program, is not wanted any more, and has not ended yet."""
        for name in self.servers.get(program, ()):
            if not self.at_rest(name) and not any(r.wanted for r in self.of(name)):
                return name
        return None

    def is_served(self, program: str) -> bool:
        """Whether something forwards connections to a program's replicas, or still brings some to their end."""
        return any(r.state in _FORWARDS for name in self.servers.get(program, ()) for r in self.of(name))

    def number(self, program: Program, current: int) -> int:
        """How many replicas a program is to have that has ``current``: as an operator, its load or the file wants."""
        held = self.own.scale.get(program.name)
        if held is not None:
            return held
        return program.replicas if program.autoscale is None else program.autoscale.bounded(current)

    def together(self, known: Replica) -> str | None:
        """What else of its groups a replica has to wait for, in words; None when it may start.

        No old one lives beside a new one, and the last one to end does not start before those that come first.
        """
        for group in self._bound.get(known.program, ()):
            ends = known.along == group.name and known.state is State.STOPPING
            ending = self._along.get((group.name, State.STOPPING), 0) - ends
            if ending or (ends and self._along.get((group.name, State.WAITING))):
                return f"waits for those of {group.name} to end that are restarted with it"
        return None

    # --- changes ----------------------------------------------------------------------------------------------------
    def put(self, after: Replica) -> None:
        """A replica changed, or is new."""
        slot = after.name
        before = self.replicas.get(slot)
        self.replicas[slot] = after
        self.deadlines.moved(slot, earliest(after))
        self._dirty[slot] = None
        self.queue.changed(before, after)
        if before is None:
            self._slots.setdefault(after.program, {})[slot] = None
        self._count(after.program, before, after)
        if before is None or _matters_to_others(before, after):
            self.wake[after.program] = None

    def beat(self, known: Replica, due: float) -> None:
        """A sign of life. It is frequent, and not worth a word to the guardian: a new core awaits it afresh."""
        after = self.replicas[known.name] = replace(known, heartbeat_due=due, extend_until=None)
        self.deadlines.moved(known.name, earliest(after))

    def _count(self, program: str, before: Replica | None, after: Replica | None) -> None:
        self._busy[program] = self._busy.get(program, 0) + _is_busy(after) - _is_busy(before)
        self._waiting[program] = self._waiting.get(program, 0) + _waits(after) - _waits(before)
        self.unsettled += _is_unsettled(after) - _is_unsettled(before)
        for known, change in ((before, -1), (after, 1)):
            if known is not None and known.along is not None:
                key = (known.along, known.state)
                self._along[key] = self._along.get(key, 0) + change
        if _ends_along(before) and not _ends_along(after) and before.along in self.config.groups:
            self.wake.update(dict.fromkeys(self.config.groups[before.along].programs))  # they start in this order

    def resize(self, name: str, count: int) -> list[str]:
        """Let a program have so many replicas; returns the slots that are new. Surplus ones stay until removed."""
        if self.programs[name].autoscale is not None:
            self.own.scaled[name] = count
            self.remember()
        self.programs[name] = replace(self.programs[name], replicas=count)
        added = [f"{name}.{i}" for i in range(1, count + 1) if f"{name}.{i}" not in self.replicas]
        for slot in added:
            self.put(Replica(name=slot, program=name, index=int(slot.rpartition(".")[2])))
        self.wake[name] = None
        return added

    def remove(self, slot: str) -> None:
        """A slot is gone for good."""
        gone = self.replicas.pop(slot)
        del self._slots[gone.program][slot]
        self._count(gone.program, gone, None)
        self.queue.changed(gone, None)
        self.deadlines.forget(slot)
        self._dirty.pop(slot, None)
        self._forgotten[slot] = None

    def remember_asked(self, token: str) -> None:
        """A reload was asked for by this token."""
        if token:
            self.own.asked = [*self.own.asked[1 - _ASKED :], token]
            self.remember()

    def remember(self) -> None:
        """The supervisor's own state changed."""
        self._dirty[""] = None

    # --- state as text ----------------------------------------------------------------------------------------------
    def take_blobs(self) -> dict[str, str | None]:
        """What changed since the last call: slot to text, or None for one that is gone; ``""`` is the supervisor."""
        blobs: dict[str, str | None] = dict.fromkeys(self._forgotten)
        for slot in self._dirty:
            state: object = self.replicas.get(slot) if slot else self.own
            if state is not None:
                blobs[slot] = msgspec.json.encode(state).decode()
        self._dirty, self._forgotten = {}, {}
        return blobs

    def load(self, blobs: Mapping[str, str]) -> None:
        """Take over what an earlier core knew."""
        self.own = decode(blobs.get("", "{}"), Own)
        for name, program in list(self.programs.items()):
            self.resize(name, self.number(program, self.own.scaled.get(name, program.replicas)))
        for name, plan in self.own.rolling.items():
            if name in self.programs and plan.held is not None:
                self.resize(name, plan.held)
        for name, program in self.programs.items():
            for surplus in self.beyond(name, program.replicas):
                self.remove(surplus.name)  # one that is still being stopped comes back with its blob
        self._adopt(decode(blob, Replica) for slot, blob in blobs.items() if slot)
        self._dirty, self._forgotten = dict.fromkeys(["", *self.replicas]), {}

    def _adopt(self, replicas: Iterable[Replica]) -> None:
        for known in replicas:
            if known.program in self.programs:
                self.put(known)
                if known.admitted and known.deadline is not None:
                    self.rate.taken(known.deadline)


def _bound(config: Config) -> list[Group]:
    """The groups of which a failure takes others along."""
    return [group for group in config.groups.values() if group.strategy != "one-for-one"]


def earliest(known: Replica | None) -> float | None:
    """When a replica must be looked at next."""
    if known is None:
        return None
    due = known.deadline
    if known.heartbeat_due is not None and (due is None or known.heartbeat_due < due):
        due = known.heartbeat_due
    if known.run_due is not None and (due is None or known.run_due < due):
        due = known.run_due
    return due


def _matters_to_others(before: Replica, after: Replica) -> bool:
    return (
        before.state is not after.state
        or before.ready != after.ready
        or before.pid != after.pid
        or before.tree_empty != after.tree_empty
    )


def _ends_along(known: Replica | None) -> TypeGuard[Replica]:
    """Whether others of a group, which are restarted with it, wait for its end."""
    return known is not None and known.along is not None and known.state is State.STOPPING


def _is_busy(known: Replica | None) -> bool:
    return known is not None and known.state not in AT_REST


def _waits(known: Replica | None) -> bool:
    return known is not None and known.state is State.WAITING and known.deadline is None and known.wanted


def _is_unsettled(known: Replica | None) -> bool:
    return known is not None and known.wanted and not known.settled
