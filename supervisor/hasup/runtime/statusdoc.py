"""The document of ``hasup status``, from the decisions' state and a fresh measurement."""

import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

from hasup.core import Supervisor
from hasup.core.step import spent
from hasup.dispatch.sums import summed
from hasup.model.spec import Config, Program
from hasup.model.state import LastRun, Replica, State
from hasup.model.status import Last, ProgramStatus, ReplicaStatus, Status, SupervisorStatus
from hasup.runtime.endpoints import Endpoints
from hasup.runtime.lag import Lag
from hasup.runtime.record import iso
from hasup.runtime.snapshot import Hello
from hasup.version import __version__


class Usage(Protocol):
    """What a measurement says of one slot."""

    @property
    def cpu_percent(self) -> float | None:
        """Since the measurement before; 100 is one core."""

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the tree."""


class StatusPage:
    """Builds the status document."""

    def __init__(
        self, hello: Hello, supervisor: Supervisor, endpoints: Endpoints, lag: Lag, loads: Mapping[str, dict[str, Any]]
    ) -> None:
        self._hello = hello
        self._lag = lag
        self._loads = loads
        self._supervisor = supervisor
        self._endpoints = endpoints

    def build(
        self, config: Config, now: float, usage: Mapping[str, Usage], troubles: tuple[str, ...], stopping: bool
    ) -> Status:
        """Everything as of ``now`` (monotonic)."""
        self._wall_offset = time.time() - now
        by_program: dict[str, list[ReplicaStatus]] = {}
        for replica in self._supervisor.replicas.values():
            status = self._replica(replica, self._supervisor.spec(replica.name), now, usage.get(replica.name))
            by_program.setdefault(replica.program, []).append(status)
        programs = [
            self._program(config, program, by_program) for program in config.programs.values() if not program.internal
        ]
        return Status(supervisor=self._own(config, now, troubles, stopping), programs=tuple(programs))

    def _own(self, config: Config, now: float, troubles: tuple[str, ...], stopping: bool) -> SupervisorStatus:
        return SupervisorStatus(
            name=config.supervisor.name,
            version=__version__,
            guardian_pid=self._hello.guardian_pid,
            core_pid=os.getpid(),
            uptime_s=round(now - self._hello.started, 3),
            core_restarts=self._hello.core_restarts,
            config=config.file,
            state_dir=config.supervisor.state_dir,
            stopping=stopping,
            degraded=troubles,
            loop_lag=self._lag.figures(),
        )

    def _program(self, config: Config, program: Program, known: dict[str, list[ReplicaStatus]]) -> ProgramStatus:
        replicas = sorted(known.get(program.name, []), key=lambda r: int(r.name.rpartition(".")[2]))
        dispatchers = known.get(f"{program.name}:dispatcher", [])
        loads = [self._loads[one.name] for one in dispatchers if one.name in self._loads]
        return ProgramStatus(
            name=program.name,
            kind=program.kind,
            listen=program.listen.address if program.listen else None,
            ready=sum(replica.ready for replica in replicas),
            need=program.need,
            replicas=tuple(replicas),
            dispatcher=dispatchers[0] if dispatchers else None,
            dispatchers=tuple(dispatchers),
            groups=tuple(group.name for group in config.groups.values() if program.name in group.programs),
            load=summed(loads) if loads else None,
            autoscale=self._supervisor.autoscale(program.name),
        )

    def _replica(self, replica: Replica, program: Program, now: float, usage: Usage | None) -> ReplicaStatus:
        alive = replica.pid is not None
        comes = replica.deadline if replica.state in (State.BACKOFF, State.WAITING) else None
        return ReplicaStatus(
            name=replica.name,
            state=replica.state.value,
            ready=replica.ready,
            wanted=replica.wanted,
            pid=replica.pid,
            port=self._endpoints.port(program, replica.index),
            uptime_s=round(now - replica.started, 3) if alive else None,
            restarts=replica.restarts,
            last=self._last(replica.last),
            next_start_s=round(max(0.0, comes - now), 3) if comes is not None else None,
            cpu_percent=usage.cpu_percent if usage and alive else None,
            memory_bytes=usage.memory_bytes if usage and alive else None,
            reason=replica.reason,
            status_text=replica.status_text,
            degraded=replica.degraded,
            settled=self._supervisor.is_settled(replica),
            stuck=replica.stuck,
            restarted_for=replica.restarted_for,
            seconds_in_state=spent(replica, now),
            socket=self._endpoints.path(program, replica.index),
        )

    def _last(self, last: LastRun | None) -> Last | None:
        if last is None:
            return None
        at = iso(self._wall_offset + last.at)
        return Last(last.result.value, last.exit_code, last.signal, at, last.detail)
