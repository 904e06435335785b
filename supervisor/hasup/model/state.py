"""What hasup knows of a replica. Times are seconds on the monotonic clock, which goes on across a restart of the
core (it counts from the machine's boot). Wall-clock times are only ever shown, but for ``run_at`` of a schedule.
"""

from enum import StrEnum

import msgspec


class State(StrEnum):
    """The nine states; see docs/explanation/states.md for the diagram."""

    STOPPED = "stopped"  # not wanted
    WAITING = "waiting"  # wanted; a dependency is not there yet, or a schedule is not due
    STARTING = "starting"  # spawned, not ready; or a hook runs before that
    RUNNING = "running"  # ready, or ready once: the flag says whether now
    ABORTING = "aborting"  # found hung: abort signal sent, then KILL
    BACKOFF = "backoff"  # failed; the delay is running, or what is left of it is being cleared away
    STOPPING = "stopping"  # stop signal sent, then KILL; left when the tree is empty
    COMPLETED = "completed"  # a task that succeeded, or a service that ended and must not be restarted
    FAILED = "failed"  # gave up, by the operator's own rule


AT_REST = frozenset({State.STOPPED, State.COMPLETED, State.FAILED})  # left only when somebody, or a schedule, starts it


class Result(StrEnum):
    """How the last run ended."""

    SUCCESS = "success"
    EXIT_CODE = "exit-code"
    SIGNAL = "signal"
    CORE_DUMP = "core-dump"
    OOM_KILL = "oom-kill"
    HEARTBEAT = "heartbeat"
    HEALTH = "health"
    MEMORY = "memory"
    CPU = "cpu"
    OPEN_FILES = "open-files"
    THREADS = "threads"
    PROCESSES = "processes"
    AGE = "age"
    START_TIMEOUT = "start-timeout"
    SPAWN_FAILED = "spawn-failed"
    HOOK_FAILED = "hook-failed"
    DEPENDENCY_FAILED = "dependency-failed"
    OPERATOR = "operator"
    RELOAD = "reload"
    STOP_TIMEOUT = "stop-timeout"
    LIMIT = "limit"  # gave up


class LastRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that ended last."""

    result: Result
    exit_code: int | None = None
    signal: str | None = None  # "SIGKILL"
    core_dump: bool = False
    detail: str = ""  # in words: "no sign of life for 10 s"
    at: float = 0.0  # monotonic


class Replica(msgspec.Struct, frozen=True, omit_defaults=True):
    """One slot. Entering a state replaces its deadline, so that no timer is lost or left over."""

    name: str  # web.1
    program: str
    index: int  # 1, 2 …
    state: State = State.STOPPED
    reason: str = "not started yet"  # why it is in this state, in words; the same in status, events, logs, UI
    wanted: bool = False
    ready: bool = False
    generation: int = 0  # counts spawns; 0: never spawned
    pid: int | None = None  # its live main process
    spawning: bool = False  # asked for, not yet known to be running or to have failed
    tree_empty: bool = True  # nothing of the last run is left; a spawn needs this
    clearing: bool = False  # the guardian was asked to clear what is left
    stuck: tuple[int, ...] = ()  # processes that outlived KILL
    since: float = 0.0  # entered the state
    started: float = 0.0  # spawned
    ready_since: float | None = None  # ready in one go from here
    leaving: bool = False  # it said that it is stopping: not ready again, whatever its probes say
    deadline: float | None = None  # the state's own timer
    heartbeat_due: float | None = None  # the next sign of life must come before this
    extend_until: float | None = None  # no later than this, however often it asks for more time before the next sign
    watchdog_s: float | None = None  # WATCHDOG_USEC sent by the replica replaces heartbeat.timeout
    failing: Result | None = None  # while aborting or being stopped for a limit: why; becomes last.result
    failing_detail: str = ""
    failures: int = 0  # in a row, for the delay
    history: tuple[float, ...] = ()  # restarts within the window, as many as the limit needs
    restarts: int = 0  # in all
    restarted_for: dict[str, int] = {}  # the same by result of the run before
    spent: dict[str, float] = {}  # seconds in each state, the one that it is in not counted
    last: LastRun | None = None
    status_text: str = ""  # STATUS= of the replica
    probe_failures: int = 0  # failed health probes in a row
    probe_successes: int = 0
    degraded: bool = False  # slow
    over_since: dict[str, float] = {}  # limit -> over it since; hasup.core.limits.FIRED once it fired
    then_start: bool = False  # stopping for a restart: start again when the tree is empty
    along: str | None = None  # the group with which it is restarted: it starts when all of these have ended
    draining: bool = False  # stopping, but not told yet: it gets no new connections, and those it has may end
    admitted: bool = False  # it has had its turn under restart_rate, which comes at the deadline
    hook: str | None = None  # the hook that runs before its start; while it is being ended, too
    recover: bool = False  # it failed, and before_restart has not run since
    run_at: float | None = None  # on a schedule: when the next run is due, in seconds since the epoch
    run_from: float = 0.0  # what the wall clock said when that was reckoned
    run_due: float | None = None  # the same on the monotonic clock, as long as nobody sets the wall clock
    settled: bool = False  # was ready, completed or failed its first start since it was wanted (start -d)

    @property
    def at_rest(self) -> bool:
        """Whether nothing of it lives, and nothing will until somebody starts it."""
        return self.state in AT_REST and self.pid is None and self.tree_empty
