"""Which readers look at a replica now: follows from its state alone, and is brought about after each decision."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from hasup.config import expand
from hasup.dispatch import header
from hasup.model.spec import Health, Limits, Program, Ready
from hasup.model.state import Replica, State

Probe = TypeVar("Probe", Ready, Health)
_ALIVE = {State.STARTING, State.RUNNING, State.ABORTING, State.STOPPING}


class Prober(Protocol):
    """Readiness and health probes."""

    def watch(self, slot: str, generation: int, kind: str, probe: Ready | Health, greeting: bytes = b"") -> None:
        """Probe from now on; ``greeting`` comes before the request of HTTP."""

    def unwatch(self, slot: str, kind: str | None = None) -> None:
        """No more."""


class Sampler(Protocol):
    """Resources of process trees."""

    def watch(self, slot: str, generation: int, pid: int, cgroup: str | None, limits: Limits) -> None:
        """Sample from now on."""

    def unwatch(self, slot: str) -> None:
        """No more."""


class Output(Protocol):
    """What the log sinks can look for."""

    def expect(self, slot: str, pattern: str) -> None:
        """Report the first line that matches."""

    def unexpect(self, slot: str) -> None:
        """No more."""

    def beat_on_output(self, slot: str, on: bool) -> None:
        """Report output as a sign of life."""


class FileBeats(Protocol):
    """Files whose modification is a sign of life."""

    def watch(self, slot: str, path: str, timeout: float) -> None:
        """Look at the file from now on."""

    def unwatch(self, slot: str) -> None:
        """No more."""


class Trail(Protocol):
    """The last minutes in samples."""

    def watch(self, slot: str, pid: int, *, sampled: bool) -> None:
        """Keep samples from now on."""

    def unwatch(self, slot: str) -> None:
        """No more."""


class Watching:
    """Keeps the readers of every replica as its state wants them."""

    def __init__(self, prober: Prober, sampler: Sampler, output: Output, files: FileBeats, trail: Trail) -> None:
        self._prober = prober
        self._sampler = sampler
        self._output = output
        self._files = files
        self._trail = trail
        self._seen: dict[str, tuple[object, ...]] = {}

    def update(
        self, replica: Replica, program: Program, cgroup: str | None, environment: Callable[[], dict[str, str]]
    ) -> None:
        """Bring the readers in line; ``environment`` is the replica's, asked for only when a probe needs it."""
        state = replica.state if replica.pid is not None else State.STOPPED
        now = (replica.generation, state, replica.pid, program.ready, program.health, program.limits)
        before = self._seen.get(replica.name)
        if before == now:
            return
        if before is not None:
            self._unwatch(replica.name)
        if state not in _ALIVE or replica.pid is None:
            self._trail.unwatch(replica.name)
            return
        self._seen[replica.name] = now
        self._trail.watch(replica.name, replica.pid, sampled=program.limits.sampled)
        self._sample(replica, program, cgroup)
        if state is State.STARTING:
            self._readiness(replica, program, environment)
        if state in (State.STARTING, State.RUNNING):
            self._heartbeat(replica, program, environment)
        if state is State.RUNNING and program.health is not None:
            self._probe(replica, program, "health", program.health, environment)

    def forget(self, slot: str) -> None:
        """Nobody looks at this slot any more."""
        self._trail.unwatch(slot)
        self._unwatch(slot)

    def _unwatch(self, slot: str) -> None:
        if self._seen.pop(slot, None) is not None:
            self._prober.unwatch(slot)
            self._sampler.unwatch(slot)
            self._output.unexpect(slot)
            self._output.beat_on_output(slot, False)
            self._files.unwatch(slot)

    def _sample(self, replica: Replica, program: Program, cgroup: str | None) -> None:
        if program.limits.sampled and replica.pid is not None:
            self._sampler.watch(replica.name, replica.generation, replica.pid, cgroup, program.limits)

    def _readiness(self, replica: Replica, program: Program, environment: Callable[[], dict[str, str]]) -> None:
        ready = program.ready
        if ready.log is not None:
            self._output.expect(replica.name, ready.log)
        elif ready.http or ready.tcp or ready.exec:
            self._probe(replica, program, "ready", ready, environment)

    def _probe(
        self,
        replica: Replica,
        program: Program,
        kind: str,
        probe: Probe,
        environment: Callable[[], dict[str, str]],
    ) -> None:
        greeting = _greeting(program, probe.http or "")
        self._prober.watch(replica.name, replica.generation, kind, expanded(probe, environment()), greeting)

    def _heartbeat(self, replica: Replica, program: Program, environment: Callable[[], dict[str, str]]) -> None:
        beat = program.heartbeat
        if beat is None or beat.source == "notify":
            return
        if beat.source == "output":
            self._output.beat_on_output(replica.name, True)
        else:
            path = expand.expand(beat.source.removeprefix("file:"), environment())
            self._files.watch(replica.name, path, beat.timeout)


def _greeting(program: Program, url: str) -> bytes:
    """What goes ahead of a request to the port at which a replica expects the PROXY protocol."""
    listen = program.listen
    told = listen is not None and listen.mode == "proxy" and "${PORT}" in url
    return header.OWN.get(listen.proxy_protocol, b"") if listen is not None and told else b""


def expanded(probe: Probe, env: dict[str, str]) -> Probe:
    """The probe with ``${NAME}`` replaced for this replica."""
    return msgspec.structs.replace(
        probe,
        http=probe.http and expand.expand(probe.http, env),
        tcp=probe.tcp and expand.expand(probe.tcp, env),
        exec=tuple(expand.expand(word, env) for word in probe.exec),
        headers={name: expand.expand(value, env) for name, value in probe.headers.items()},
    )
