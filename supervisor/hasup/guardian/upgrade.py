"""The guardian replaces itself by another version of its program, in the same process.

Children stay children over an exec, descriptors stay open, and signals that come meanwhile are held back. Everything
else travels as JSON in a memory file. The new program is rehearsed first, as a child that only reads that file: once
the exec has succeeded there is no way back.
"""

import json
import os
import signal
from typing import TYPE_CHECKING, Any

from hasup.guardian.slot import Slot
from hasup.guardian.spawn import Report, complain, fork_failure, spawn

if TYPE_CHECKING:
    from hasup.guardian.guardian import Guardian

_REHEARSAL_S = 30.0
_PAUSE_S = 0.02
_SLOT_FACTS = ("generation", "phase", "pid", "error", "refused", "exit", "empty", "blob", "oom_before")


class Upgrade:
    """Rehearsal, then exec."""

    def __init__(self, guardian: "Guardian") -> None:
        self._guardian = guardian
        self._argv: list[str] = []
        self._report: Report | None = None
        self.pids: set[int] = set()  # of the rehearsal, while it runs

    def begin(self, argv: list[str]) -> None:
        """Rehearse ``argv``; on success it replaces this program, else ``upgrade-failed`` is told."""
        if self.pids:
            self._failed("another one is under way")
            return
        self._argv = argv
        state = write_state(self._guardian)
        fds = [(0, -1), (1, 2), (2, 2), (3, state)]
        try:
            pid, self._report = spawn({"argv": [*argv, json.dumps({"resume": 3, "rehearse": True})]}, fds, None)
        except OSError as error:
            self._failed(fork_failure(error))
            return
        finally:
            os.close(state)
        self.pids.add(pid)
        self._guardian.loop.call_later(_REHEARSAL_S, lambda: self._expire(pid))

    def _expire(self, pid: int) -> None:
        if pid in self.pids:
            os.kill(pid, signal.SIGKILL)

    def rehearsed(self, status: int) -> None:
        """The rehearsal ended with this wait status."""
        self.pids.clear()
        cause = ""
        if self._report is not None:
            self._report.read()
            os.close(self._report.fd)
            cause = self._report.cause
        if status != 0:
            self._failed(cause or "the new program does not understand the state of this one")
        else:
            self._when_idle()

    def _when_idle(self) -> None:
        """Packets that wait for the core would be lost: exec when there is none."""
        if not self._guardian.core.idle:
            self._guardian.loop.call_later(_PAUSE_S, self._when_idle)
        elif self._guardian.ending.begun:
            self._failed("hasup is ending")
        else:
            self._exec()

    def _exec(self) -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they wait for the new program
        self._guardian.take_signals()
        state = write_state(self._guardian)
        fds = [state, *inherited(read_state(state))]
        for fd in fds:
            os.set_inheritable(fd, True)
        try:
            os.execvpe(self._argv[0], [*self._argv, json.dumps({"resume": state})], os.environ)
        except OSError as error:
            for fd in fds:
                os.set_inheritable(fd, fd <= 2)
            os.close(state)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._failed(f"{self._argv[0]}: {os.strerror(error.errno or 0).lower()}")

    def _failed(self, cause: str) -> None:
        complain(f"the guardian was not replaced: {cause}")
        self._guardian.core.tell({"event": "upgrade-failed", "cause": cause})


def write_state(guardian: "Guardian") -> int:
    """Everything, as JSON in a memory file that is read from its beginning; the descriptor is the caller's to close."""
    state = {
        "options": guardian.options | {"store": guardian.store}, "started": guardian.started,
        "spared": sorted(guardian.ending.spared), "core": guardian.core.state(),
        "slots": {name: _slot_state(slot) for name, slot in guardian.slots.items()},
    }  # fmt: skip
    fd = os.memfd_create("hasup-guardian", os.MFD_CLOEXEC)
    with open(os.dup(fd), "wb") as file:
        file.write(json.dumps(state).encode())
    return fd


def read_state(fd: int) -> dict[str, Any]:
    """What :func:`write_state` wrote."""
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        state: dict[str, Any] = json.load(file)
    return state


def inherited(state: dict[str, Any]) -> list[int]:
    """The descriptors that the state speaks of."""
    reports = [slot["report"] for slot in state["slots"].values()]
    core = [state["core"]["socket"], state["core"]["report"]]
    store = state["options"]["store"].values()
    return [fd for fd in (*store, *reports, *core, state["options"].get("lock_fd")) if fd is not None]


def resume(guardian: "Guardian", state: dict[str, Any]) -> None:
    """Put a fresh guardian, made with the options of ``state``, where the one before was."""
    guardian.started = state["started"]
    guardian.ending.spared.update(state["spared"])
    for name, facts in state["slots"].items():
        _restore_slot(guardian, guardian.slot(name), facts)
    guardian.core.restore(state["core"])
    guardian.core.tell({"event": "upgraded", "version": guardian.version})
    for name, facts in state["slots"].items():
        if facts["clearing"] is not None:
            guardian.clearing(guardian.slots[name]).restore(facts["clearing"])


def _slot_state(slot: Slot) -> dict[str, Any]:
    state = {name: getattr(slot, name) for name in _SLOT_FACTS}
    state["report"] = slot.report.fd if slot.report is not None else None
    state["tree"] = None
    if slot.tree is not None:
        state["tree"] = {"pid": slot.tree.pid, "cgroup": slot.tree.cgroup, "seen": list(slot.tree.seen.items())}
    state["clearing"] = slot.clearing.state() if slot.clearing is not None else None
    return state


def _restore_slot(guardian: "Guardian", slot: Slot, state: dict[str, Any]) -> None:
    for name in _SLOT_FACTS:
        setattr(slot, name, state[name])
    if state["tree"] is not None:
        slot.tree = guardian.tree(slot.name, state["tree"]["pid"], state["tree"]["cgroup"])
        slot.tree.seen = dict(state["tree"]["seen"])
    if slot.alive and slot.pid is not None:
        guardian.by_pid[slot.pid] = slot
    if state["report"] is not None:
        slot.report = Report(state["report"])
        guardian.watch_report(slot)
