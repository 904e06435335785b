"""Programs that hasup adds by itself: a dispatcher for each that listens in proxy mode, metrics, the console."""

import json
import os
import sys
from collections.abc import Sequence

import msgspec

from hasup.config import expand
from hasup.logs import journald
from hasup.model.spec import Config, Heartbeat, Listen, Logs, Program, Ready, Restart, Stop

CONSOLE = ":console"
METRICS = ":metrics"
_PYTHON = (sys.executable, "-P")  # -P: the working directory is no place to import from


def prepare(config: Config, *, python: Sequence[str] = _PYTHON, console: bool = False) -> Config:
    """The configuration with hasup's own programs, which run on ``python`` (with its flags).

    ``console`` adds the printer of the foreground.
    """
    added = [_dispatcher(p, config, python) for p in config.programs.values() if p.listen and p.listen.mode == "proxy"]
    if config.supervisor.metrics is not None:
        added.append(_metrics(config, config.supervisor.metrics, python))
    if console:
        added.append(_console(config, python))
    return msgspec.structs.replace(config, programs=config.programs | {program.name: program for program in added})


def renewed(config: Config, python: Sequence[str]) -> Config:
    """The configuration with hasup's own programs on this ``python``: an upgrade may have moved it."""
    own = {
        program.name: msgspec.structs.replace(program, command=(*python, *_after_python(program.command)))
        for program in config.programs.values()
        if program.internal
    }
    return msgspec.structs.replace(config, programs=config.programs | own)


def _after_python(command: Sequence[str]) -> Sequence[str]:
    return command[command.index("-m") :]


def without_internal(config: Config) -> Config:
    """The configuration as the operator wrote it."""
    programs = {name: program for name, program in config.programs.items() if not program.internal}
    return msgspec.structs.replace(config, programs=programs)


def _dispatcher(program: Program, config: Config, python: Sequence[str]) -> Program:
    assert program.listen is not None
    number = ".{replica}" if program.listen.dispatchers > 1 else ""
    return Program(
        name=f"{program.name}:dispatcher",
        command=(*python, "-m", "hasup.dispatch"),
        directory=config.supervisor.state_dir,
        replicas=program.listen.dispatchers,
        env={"HASUP_DISPATCH": expand.escape(json.dumps(_dispatch_options(program.name, program.listen)))},
        autostart=program.autostart,
        ready=Ready(notify=True, timeout=20.0),
        restart=Restart(policy="always", delay=0.02, max_delay=1.0, reset_after=10.0),
        heartbeat=Heartbeat(timeout=15.0),
        stop=Stop(timeout=program.listen.drain_timeout + 2.0),
        logs=Logs(stdout=f"{program.name}.dispatcher{number}.log", max_size=1_000_000, keep=1),
        internal=True,
        owner=program.name,
    )


def _dispatch_options(name: str, listen: Listen) -> dict[str, object]:
    """What each dispatcher is told, its part of what holds for all. The address is told so that a new one makes new
    dispatchers.
    """
    return {
        "name": name,
        "address": listen.address,
        "listen_fd": 3,
        "control_fd": 4,
        "balance": listen.balance,
        "weights": listen.weights,
        "drain_timeout": listen.drain_timeout,
        "queue_timeout": listen.queue_timeout,
        "connect_timeout": listen.connect_timeout,
        "max_connections": -(-listen.max_connections // listen.dispatchers),
        "dispatchers": listen.dispatchers,
        "proxy_protocol": listen.proxy_protocol,
        "max_connections_per_client": listen.max_connections_per_client,
        "queue_limit": -(-listen.queue_limit // listen.dispatchers),
        "idle_timeout": listen.idle_timeout,
    }


def _metrics(config: Config, address: str, python: Sequence[str]) -> Program:
    directory = config.supervisor.state_dir
    return Program(
        name=METRICS,
        command=(*python, "-m", "hasup", "metrics", "--listen", address, "--state-dir", expand.escape(directory)),
        directory=directory,
        ready=Ready(notify=True, timeout=60.0),
        restart=Restart(policy="always", delay=0.2, max_delay=30.0),
        logs=Logs(stdout="metrics.log", max_size=1_000_000, keep=1),
        internal=True,
        owner=":hasup",  # it serves no program, and goes first when all are stopped
    )


def _console(config: Config, python: Sequence[str]) -> Program:
    return Program(
        name=CONSOLE,
        command=(*python, "-m", "hasup.ui.console", config.supervisor.state_dir),
        directory=config.supervisor.state_dir,
        env={"HASUP_CONSOLE": expand.escape(json.dumps(_console_options(config)))},
        ready=Ready(after=0.0),
        restart=Restart(policy="on-failure", delay=0.1, max_delay=5.0),  # success: nobody reads any more
        logs=Logs(stdout="inherit", stderr="inherit"),
        internal=True,
    )


def _console_options(config: Config) -> dict[str, object]:
    """Which files it shows, and the sizes they have now: what is older is not shown again."""
    logs = os.path.join(config.supervisor.state_dir, "logs")
    try:
        offsets = {entry.name: entry.stat().st_size for entry in os.scandir(logs)}
    except OSError:
        offsets = {}
    shown = [program for program in config.programs.values() if not program.internal]
    return {
        "templates": [[p.name, p.logs.stdout, p.logs.stderr] for p in shown],
        "offsets": offsets,
        "own": not journald.listens(os.environ),  # the core tells systemd's journal by itself, field by field
    }
