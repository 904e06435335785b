"""Evidence on hangs, crashes and limits: gathered when it happens, kept on disk for ``hasup why``.

What still lives is looked at before it is touched; of what has ended the last words are taken. None of it waits for the
program, all of it is bounded, and a storm of crashes is written down only so many times a second.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping

from hasup.logs.sinks import Sinks
from hasup.loop import Loop, Timer
from hasup.model.actions import Signal
from hasup.model.spec import Program
from hasup.model.state import LastRun, Replica
from hasup.runtime import masking, records
from hasup.runtime.jobs import Done
from hasup.runtime.look import is_python, look
from hasup.runtime.record import iso
from hasup.runtime.trail import Trail

_LINES, _BYTES, _WIDTH = 60, 16_384, 500  # of output
_STACK_LINES = 60
_SHOWN_LINES = 20  # of output, in the journal
_LOOKS = 3  # kept of one run
_AGE_S = 30 * 86_400.0  # as old as the journal gets
_WRITES = 50  # records written in a second
_LOOK_S = 0.05  # of processor time for one look at a replica
_LOOKS_S = 0.2  # and for all looks in a second, when many hang at once
_DUMP_S = 2.0  # py-spy may take so long, and no more than half of abort.timeout
_SHORTEST_DUMP_S = 0.1
_STACK_BEGINS = ("Fatal Python error:", "Traceback (most recent call last):", "Thread 0x")

Environment = Mapping[str, str]
Words = tuple[list[str], list[dict[str, float]]]  # lines of output, samples
Run = Callable[[str, str, tuple[str, ...], float, Done], None]


class Evidence:
    """Gathers and keeps it. ``run(slot, kind, argv, timeout, done)`` runs a command as the replica would run it;
    ``send`` sends a signal that was held back.
    """

    def __init__(
        self, loop: Loop, state_dir: str, sinks: Sinks, trail: Trail, trouble: Callable[[str, str | None], None]
    ) -> None:
        self._loop = loop
        self._state_dir = state_dir
        self._sinks = sinks
        self._trail = trail
        self._trouble = trouble
        self._unwritten: dict[str, tuple[int, records.Record]] = {}
        self._room = _WRITES
        self._time_to_look = _LOOKS_S
        self._timer: Timer | None = None
        self._held: dict[str, list[Signal]] = {}
        self._py_spy: str | None = None
        self.run: Run = lambda _slot, _kind, _argv, _timeout, done: done(None, "")
        self.send: Callable[[Signal], None] = lambda _signal: None
        records.prune(state_dir, time.time() - _AGE_S)

    def of_living(self, replica: Replica, program: Program, why: str, env: Environment) -> dict[str, object]:
        """Look at a replica that is about to be touched; what the journal should say of it."""
        assert replica.pid is not None
        self._sinks.drain(replica.name)
        self._trail.now(replica.name)
        found = self._look(replica.pid)
        record = self._record(replica.name, replica.generation, program, env)
        seen = {"at": _now(), "why": why} | found
        record["looks"] = [*record.get("looks", ()), seen][-_LOOKS:]
        _note(record, self.last_words(replica.name), env)
        self._keep(replica.name, replica.generation, record)
        return found | {"output": record["output"][-_SHOWN_LINES:]}

    def _look(self, pid: int) -> dict[str, object]:
        began = time.thread_time()
        found = look(pid, min(_LOOK_S, self._time_to_look))
        self._time_to_look -= time.thread_time() - began
        self._count_seconds()
        return found

    def last_words(self, slot: str) -> Words:
        """What a run said and was like at last; to be asked before the next one begins."""
        return self._sinks.tail(slot, _LINES, _BYTES, of_this_run=True), self._trail.of(slot)

    def of_ended(self, replica: Replica, generation: int, program: Program, env: Environment, words: Words) -> None:
        """Take down how a run ended, and its :meth:`last_words` (its pipes had been emptied by then)."""
        record = self._record(replica.name, generation, program, env)
        if replica.last is not None:
            record["end"] = {"at": _now()} | _end(replica.last)
        _note(record, words, env)
        stack = _stack(record["output"])
        if stack:
            record["stack"] = stack
        self._keep(replica.name, generation, record)

    def begins(self, slot: str) -> None:
        """A run of this replica begins: what was written before is another one's."""
        self._sinks.mark(slot)

    def flush(self) -> None:
        """Write what is not written yet, however much that is."""
        for slot, (generation, record) in list(self._unwritten.items()):
            self._write(slot, generation, record)

    # --- Python's own stack, by py-spy -------------------------------------------------------------------------------
    def dump(self, replica: Replica, program: Program) -> None:
        """Have py-spy, where it is installed, show the stack of a Python program that hangs. Its abort signal is held
        back meanwhile, since it may end the process; the KILL that follows is not.
        """
        within = min(_DUMP_S, program.abort.timeout / 2)
        tool = self._tool()
        if tool is None or replica.pid is None or within < _SHORTEST_DUMP_S or not is_python(replica.pid):
            return
        slot, generation = replica.name, replica.generation
        self._held[slot] = []

        def done(code: int | None, output: str) -> None:
            if code == 0:
                record = self._record(slot, generation, program, {})
                lines = [line for line in output.splitlines() if not line.startswith("Process ")]  # its arguments
                record["py_spy"] = lines[-_STACK_LINES:]
                self._keep(slot, generation, record)
            for signal in self._held.pop(slot, ()):
                self.send(signal)

        self.run(slot, "evidence", (tool, "dump", "--nonblocking", "--pid", str(replica.pid)), within, done)

    def holds(self, signal: Signal) -> bool:
        """Whether this signal has to wait; then it is sent later."""
        held = self._held.get(signal.slot)
        if held is not None:
            held.append(signal)
        return held is not None

    def _tool(self) -> str | None:
        if self._py_spy is None:
            path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
            self._py_spy = shutil.which("py-spy", path=path) or ""
        return self._py_spy or None

    # --- records -----------------------------------------------------------------------------------------------------
    def _record(self, slot: str, generation: int, program: Program, env: Environment) -> records.Record:
        """What is known of this run so far."""
        waiting = self._unwritten.get(slot)
        if waiting is not None and waiting[0] == generation:
            return waiting[1]
        known = records.read(self._state_dir, slot, generation)
        if known is not None and known.get("instance") == env.get("HASUP_INSTANCE", known.get("instance")):
            return known
        return {
            "replica": slot,
            "generation": generation,
            "instance": env.get("HASUP_INSTANCE"),
            "command": masking.arguments(program.command),
            "environment_names": sorted(env),
        }

    def _keep(self, slot: str, generation: int, record: records.Record) -> None:
        """Write it now, or with the next second's when there were many in this one."""
        self._count_seconds()
        if self._room > 0:
            self._room -= 1
            self._write(slot, generation, record)
        else:
            self._unwritten.pop(slot, None)  # to the end of the queue
            self._unwritten[slot] = (generation, record)

    def _count_seconds(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(1.0, self._next_second)

    def _next_second(self) -> None:
        self._timer = None
        self._room, self._time_to_look = _WRITES, _LOOKS_S
        for slot, (generation, record) in list(self._unwritten.items())[:_WRITES]:
            self._keep(slot, generation, record)

    def _write(self, slot: str, generation: int, record: records.Record) -> None:
        self._unwritten.pop(slot, None)
        try:
            records.write(self._state_dir, slot, generation, record)
        except OSError as error:
            self._trouble("evidence", f"evidence cannot be written: {(error.strerror or str(error)).lower()}")
        else:
            self._trouble("evidence", None)


def _note(record: records.Record, words: Words, env: Environment) -> None:
    lines, samples = words
    record["output"] = masking.without([line[:_WIDTH] for line in lines], masking.values(env))
    record["samples"] = samples or record.get("samples", [])


def _end(last: LastRun) -> dict[str, object]:
    return {
        "result": last.result.value,
        "exit_code": last.exit_code,
        "signal": last.signal,
        "core_dump": last.core_dump,
        "detail": last.detail,
    }


def _stack(output: list[str]) -> list[str]:
    """The stack that a Python program wrote last, if it did: by faulthandler, or of an exception that ended it."""
    for begin in _STACK_BEGINS:
        at = max((number for number, line in enumerate(output) if begin in line), default=None)
        if at is not None:
            return output[at : at + _STACK_LINES]
    return []


def _now() -> str:
    return iso(time.time())
