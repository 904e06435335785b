"""The documents that commands print with ``--json``; the shapes are those of the design, section 5."""

from typing import Any

import msgspec


class Last(msgspec.Struct, frozen=True):
    """How the last run ended; ``at`` is UTC, ISO 8601 with a final Z."""

    result: str
    exit_code: int | None
    signal: str | None
    at: str
    detail: str = ""


class ReplicaStatus(msgspec.Struct, frozen=True):
    """One replica."""

    name: str
    state: str
    ready: bool
    wanted: bool
    pid: int | None
    port: int | None
    uptime_s: float | None
    restarts: int
    last: Last | None
    next_start_s: float | None
    cpu_percent: float | None
    memory_bytes: int | None
    reason: str = ""
    status_text: str = ""
    degraded: bool = False
    settled: bool = False
    stuck: tuple[int, ...] = ()
    restarted_for: dict[str, int] = {}  # restarts by result of the run before
    seconds_in_state: dict[str, float] = {}
    socket: str | None = None  # the path of its Unix socket, in place of a port


class AutoscaleStatus(msgspec.Struct, frozen=True):
    """A program that is scaled by its load; ``cpu_percent`` and ``connections`` are averages for one replica."""

    replicas: int
    min: int
    max: int
    held: bool  # at a number of an operator's, until: hasup scale NAME=auto
    cpu_percent: float | None
    connections: float | None
    reason: str  # of the last change


class ProgramStatus(msgspec.Struct, frozen=True):
    """One program."""

    name: str
    kind: str
    listen: str | None
    ready: int
    need: int
    replicas: tuple[ReplicaStatus, ...]
    dispatcher: ReplicaStatus | None = None  # the first of them
    dispatchers: tuple[ReplicaStatus, ...] = ()
    groups: tuple[str, ...] = ()
    load: dict[str, Any] | None = None  # of its dispatchers together, as hasup.dispatch.stats.figures tells it
    autoscale: AutoscaleStatus | None = None  # of one that is scaled by its load


class LoopLag(msgspec.Struct, frozen=True):
    """How late the core's loop was at its turns; ``buckets``: how many were no later than so many seconds."""

    longest_s: float
    sum_s: float
    buckets: dict[str, int]


class SupervisorStatus(msgspec.Struct, frozen=True):
    """hasup itself."""

    name: str
    version: str
    guardian_pid: int
    core_pid: int
    uptime_s: float
    core_restarts: int
    config: str
    state_dir: str = ""
    stopping: bool = False
    degraded: tuple[str, ...] = ()  # what hasup had to leave undone: "journal: disk full, 12 events lost"
    loop_lag: LoopLag | None = None  # since this core began


class Status(msgspec.Struct, frozen=True):
    """``hasup status --json``."""

    supervisor: SupervisorStatus
    programs: tuple[ProgramStatus, ...]


class EventRecord(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """One line of ``hasup events --json``. ``replica`` or ``program`` is set, or neither for hasup itself."""

    seq: int
    at: str
    event: str
    from_: str | None
    to: str | None
    reason: str
    replica: str | None = None
    program: str | None = None
    detail: dict[str, object] = {}
