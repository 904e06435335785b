"""The resolved configuration: what the operator asked for, with every default filled in.

Durations are seconds, sizes bytes, percentages percent (90.0 is ``"90%"``). ``${NAME}`` inside strings is still
unexpanded here, since its value can differ from replica to replica (see :mod:`hasup.config.expand`).
"""

from typing import Annotated, Literal

import msgspec

from hasup.model.option import Option

Policy = Literal["always", "on-failure", "never"]
OnLimit = Literal["retry", "fail", "shutdown"]
LimitAction = str  # restart, warn, stop, signal:NAME
Balance = Literal["round-robin", "least-connections", "random-two"]
Condition = Literal["started", "ready", "completed"]
Rlimit = int | tuple[int, int]

RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc",
    "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


class Table(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A table of the configuration."""


class Restart(Table, frozen=True, kw_only=True):
    """When a replica that ended is started again, and after what delay."""

    policy: Annotated[
        Policy | None, Option("always, on-failure or never. Default: always for services, on-failure for tasks")
    ] = None
    success_exit_codes: Annotated[
        tuple[int, ...], Option("Exit codes that count as success", minimum=0, maximum=255)
    ] = (0,)
    delay: Annotated[
        float, Option("First delay; the n-th failure in a row waits delay * factor^(n-1)", "duration", minimum=0)
    ] = 0.1
    factor: Annotated[float, Option("Growth of the delay from one failure to the next", minimum=1)] = 2.0
    max_delay: Annotated[float, Option("The delay never grows above this, jitter aside", "duration", minimum=0)] = 60.0
    jitter: Annotated[float, Option("Up to this fraction of the delay is added at random", minimum=0, maximum=1)] = 0.2
    reset_after: Annotated[
        float, Option("Ready for this long in one go, and the next failure is a first one again", "duration", minimum=0)
    ] = 60.0
    limit: Annotated[int, Option("Most restarts within window; 0: no limit", minimum=0)] = 0
    window: Annotated[float, Option("The sliding window of limit", "duration", minimum=0.001)] = 600.0
    on_limit: Annotated[
        OnLimit, Option("retry: go on at max_delay; fail: state failed; shutdown: stop everything and exit non-zero")
    ] = "retry"


class Ready(Table, frozen=True, kw_only=True):
    """What "ready" means. With no probe: alive for ``after``."""

    after: Annotated[
        float, Option("Alive this long counts as ready, when no other way is given", "duration", minimum=0)
    ] = 1.0
    notify: Annotated[bool, Option("Ready when it sends READY=1 to its NOTIFY_SOCKET")] = False
    http: Annotated[
        str | None,
        Option("Ready when this URL answers with a status from 200 to 399; http://unix:SOCKET:/PATH too", "url"),
    ] = None
    tcp: Annotated[str | None, Option("Ready when a connection to this address succeeds", "address")] = None
    exec: Annotated[tuple[str, ...], Option("Ready when this command exits with 0", "command")] = ()
    log: Annotated[str | None, Option("Ready when a line of its output matches this regular expression", "pattern")] = (
        None
    )
    status: Annotated[
        tuple[int, ...], Option("HTTP statuses that count as an answer; default: 200 to 399", minimum=100, maximum=599)
    ] = ()
    body: Annotated[str | None, Option("A regular expression that the HTTP body must match", "pattern")] = None
    headers: Annotated[dict[str, str], Option("Headers of the HTTP request, Host among them")] = {}
    interval: Annotated[float, Option("Time between two tries", "duration", minimum=0.01)] = 0.25
    probe_timeout: Annotated[float, Option("One try may take this long", "duration", minimum=0.01)] = 2.0
    timeout: Annotated[float, Option("Not ready by then: a failure", "duration", minimum=0.01)] = 60.0


class Heartbeat(Table, frozen=True, kw_only=True):
    """Signs of life that a healthy replica keeps sending."""

    timeout: Annotated[float, Option("No sign of life for this long is a hang", "duration", minimum=0.05)]
    source: Annotated[
        str,
        Option("notify (WATCHDOG=1), output (it must write something), or file:PATH (its modification time)", "source"),
    ] = "notify"


class Health(Table, frozen=True, kw_only=True):
    """A liveness probe, from readiness on."""

    http: Annotated[
        str | None,
        Option("Alive when this URL answers with a status from 200 to 399; http://unix:SOCKET:/PATH too", "url"),
    ] = None
    tcp: Annotated[str | None, Option("Alive when a connection to this address succeeds", "address")] = None
    exec: Annotated[tuple[str, ...], Option("Alive when this command exits with 0", "command")] = ()
    status: Annotated[
        tuple[int, ...], Option("HTTP statuses that count as an answer; default: 200 to 399", minimum=100, maximum=599)
    ] = ()
    body: Annotated[str | None, Option("A regular expression that the HTTP body must match", "pattern")] = None
    headers: Annotated[dict[str, str], Option("Headers of the HTTP request, Host among them")] = {}
    interval: Annotated[float, Option("Time from one probe to the next", "duration", minimum=0.05)] = 5.0
    timeout: Annotated[float, Option("No answer within this is a failed probe", "duration", minimum=0.01)] = 2.0
    failures: Annotated[int, Option("So many failed probes in a row are a hang", minimum=1)] = 3
    successes: Annotated[
        int, Option("So many good probes in a row make a replica ready again that had lost it", minimum=1)
    ] = 1
    slow: Annotated[
        float | None,
        Option(
            "Answers slower than this count as degraded: the dispatcher shifts load away", "duration", minimum=0.001
        ),
    ] = None


class Limit(Table, frozen=True, kw_only=True):
    """A bound on a resource; ``above`` is in bytes, percent, a count or seconds, as the limit says."""

    above: float
    for_: float = msgspec.field(default=0.0, name="for")
    action: LimitAction = "restart"


class Hard(Table, frozen=True, kw_only=True):
    """Bounds that the kernel keeps, by a cgroup of the replica's own. Needs cgroup v2: see how-to/systemd.md."""

    memory: Annotated[
        int | None,
        Option("memory.max: memory with page cache; at this bound the kernel kills (oom-kill)", "size", minimum=2**20),
    ] = None
    cpu: Annotated[
        float | None, Option("cpu.max: processor time; 100% is one core; what is over it waits", "percent", minimum=1)
    ] = None
    tasks: Annotated[int | None, Option("pids.max: processes and threads together; no more can be made", minimum=1)] = (
        None
    )


class Limits(Table, frozen=True, kw_only=True):
    """Bounds over the whole process tree of a replica."""

    memory: Annotated[
        Limit | None,
        Option("Resident memory; what its processes share counts once", "size", minimum=1, shorthand="above"),
    ] = None
    cpu: Annotated[
        Limit | None, Option("Processor time; 100% is one core", "percent", minimum=0.1, shorthand="above")
    ] = None
    open_files: Annotated[Limit | None, Option("Open descriptors", minimum=1, shorthand="above")] = None
    threads: Annotated[Limit | None, Option("Threads", minimum=1, shorthand="above")] = None
    processes: Annotated[
        Limit | None, Option("Processes, with those that ended and were not waited for", minimum=1, shorthand="above")
    ] = None
    age: Annotated[Limit | None, Option("Time since its start", "duration", minimum=0.1, shorthand="above")] = None
    hard: Annotated[Hard, Option("Bounds that the kernel keeps")] = Hard()

    @property
    def sampled(self) -> bool:
        """Whether hasup has to look at the replica for them."""
        return msgspec.structs.replace(self, hard=Hard()) != Limits()


class Abort(Table, frozen=True, kw_only=True):
    """What a hung replica is sent, so that it can write a stack trace before the KILL."""

    signal: Annotated[str, Option("The first signal to a hung replica", "signal")] = "ABRT"
    timeout: Annotated[float, Option("Then KILL to the whole tree", "duration", minimum=0)] = 5.0


class Stop(Table, frozen=True, kw_only=True):
    """How a replica is asked to end."""

    signal: Annotated[str, Option("Sent to the whole group, with CONT", "signal")] = "TERM"
    timeout: Annotated[float, Option("Then KILL to whatever is left", "duration", minimum=0)] = 10.0
    command: Annotated[tuple[str, ...], Option("Run instead of the signal", "command")] = ()


class Listen(Table, frozen=True, kw_only=True):
    """A socket that hasup holds for the program."""

    address: Annotated[
        str, Option("HOST:PORT, [V6]:PORT, unix:PATH, or systemd:NAME for a socket passed by systemd", "address")
    ]
    mode: Annotated[
        Literal["proxy", "share"],
        Option("proxy: forwards to ready replicas at their $PORT; share: each inherits the socket (LISTEN_FDS)"),
    ] = "proxy"
    replica_address: Annotated[
        Literal["tcp", "unix"],
        Option("What $PORT is: tcp, a port at replica_host; unix, the path of the Unix socket to listen on"),
    ] = "tcp"
    replica_host: Annotated[
        str, Option("The address (a number) at which the replicas listen on their $PORT, such as ::1")
    ] = "127.0.0.1"
    proxy_protocol: Annotated[
        Literal["none", "v1", "v2"],
        Option("Version of the PROXY protocol in which replicas are told of each client; none: they are not told"),
    ] = "none"
    balance: Annotated[Balance, Option("round-robin, least-connections or random-two")] = "round-robin"
    weights: Annotated[
        tuple[int, ...], Option("Weight of each slot for round-robin; default: all alike", minimum=0, maximum=1000)
    ] = ()
    drain_timeout: Annotated[
        float,
        Option("Open connections may take this long to end before a replica is told to stop", "duration", minimum=0),
    ] = 30.0
    queue_timeout: Annotated[
        float, Option("With no replica ready, a connection waits this long before it is refused", "duration", minimum=0)
    ] = 10.0
    connect_timeout: Annotated[
        float, Option("One connect to a replica may take this long before the next is tried", "duration", minimum=0.01)
    ] = 1.0
    max_connections: Annotated[int, Option("Most connections at once", minimum=1, maximum=100_000)] = 1024
    dispatchers: Annotated[
        int, Option("Processes that accept and forward, on one listening socket", minimum=1, maximum=16)
    ] = 1
    max_connections_per_client: Annotated[
        int, Option("Most connections of one client: an IPv4 address or an IPv6 /64 network; 0: no limit", minimum=0)
    ] = 0
    queue_limit: Annotated[
        int, Option("Most connections that wait for a ready replica; 0: no limit but max_connections", minimum=0)
    ] = 0
    idle_timeout: Annotated[
        float, Option("A connection without a byte either way for so long is closed; 0: never", "duration", minimum=0)
    ] = 0.0
    backlog: Annotated[int, Option("The kernel's accept queue", minimum=1, maximum=65535)] = 1024


class Logs(Table, frozen=True, kw_only=True):
    """Where the output goes."""

    stdout: Annotated[
        str,
        Option(
            "A file in state_dir/logs, inherit or null; {replica} is the replica's number, {program} its program",
            "file",
        ),
    ] = "{program}.{replica}.log"
    stderr: Annotated[str, Option("merge (with stdout), a file, inherit or null", "file")] = "merge"
    format: Annotated[
        Literal["raw", "text", "json"],
        Option("raw: as written; text: time and stream before each line; json: one object a line"),
    ] = "raw"
    max_size: Annotated[
        int, Option("A file is rotated at a line's end past this size; 0: never", "size", minimum=0)
    ] = 10_000_000
    keep: Annotated[int, Option("So many rotated files are kept", minimum=0, maximum=1000)] = 5
    compress: Annotated[bool, Option("Rotated files are compressed by gzip")] = True


class Reload(Table, frozen=True, kw_only=True):
    """How replicas are replaced by ``hasup reload``."""

    max_unavailable: Annotated[
        int,
        Option(
            "So many replicas may be down for it at once; 0: the new one first, where it can run beside itself "
            "(an automatic port, a shared socket, or no port and several replicas), else 1",
            minimum=0,
        ),
    ] = 0
    rollback: Annotated[
        bool, Option("Go back to what ran when the new version does not become ready; false: go on trying")
    ] = True


class Hooks(Table, frozen=True, kw_only=True):
    """Commands at the turns of a replica's life: see how-to/hooks.md."""

    before_start: Annotated[
        tuple[str, ...], Option("Runs before each start; its failure is a failed start", "command")
    ] = ()
    before_restart: Annotated[
        tuple[str, ...], Option("Runs after a failure, before the next start; its failure is a failed start", "command")
    ] = ()
    on_ready: Annotated[tuple[str, ...], Option("Runs when the replica becomes ready", "command")] = ()
    on_failed: Annotated[tuple[str, ...], Option("Runs when the replica fails or gives up", "command")] = ()
    timeout: Annotated[
        float, Option("A hook that takes longer is killed and counts as failed", "duration", minimum=0.05)
    ] = 30.0


class Autoscale(Table, frozen=True, kw_only=True):
    """How many replicas run, by their load: see how-to/autoscaling.md. One target is needed."""

    min: Annotated[int, Option("Never fewer", minimum=1, maximum=10_000)] = 1
    max: Annotated[int, Option("Never more", minimum=1, maximum=10_000)]
    target_cpu: Annotated[
        float | None, Option("Processor time of a replica to aim at; 100% is one core", "percent", minimum=1)
    ] = None
    target_connections: Annotated[
        int | None, Option("Open connections of a replica to aim at; needs listen.mode proxy", minimum=1)
    ] = None
    tolerance: Annotated[
        float,
        Option("Up when the load is so far above the target, down when it still is so far below it with fewer",
               "percent", minimum=0, maximum=90),
    ] = 10.0  # fmt: skip
    smoothing: Annotated[
        float, Option("Time constant of the moving average of the load", "duration", minimum=0, maximum=600)
    ] = 5.0
    cooldown: Annotated[
        float,
        Option("Fewer only when the load wanted no more for all of this time, and so long after the last change",
               "duration", minimum=0, maximum=86400),
    ] = 60.0  # fmt: skip

    def bounded(self, count: int) -> int:
        """``count``, or the bound that it is beyond."""
        return min(self.max, max(self.min, count))


class Dependency(Table, frozen=True, kw_only=True):
    """What must be true of another program before this one starts."""

    condition: Annotated[Condition, Option("started, ready or completed")] = "ready"
    restart: Annotated[bool, Option("Restart this program when the other one was restarted")] = False


class Program(Table, frozen=True, kw_only=True):
    """One ``[programs.NAME]``."""

    name: str
    command: Annotated[
        tuple[str, ...], Option("What to run: a string split as a shell splits words, or an array", "command")
    ]
    shell: Annotated[bool, Option("Run the command through /bin/sh -c, still in one process group")] = False
    directory: Annotated[str, Option("Working directory, relative to the file", "path")] = "."
    env: Annotated[dict[str, str], Option("Environment variables, over env_files and hasup's own environment")] = {}
    env_files: Annotated[tuple[str, ...], Option("Files of environment variables, later over earlier", "path")] = ()
    user: Annotated[str | None, Option("Run as this user (name or number)")] = None
    group: Annotated[str | None, Option("Run as this group; default: the user's own")] = None
    umask: Annotated[int | None, Option('File mode mask, such as "022"', "octal", minimum=0, maximum=0o777)] = None
    nice: Annotated[int | None, Option("Scheduling priority", minimum=-20, maximum=19)] = None
    rlimits: Annotated[dict[str, Rlimit], Option("Resource limits: a number, or [soft, hard]; -1 is unlimited")] = {}
    replicas: Annotated[
        int,
        Option(
            "So many copies run, as NAME.1, NAME.2 …; or a table: as many as their load needs",
            minimum=0,
            maximum=10_000,
            long="autoscale",
        ),
    ] = 1
    port: Annotated[
        int | Literal["auto"] | None,
        Option(
            "$PORT: a number (the first replica gets it, the second the next), or auto for a free one",
            minimum=1,
            maximum=65535,
        ),
    ] = None
    autostart: Annotated[bool, Option("Start it together with hasup")] = True
    kind: Annotated[Literal["service", "task"], Option("service: keeps running; task: runs to completion")] = "service"
    schedule: Annotated[
        str | None, Option("When a task runs, as five cron fields in local time: see how-to/schedules.md", "schedule")
    ] = None
    essential: Annotated[bool, Option("When it ends for good, hasup stops everything and exits non-zero")] = False
    depends_on: Annotated[
        dict[str, Dependency], Option("Programs that must be there first: a list (ready), or a table of conditions")
    ] = {}
    notify_access: Annotated[
        Literal["tree", "main"],
        Option("Who may send to its NOTIFY_SOCKET: the replica's processes, or its main process"),
    ] = "tree"
    need: Annotated[int, Option("So many ready replicas count as available", minimum=1)] = 1
    objective: Annotated[
        float | None, Option("Availability to reach, for the error budget", "percent", minimum=0, maximum=100)
    ] = None
    restart: Annotated[Restart, Option("When and how it is restarted", shorthand="policy")] = Restart()
    ready: Annotated[Ready, Option("What ready means")] = Ready()
    heartbeat: Annotated[Heartbeat | None, Option("Signs of life", shorthand="timeout")] = None
    health: Annotated[Health | None, Option("Liveness probe")] = None
    limits: Annotated[Limits, Option("Bounds on resources")] = Limits()
    abort: Annotated[Abort, Option("What a hung replica is sent")] = Abort()
    stop: Annotated[Stop, Option("How it is asked to end")] = Stop()
    listen: Annotated[Listen | None, Option("The socket of the program", shorthand="address")] = None
    logs: Annotated[Logs, Option("Where its output goes")] = Logs()
    reload: Annotated[Reload, Option("Rolling restart")] = Reload()
    hooks: Annotated[Hooks, Option("Commands at the turns of its life")] = Hooks()
    autoscale: Autoscale | None = None  # what ``replicas`` says as a table; ``replicas`` is its ``min`` then
    # Filled in by hasup, never by the operator:
    environment: dict[str, str] = {}  # what env_files say, read when the configuration was loaded; no ${NAME} in it
    internal: bool = False  # a dispatcher or the console: supervised alike, left out of listings
    owner: str | None = None  # for an internal program, the program it serves: stopped and started with it

    @property
    def most(self) -> int:
        """So many replicas there may be by the configuration."""
        return self.replicas if self.autoscale is None else self.autoscale.max

    @property
    def policy(self) -> Policy:
        """The restart policy, with the default of its kind."""
        return self.restart.policy or ("always" if self.kind == "service" else "on-failure")


class Group(Table, frozen=True, kw_only=True):
    """Programs that share a fate, as under an OTP supervisor."""

    name: str
    programs: Annotated[tuple[str, ...], Option("Its programs, in start order")]
    strategy: Annotated[
        Literal["one-for-one", "one-for-all", "rest-for-one"],
        Option("Whom a restart takes along: nobody, everybody, or those after it"),
    ] = "one-for-one"
    limit: Annotated[
        int, Option("More than so many restarts within window: on_limit for the whole group; 0: no limit", minimum=0)
    ] = 0
    window: Annotated[float, Option("The sliding window of limit", "duration", minimum=0.001)] = 300.0
    on_limit: Annotated[
        OnLimit, Option("retry: go on at max_delay; fail: all failed; shutdown: stop everything and exit non-zero")
    ] = "retry"


class SupervisorOptions(Table, frozen=True, kw_only=True):
    """The table ``[supervisor]``."""

    name: Annotated[str, Option("Name of this supervisor; default: the folder's name")]
    state_dir: Annotated[
        str, Option("State, logs and sockets; default: $STATE_DIRECTORY, else .hasup beside the file", "path")
    ]
    include: Annotated[tuple[str, ...], Option("More files, as patterns relative to this one")] = ()
    env_files: Annotated[tuple[str, ...], Option("Files of environment variables for every program", "path")] = ()
    restart_rate: Annotated[
        int, Option("Most restarts a second, with as large a burst; programs take turns", minimum=1)
    ] = 1000
    control_group: Annotated[str | None, Option("A group whose members may use the control socket too")] = None
    metrics: Annotated[
        str | None, Option("Serve metrics at this HOST:PORT of the loopback, or unix:PATH (from state_dir)", "address")
    ] = None


class Config(Table, frozen=True, kw_only=True):
    """Everything one hasup runs.

    ``file`` is the absolute path of the file it came from. ``environment`` is what the supervisor's env_files say,
    read when the configuration was loaded; there is no ``${NAME}`` in it.
    """

    file: str
    supervisor: SupervisorOptions
    programs: dict[str, Program]
    groups: dict[str, Group] = {}
    environment: dict[str, str] = {}
