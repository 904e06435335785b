"""What the guardian tells a core that has just been started."""

import msgspec

from hasup.model.events import Emptied, Event, Exited, Spawned, SpawnFailed
from hasup.protocol.guardian import VERSION, Message
from hasup.runtime.store import Store


class Hello(msgspec.Struct):
    """The guardian's introduction."""

    instance: str
    guardian_pid: int
    started: float
    core_restarts: int
    core_died: str | None = None
    version: str = ""  # of the guardian
    protocol: int = VERSION
    upgrade: Message | None = None  # how the last one ended: {id, cause}
    upgrading: bool = False


class Slot(msgspec.Struct):
    """The latest facts of one slot."""

    slot: str
    phase: str  # none, spawning, running, exited
    generation: int = 0
    pid: int | None = None
    cgroup: str | None = None
    unbound: list[str] = []  # the bounds asked for it that could not be set
    exit: Message | None = None
    error: str | Message | None = None
    empty: bool = True
    blob: str | None = None

    def news(self) -> list[Event]:
        """The facts as events; the decisions know by themselves which of them are old."""
        if self.phase == "running" and self.pid is not None:
            return [Spawned(self.slot, self.generation, self.pid)]
        if self.phase != "exited":
            return []
        emptied: list[Event] = [Emptied(self.slot, self.generation)] if self.empty else []
        if self.error is not None:
            cause = self.error if isinstance(self.error, str) else str(self.error.get("cause", "unknown"))
            return [SpawnFailed(self.slot, self.generation, cause), *emptied]
        assert self.exit is not None
        spawned: list[Event] = [] if self.pid is None else [Spawned(self.slot, self.generation, self.pid)]
        return [*spawned, exited(self.exit | {"slot": self.slot, "generation": self.generation}), *emptied]


def exited(message: Message) -> Exited:
    """The event of an ``exited`` message."""
    return Exited(
        message["slot"],
        message["generation"],
        exit_code=message.get("exit_code"),
        signal=message.get("signal"),
        core_dump=bool(message.get("core_dump")),
        oom=bool(message.get("oom")),
        empty=bool(message.get("empty")),
    )


class Snapshot:
    """Collects the packets from ``hello`` to ``hello-end``."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.slots: dict[str, Slot] = {}
        self.store = Store()

    def take(self, message: Message, fds: list[int]) -> bool:
        """Take one packet; true when it was the last."""
        match message["event"]:
            case "hello":
                self.hello = msgspec.convert(message, Hello)
            case "store":
                self.store.adopt(message["names"], fds)
            case "slots":
                self.slots.update((slot["slot"], msgspec.convert(slot, Slot)) for slot in message["slots"])
            case "hello-end":
                return True
        return False
