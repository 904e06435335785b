"""Carries out what the decisions ask for: orders to the guardian in the turn's frame, then journal and log."""

import os
from collections.abc import Callable, Mapping

from hasup.config import expand
from hasup.core import Supervisor
from hasup.logs.pipes import make_pipe
from hasup.logs.sinks import Sinks
from hasup.model import actions as act
from hasup.model import events as ev
from hasup.model.spec import Logs, Program
from hasup.model.state import Replica, State
from hasup.runtime import room
from hasup.runtime.endpoints import Endpoints
from hasup.runtime.engine import Engine
from hasup.runtime.evidence import Evidence
from hasup.runtime.hooks import Hooks
from hasup.runtime.jobs import Done, Jobs
from hasup.runtime.notify import NotifySockets
from hasup.runtime.record import Recorder
from hasup.runtime.spawning import CannotStart, Spawner
from hasup.runtime.store import Store


class Effects:
    """One method an action. What belongs to a slot's start and end (pipes, sockets, port) is opened and closed here."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        spawner: Spawner,
        endpoints: Endpoints,
        sinks: Sinks,
        notify: NotifySockets,
        jobs: Jobs,
        recorder: Recorder,
        evidence: Evidence,
    ) -> None:
        self._engine = engine
        self._supervisor: Supervisor = engine.supervisor
        self._store = store
        self._spawner = spawner
        self._endpoints = endpoints
        self._sinks = sinks
        self._notify = notify
        self._jobs = jobs
        self._recorder = recorder
        self._evidence = evidence
        evidence.run, evidence.send = self.run, self._signal
        self.hooks = Hooks(engine, spawner, sinks, self.open_streams, recorder.trouble)
        self.on_forget: Callable[[str], None] = lambda _slot: None
        self.on_exit: Callable[[int], None] = lambda _code: None
        self.on_revert: Callable[[str], None] = lambda _program: None
        self._logs: dict[str, Logs] = {}  # slot -> what its streams were opened by

    def perform(self, action: act.Action) -> None:
        """Carry out one action."""
        match action:
            case act.Spawn(slot, generation):
                self._spawn(slot, generation)
            case act.Signal():
                if not self._evidence.holds(action):
                    self._signal(action)
            case act.ClearTree(slot, generation, grace_s):
                self._engine.order(slot, {"op": "clear", "slot": slot, "generation": generation, "grace_s": grace_s})
            case act.RunHook(slot) if slot in self._supervisor.replicas:
                self.hooks.run(action)
            case act.EndHook():
                self.hooks.end(action)
            case act.RunStopCommand(slot):
                self._run_stop(slot)
            case act.Forget(slot):
                self._forget(slot)
            case act.Changed():
                self._engine.after_frame(lambda: self._recorder.changed(action))
            case act.Note():
                self._engine.after_frame(lambda: self._recorder.note(action))
            case act.Collect(slot, generation, why) if slot in self._supervisor.replicas:
                self._collect(self._supervisor.replicas[slot], generation, why)
            case act.RunHook() | act.Collect():
                pass  # it stood in, failed, and was removed in the same turn
            case act.Revert(program):
                self.on_revert(program)
            case act.Exit(code):
                self.on_exit(code)
            case _:
                raise AssertionError(f"nobody carries out {action!r}")

    def run(self, slot: str, kind: str, argv: tuple[str, ...], timeout: float, done: Done, **extra: str) -> None:
        """Run a command as the replica in ``slot`` would, as its job ``kind``; ``extra`` adds to its environment."""
        program, replica = self._supervisor.spec(slot), self._supervisor.replicas[slot]
        name = f"{slot}/{kind}"
        try:
            env = self._spawner.environment(program, replica.index) | extra
            words = tuple(expand.expand(word, env) for word in argv)
            order = self._spawner.command_order(name, 1, program, words, env)
        except (CannotStart, expand.ExpandError) as error:
            done(None, str(error))
            return
        self._jobs.run(name, order, timeout, done)

    def open_streams(self, slot: str, *, make: bool = True) -> None:
        """A pipe for each stream that goes to a file, once for the slot's whole life; only those there are, if not
        ``make``. They go to other files when the configuration says so.
        """
        program, index = self._supervisor.spec(slot), slot.rpartition(".")[2]
        if self._logs.setdefault(slot, program.logs) != program.logs:
            self._sinks.close(slot)
            self._logs[slot] = program.logs
        for stream, where in (("stdout", program.logs.stdout), ("stderr", program.logs.stderr)):
            if where in ("inherit", "merge") or (where == "null" and not _is_read(program, stream)):
                continue
            name = f"log:{slot}:{stream}"
            if f"{name}:r" not in self._store:
                if not make:
                    continue
                read_end, write_end = make_pipe()
                self._store.keep(self._engine.frame, slot, {f"{name}:r": read_end, f"{name}:w": write_end})
            file = where.replace("{replica}", index).replace("{program}", program.name)
            self._sinks.open(slot, stream, self._store[f"{name}:r"], file, program.logs)
            self._engine.after_frame(lambda: self._sinks.begin(slot))

    def _collect(self, replica: Replica, generation: int, why: str) -> None:
        """Evidence on a run that is about to be ended, or has ended just now."""
        program = self._supervisor.spec(replica.name)
        if replica.pid is None or replica.generation != generation:
            words = self._evidence.last_words(replica.name)
            self._engine.after_frame(  # the next run does not wait for a file
                lambda: self._evidence.of_ended(
                    replica, generation, program, self._environment(program, replica), words
                )
            )
            return
        detail = self._evidence.of_living(replica, program, why, self._environment(program, replica))
        self._engine.after_frame(lambda: self._recorder.evidence(replica.name, why, detail))
        if replica.state is State.ABORTING:
            self._evidence.dump(replica, program)

    def _environment(self, program: Program, replica: Replica) -> dict[str, str]:
        try:
            return self._spawner.environment(program, replica.index)
        except expand.ExpandError:
            return {}

    def _spawn(self, slot: str, generation: int) -> None:
        program, index = self._supervisor.spec(slot), self._supervisor.replicas[slot].index
        try:
            if f"notify:{slot}" not in self._store:  # its first start: what it needs is opened once
                room.check()
            self.open_streams(slot)
            self._engine.after_frame(lambda: self._evidence.begins(slot))  # it is read only once its pid is known
            notify = self._notify_address(slot)
            order = self._spawner.order(self._engine.frame, slot, generation, program, index, notify)
        except (CannotStart, expand.ExpandError) as error:
            self._engine.feed(ev.SpawnFailed(slot, generation, str(error)))
        except OSError as error:  # no descriptors left, say: the next try may find some
            self._engine.feed(ev.SpawnFailed(slot, generation, f"hasup could not prepare its start: {error.strerror}"))
        else:
            self._engine.order(slot, order)

    def _notify_address(self, slot: str) -> str:
        name = f"notify:{slot}"
        fd, address = self._notify.open(slot)
        if name not in self._store:
            self._store.keep(self._engine.frame, slot, {name: os.dup(fd)})
        return address

    def _signal(self, action: act.Signal) -> None:
        order: Mapping[str, object] = {
            "op": "signal", "slot": action.slot, "generation": action.generation, "signal": action.signal,
            "scope": action.scope, "cont": action.cont,
        }  # fmt: skip
        self._engine.order(action.slot, dict(order))

    def _run_stop(self, slot: str) -> None:
        """``stop.command`` in the replica's surroundings, with its pid as MAINPID."""
        stop, pid = self._supervisor.spec(slot).stop, self._supervisor.replicas[slot].pid

        def ended(code: int | None, output: str) -> None:
            if code != 0:
                self._recorder.trouble(f"{slot}: the stop command failed ({words(code, output)})")

        self.run(slot, "stop", stop.command, stop.timeout, ended, MAINPID=str(pid or ""))

    def _forget(self, slot: str) -> None:
        self.on_forget(slot)
        self._sinks.close(slot)
        self._logs.pop(slot, None)
        self._notify.close(slot)
        self._endpoints.forget(slot)
        pipes = [f"log:{slot}:{stream}:{end}" for stream in ("stdout", "stderr") for end in "rw"]
        channel = [f"dispatch:{slot}:{end}" for end in ("core", "far")]
        self._store.drop(self._engine.frame, slot, [*pipes, *channel, f"notify:{slot}"])
        self._engine.order(slot, {"op": "forget", "slot": slot})


def _is_read(program: Program, stream: str) -> bool:
    """Whether somebody looks at the output even when it is not kept."""
    by_output = program.heartbeat is not None and program.heartbeat.source == "output"
    return stream == "stdout" and (by_output or program.ready.log is not None)


def words(code: int | None, output: str) -> str:
    """How a command ended, and the last it said."""
    ended = "it was killed or did not start" if code is None else f"exit code {code}"
    return ": ".join([ended, *output.splitlines()[-1:]])
