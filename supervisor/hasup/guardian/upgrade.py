"""The guardian replaces itself by another version of its program, in the same process.

Children stay children over an exec, descriptors stay open, and signals that come meanwhile are held back. Everything
else travels as JSON in a memory file. The new program is rehearsed first, as a child that only reads that file: once
the exec has succeeded there is no way back.
"""

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, Any

from hasup.guardian.complaint import complain
from hasup.guardian.corelink import Parked
from hasup.guardian.failure import fork_failure
from hasup.guardian.slot import Slot
from hasup.guardian.spawn import Report, spawn
from hasup.loop import Timer
from hasup.protocol.guardian import VERSION, Message, encode

if TYPE_CHECKING:
    from hasup.guardian.guardian import Guardian

_REHEARSAL_S = 30.0
_PARKING_S = 10.0  # what the core has to write before it stands by may take so long on a slow disk
_TRIAL_S = 30.0
_PROBATION_S = 0.5  # a core that lives so long after its "ready" is taken to be sound
_PAUSE_S = 0.02
_SLOT_FACTS = ("generation", "phase", "pid", "error", "refused", "exit", "empty", "blob", "oom_before", "unbound")


class Upgrade:
    """Rehearsal of the guardian, trial of the core while the old one stands by, then exec.

    Nothing is done that can't be undone before the new core is up: until then, whatever fails brings the old one back,
    which needs nothing from disk for it. ``outcome`` is how the last one ended: ``{"id", "cause"}``, the cause null
    when it succeeded.
    """

    def __init__(self, guardian: "Guardian") -> None:
        self._guardian = guardian
        self._order: Message = {}
        self._report: Report | None = None
        self._parked: Parked | None = None
        self._before: dict[str, Any] = {}  # the options that the trial has changed
        self._trial: Timer | None = None
        self.pids: set[int] = set()  # of the rehearsal, while it runs
        self.under_way = False
        self.outcome: dict[str, Any] | None = None

    def begin(self, order: Message) -> None:
        """Rehearse ``argv``; on success it replaces this program, else ``upgrade-failed`` is told."""
        if self.under_way:
            self._tell_failure(order.get("id"), "another one is under way")
            return
        self._order, self.under_way = order, True
        state = write_state(self._guardian)
        fds = [(0, -1), (1, 2), (2, 2), (3, state)]
        argv = [*order["argv"], json.dumps({"resume": 3, "rehearse": True})]
        try:
            pid, self._report = spawn({"argv": argv, "env": self._env}, fds, None)
        except OSError as error:
            self._failed(fork_failure(error))
            return
        finally:
            os.close(state)
        self.pids.add(pid)
        self._guardian.loop.call_later(_REHEARSAL_S, lambda: self._expire(pid))

    @property
    def _env(self) -> dict[str, str]:
        env: dict[str, str] = self._order.get("env") or {}
        return env

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
        elif self._order.get("core"):
            self._guardian.core.tell({"event": "park"})
            self._trial = self._guardian.loop.call_later(_PARKING_S, lambda: self._failed("the core did not park"))
        else:
            self._when_idle()

    # --- another core, while the old one stands by ------------------------------------------------------------------
    def parked(self) -> None:
        """The core has laid down its work: try the new one."""
        guardian = self._guardian
        if self._parked is not None or guardian.ending.begun:
            return
        if self._trial is None:  # it took too long, and the upgrade was given up
            guardian.core.unpark(guardian.core.park(), "it stood by too late for an upgrade")
            return
        self._trial.cancel()
        self._before = {name: guardian.options[name] for name in ("core", "core_env")}
        guardian.options |= {"core": self._order["core"], "core_env": self._env}
        self._parked = guardian.core.park()
        guardian.core.on_ready, guardian.core.on_death = self._core_ready, self._core_failed
        self._trial = guardian.loop.call_later(_TRIAL_S, guardian.core.kill)
        guardian.core.start(planned=True)

    def _core_ready(self) -> None:
        assert self._trial is not None
        self._trial.cancel()
        self._trial = self._guardian.loop.call_later(_PROBATION_S, self._core_proven)

    def _core_proven(self) -> None:
        self.dismiss()
        self._when_idle()

    def _core_failed(self, why: str) -> bool:
        parked, self._parked = self._parked, None
        self._end_trial()
        if parked is None or not _lives(parked.pid):
            self._failed(f"{why}, and the old core is gone too")
            return False
        self._guardian.options |= self._before
        cause = f"the new core does not come up: {why}"
        self._end(cause)
        self._guardian.core.unpark(parked, f"an upgrade failed ({cause})")
        return True

    def dismiss(self) -> None:
        """The core that stands by, if there is one, is not needed any more."""
        parked, self._parked = self._parked, None
        self._end_trial()
        if parked is not None:
            with contextlib.suppress(OSError):  # it has died already
                parked.socket.send(encode({"event": "dismissed"}))
            parked.socket.close()

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._trial.cancel()
        self._trial = None
        self._guardian.core.on_ready, self._guardian.core.on_death = lambda: None, lambda _why: False

    # --- the guardian -----------------------------------------------------------------------------------------------
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
        self.outcome = {"id": self._order.get("id"), "cause": None}
        state = write_state(self._guardian)
        fds = [state, *inherited(read_state(state))]
        for fd in fds:
            os.set_inheritable(fd, True)
        argv = self._order["argv"]
        try:
            os.execvpe(argv[0], [*argv, json.dumps({"resume": state})], os.environ | self._env)
        except OSError as error:
            for fd in fds:
                os.set_inheritable(fd, fd <= 2)
            os.close(state)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._failed(f"{argv[0]}: {os.strerror(error.errno or 0).lower()}")

    def _failed(self, cause: str) -> None:
        self._end_trial()
        self._end(cause)
        self._tell_failure(self._order.get("id"), cause)

    def _end(self, cause: str) -> None:
        complain(f"hasup was not upgraded: {cause}")
        self.under_way = False
        self.outcome = {"id": self._order.get("id"), "cause": cause}

    def _tell_failure(self, number: object, cause: str) -> None:
        self._guardian.core.tell({"event": "upgrade-failed", "id": number, "cause": cause})


def _lives(pid: int) -> bool:
    """Whether a child that nobody has reaped yet still runs."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def write_state(guardian: "Guardian") -> int:
    """Everything, as JSON in a memory file that is read from its beginning; the descriptor is the caller's to close."""
    state = {
        "protocol": VERSION, "options": guardian.options | {"store": guardian.store}, "started": guardian.started,
        "upgrade": guardian.upgrade.outcome,
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
    guardian.upgrade.outcome = state["upgrade"]
    guardian.core.tell({"event": "upgraded", "version": guardian.version, "upgrade": state["upgrade"]})
    for name, facts in state["slots"].items():
        if facts["clearing"] is not None:
            guardian.clearing(guardian.slots[name]).restore(facts["clearing"])


def rehearse(guardian: "Guardian", state: dict[str, Any]) -> None:
    """All of :func:`resume` that touches nothing: whatever is missing in ``state`` is raised for."""
    if state["protocol"] != VERSION:
        raise ValueError(f"this guardian speaks protocol {VERSION}, the one before {state['protocol']}")
    for name, facts in state["slots"].items():
        _restore_slot(guardian, guardian.slot(name), facts | {"report": None})
    for name in ("started", "spared", "upgrade"):
        state[name]
    for name in guardian.core.state():
        state["core"][name]


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
