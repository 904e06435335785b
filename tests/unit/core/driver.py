"""Drives the decision core by hand: the clock, the guardian's answers and what was asked for."""

from typing import Any

from hasup.core import Supervisor
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model import spec
from hasup.model.state import Replica, State


def program(name: str = "web", **options: Any) -> spec.Program:
    return spec.Program(name=name, **({"command": ("x",), "ready": spec.Ready(after=0)} | options))


def config(*programs: spec.Program, groups: tuple[spec.Group, ...] = (), rate: int = 1000) -> spec.Config:
    return spec.Config(
        file="/hasup.toml",
        supervisor=spec.SupervisorOptions(name="s", state_dir="/s", restart_rate=rate),
        programs={known.name: known for known in programs},
        groups={group.name: group for group in groups},
    )


class EveryHour:
    """The minutes of an hour, as a calendar: schedule "15" is a quarter past each."""

    def following(self, schedule: str, after: float) -> float:
        offset = float(schedule) * 60
        return ((after - offset) // 3600 + 1) * 3600 + offset

    def shown(self, at: float) -> str:
        return f"{at / 60:g} min"


class Driver:
    """A core, its clock, and the orders of its last event."""

    def __init__(self, *programs: spec.Program, groups: tuple[spec.Group, ...] = (), rate: int = 1000) -> None:
        self.config = config(*programs, groups=groups, rate=rate)
        self.core = Supervisor(self.config, seed=1, calendar=EveryHour())
        self.now = 100.0
        self.blobs: dict[str, str] = {}
        self.actions: list[act.Action] = []

    def __getitem__(self, slot: str) -> Replica:
        return self.core.replicas[slot]

    def state(self, slot: str) -> State:
        return self[slot].state

    def states(self) -> dict[str, str]:
        return {name: str(known.state) for name, known in self.core.replicas.items()}

    def tell(self, event: ev.Event) -> list[act.Action]:
        self.actions = self.core.handle(event, self.now)
        self._save()
        return self.actions

    def _save(self) -> None:
        for slot, blob in self.core.take_blobs().items():
            if blob is None:
                self.blobs.pop(slot, None)
            else:
                self.blobs[slot] = blob

    def wait(self, seconds: float) -> list[act.Action]:
        """Time passes; deadlines are dealt with when they are over. Returns what was asked for meanwhile."""
        until, done = self.now + seconds, []
        while (due := self.core.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            done += self.tell(ev.Due())
        self.now = until
        self.actions = done
        return done

    def reload(self, *programs: spec.Program, groups: tuple[spec.Group, ...] = ()) -> list[act.Action]:
        self.config = config(*programs, groups=groups)
        self.actions = self.core.apply(self.config, self.now)[1]
        self._save()
        return self.actions

    def new_core(self, blobs: dict[str, str] | None = None) -> None:
        """The core is killed; another one takes over from what the guardian keeps."""
        self.core = Supervisor(self.config, seed=1, calendar=EveryHour())
        self.core.restore(self.blobs if blobs is None else blobs, self.now)

    def restart(self, *slots: str) -> list[act.Action]:
        return self.tell(ev.Restart(slots))

    # --- the guardian's side ----------------------------------------------------------------------------------------
    def spawned(self, *slots: str) -> list[act.Action]:
        return [a for slot in slots for a in self.tell(ev.Spawned(slot, self[slot].generation, 1000))]

    def exits(self, slot: str, code: int | None = 1, **how: Any) -> list[act.Action]:
        return self.tell(ev.Exited(slot, self[slot].generation, exit_code=code, **how))

    def emptied(self, slot: str) -> list[act.Action]:
        return self.tell(ev.Emptied(slot, self[slot].generation))

    def up(self, *slots: str) -> "Driver":
        """Start these (all: none named), and let each be spawned."""
        self.tell(ev.Start(slots or tuple(self.core.replicas)))
        while starting := [name for name, r in self.core.replicas.items() if r.spawning]:
            self.spawned(*starting)
        return self

    def let_it_roll(self) -> None:
        """Every replica obeys, and every start succeeds."""
        while True:
            starting = [name for name, r in self.core.replicas.items() if r.spawning]
            stopping = [name for name, r in self.core.replicas.items() if r.state is State.STOPPING]
            if starting:
                self.spawned(starting[0])
            elif stopping:
                self.exits(stopping[0], 0)
            else:
                return

    # --- what was asked for -----------------------------------------------------------------------------------------
    def asked(self, kind: type[act.Action]) -> list[str]:
        """The slots that an action of this kind was asked for, by the last event."""
        return [action.slot for action in self.actions if isinstance(action, kind)]  # type: ignore[attr-defined]

    def told(self, event: str) -> list[str]:
        """The reasons of these changes."""
        return [a.reason for a in self.actions if isinstance(a, act.Changed | act.Note) and a.event == event]

    def exit_codes(self) -> list[int]:
        return [action.code for action in self.actions if isinstance(action, act.Exit)]
