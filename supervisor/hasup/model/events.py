"""What comes in to the decisions. Facts from the world carry the slot and generation they speak of, so that news
of an older generation is known as such. ``msgspec`` tags make them journal- and replay-ready.
"""

import msgspec


class Event(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all events."""


# --- from the guardian -------------------------------------------------------------------------------------------
class Spawned(Event, frozen=True):
    """The program is running: exec succeeded."""

    slot: str
    generation: int
    pid: int


class SpawnFailed(Event, frozen=True):
    """It could not be executed; ``cause`` says why in words. Nothing of it is left."""

    slot: str
    generation: int
    cause: str


class Exited(Event, frozen=True):
    """The main process ended. ``empty``: nothing of its tree is left."""

    slot: str
    generation: int
    exit_code: int | None = None
    signal: int | None = None
    core_dump: bool = False
    oom: bool = False
    empty: bool = True


class Emptied(Event, frozen=True):
    """Nothing of the slot's tree is left (answer to ClearTree)."""

    slot: str
    generation: int
    killed: int = 0


class Stuck(Event, frozen=True):
    """These processes outlived KILL for seconds; the guardian goes on trying."""

    slot: str
    generation: int
    pids: tuple[int, ...]


class HookEnded(Event, frozen=True):
    """A hook before a start ended, and nothing of it is left; ``cause`` says in words why it failed, "" if it did not.

    It succeeded when ``exit_code`` is 0; None: it was killed, or could not be run.
    """

    slot: str
    generation: int  # the start that it was to come before
    hook: str
    exit_code: int | None = None
    signal: int | None = None
    cause: str = ""


# --- signs of life -----------------------------------------------------------------------------------------------
class Beat(Event, frozen=True):
    """A sign of life from the configured source of the heartbeat."""

    slot: str


class Drained(Event, frozen=True):
    """No connection is open to the slot any more, and none will be: the dispatcher says so."""

    slot: str


class Notified(Event, frozen=True):
    """A checked sd_notify message without its heartbeat part. Fields that were not sent are None."""

    slot: str
    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    status: str | None = None
    main_pid: int | None = None
    watchdog_usec: int | None = None
    watchdog_trigger: bool = False
    extend_timeout_usec: int | None = None


class LogMatched(Event, frozen=True):
    """A line of output matched ``ready.log``."""

    slot: str
    generation: int
    line: str


class ProbeResult(Event, frozen=True):
    """A readiness or health probe came back."""

    slot: str
    generation: int
    probe: str  # "ready" or "health"
    ok: bool
    latency_s: float = 0.0
    detail: str = ""  # in words, for a failed one: "connection refused"


class Sampled(Event, frozen=True):
    """Resources of a replica's whole process tree."""

    slot: str
    generation: int
    memory_bytes: int
    cpu_percent: float | None  # None: no earlier sample to compare with
    processes: int
    threads: int
    open_files: int | None  # None: not readable, or not asked for


class LoadMeasured(Event, frozen=True):
    """The load of a program that is scaled by it, replica by replica; those that were not measured are left out.

    ``cpu`` is in percent of a core over the last second or so; ``connections`` are those open now.
    """

    program: str
    cpu: dict[str, float] = {}
    connections: dict[str, int] = {}


# --- the clock ---------------------------------------------------------------------------------------------------
class Due(Event, frozen=True):
    """A deadline is over: look at every slot that has one."""


class WallClock(Event, frozen=True):
    """What the wall clock (seconds since the epoch) is ahead of the monotonic one: at first, and when it was set.

    Only schedules go by it.
    """

    offset: float


class Stalled(Event, frozen=True):
    """The loop (or the whole machine) did not run for so long: signs of life get that much grace."""

    seconds: float


# --- operators ---------------------------------------------------------------------------------------------------
class Start(Event, frozen=True):
    """Want these replicas (names already resolved to slots)."""

    slots: tuple[str, ...]
    by: str = "operator"
    at_once: bool = False  # what has a schedule does not wait for it


class Stop(Event, frozen=True):
    """Do not want these replicas any more."""

    slots: tuple[str, ...]
    by: str = "operator"


class Restart(Event, frozen=True):
    """Stop and start these replicas at once."""

    slots: tuple[str, ...]
    by: str = "operator"


class Roll(Event, frozen=True):
    """Replace these replicas, as their programs' table ``reload`` has it. ``token`` names the request."""

    slots: tuple[str, ...]
    by: str = "operator"
    token: str = ""


class Scale(Event, frozen=True):
    """Change the number of a program's replicas; ``None``: one that is scaled by its load is left to that again."""

    program: str
    replicas: int | None
    by: str = "operator"


class Shutdown(Event, frozen=True):
    """Stop everything, dependants first, then end hasup. A second one, or ``now``, kills at once."""

    reason: str
    exit_code: int = 0
    now: bool = False
