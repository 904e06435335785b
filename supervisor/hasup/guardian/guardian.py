"""The guardian: carries out orders on slots, reaps, and keeps what must outlive the core. No policy."""

import os
from collections.abc import Callable
from typing import Any

from hasup.guardian.cgroups import Cgroups, SharedOoms, bound, own_folder
from hasup.guardian.clearing import Clearing
from hasup.guardian.complaint import complain
from hasup.guardian.corelink import CoreLink, Packet
from hasup.guardian.ending import Ending
from hasup.guardian.failure import fork_failure
from hasup.guardian.slot import NONE, RUNNING, SPAWNING, Slot
from hasup.guardian.spawn import spawn
from hasup.guardian.systemd import notify
from hasup.guardian.tree import Tree
from hasup.guardian.upgrade import Upgrade
from hasup.loop import EXITS, Loop
from hasup.protocol.guardian import MAX_FDS, MAX_FRAME, VERSION, Message, encode
from hasup.version import __version__

_SLOTS_A_PACKET = 16
_MAX_BLOB = MAX_FRAME // 4  # characters; twice as long at worst as JSON in a packet


class Guardian:
    """Slots, store and core."""

    def __init__(self, loop: Loop, options: dict[str, Any]) -> None:
        self.loop = loop
        self.options = options
        self.instance: str = options["instance"]
        self.started: float = loop.now()
        self.store: dict[str, int] = dict(options.get("store", {}))
        self.slots: dict[str, Slot] = {}
        self.by_pid: dict[int, Slot] = {}
        self.cgroups = Cgroups(self.instance, options.get("cgroup", True))
        self.ooms = SharedOoms(own_folder())
        self.core = CoreLink(loop, options, self.snapshot, self.frame)
        self.upgrade = Upgrade(self)
        self.ending = Ending(self)
        self.version = __version__
        self.take_signals: Callable[[], None] = lambda: None
        self._orders: dict[str, Callable[[Message], None]] = {
            "spawn": self._spawn, "signal": self._signal, "clear": self._clear, "forget": self._forget,
            "drop": self._drop, "ready": lambda _: self.core.ready(), "pong": lambda _: self.core.pong(),
            "notify": self._notify, "exit": lambda order: self.ending.begin(int(order["code"])),
            "upgrade": self.upgrade.begin, "parked": lambda _: self.upgrade.parked(),
        }  # fmt: skip

    # --- what the core is told --------------------------------------------------------------------------------------
    def snapshot(self) -> list[Packet]:
        """Everything, for a core that has just been started."""
        hello = {
            "event": "hello", "instance": self.instance, "guardian_pid": os.getpid(), "started": self.started,
            "core_restarts": max(0, self.core.restarts), "core_died": self.core.died, "version": self.version,
            "protocol": VERSION, "upgrade": self.upgrade.outcome, "upgrading": self.upgrade.under_way,
        }  # fmt: skip
        packets: list[Packet] = [(encode(hello), [])]
        names = list(self.store)
        for part in (names[at : at + MAX_FDS] for at in range(0, len(names), MAX_FDS)):
            packets.append((encode({"event": "store", "names": part}), [self.store[name] for name in part]))
        for facts in self._slot_parts():
            packets.append((encode({"event": "slots", "slots": facts}), []))
        packets.append((encode({"event": "hello-end"}), []))
        for slot in self.slots.values():
            if slot.refused is not None:
                packets.append((encode(_failed(slot.name, *slot.refused)), []))
        return packets

    def _slot_parts(self) -> list[list[dict[str, Any]]]:
        """The facts of all slots, in parts that fit into a packet."""
        parts: list[list[dict[str, Any]]] = []
        size = MAX_FRAME
        for slot in self.slots.values():
            cost = 500 + 2 * len(slot.blob or "") + len(slot.error or "")
            if size + cost > MAX_FRAME // 2 or len(parts[-1]) >= _SLOTS_A_PACKET:
                parts.append([])
                size = 0
            parts[-1].append(slot.facts())
            size += cost
        return parts

    def _tell(self, event: str, slot: Slot, **fields: Any) -> None:
        self.core.tell({"event": event, "slot": slot.name, "generation": slot.generation, **fields})

    # --- frames -----------------------------------------------------------------------------------------------------
    def frame(self, message: Message, fds: list[int]) -> None:
        """State first, then the orders one by one; an order that makes no sense is reported, and the rest done."""
        arrived = list(fds)
        blobs, orders = message.get("blobs") or {}, message.get("do") or []
        if not isinstance(blobs, dict) or not isinstance(orders, list):
            complain(f"a frame of the core failed: its shape is {type(blobs).__name__}, {type(orders).__name__}")
            blobs, orders = {}, []
        for name, blob in blobs.items():
            _attempt(f"blob of {name}", self._keep_blob, name, blob)
        for order in orders:
            _attempt(f"order {str(order)[:200]}", self._carry_out, order, arrived)
        for fd in arrived:  # more than were announced
            os.close(fd)

    def _carry_out(self, order: Message, arrived: list[int]) -> None:
        if order["op"] == "keep":
            self._keep(order["names"], arrived)
        else:
            self._orders[order["op"]](order)

    def slot(self, name: str) -> Slot:
        """The slot of this name, made if it is not there."""
        if name not in self.slots:
            self.slots[name] = Slot(name)
        return self.slots[name]

    def _keep_blob(self, name: str, blob: str | None) -> None:
        if blob is not None:
            if len(blob) > _MAX_BLOB:
                raise ValueError(f"{len(blob)} characters, at most {_MAX_BLOB}")
            self.slot(name).blob = blob
        elif name in self.slots:
            self.slots[name].blob = None
            if self.slots[name].phase == NONE:
                del self.slots[name]

    def _keep(self, names: list[str], arrived: list[int]) -> None:
        for name in names:
            fd = arrived.pop(0)
            if name in self.store:
                os.close(self.store[name])
            self.store[name] = fd

    def _drop(self, order: Message) -> None:
        for name in order["names"]:
            if name in self.store:
                os.close(self.store.pop(name))

    def _notify(self, order: Message) -> None:
        notify(order["text"], [self.store[name] for name in order.get("names", ())])

    def _forget(self, order: Message) -> None:
        slot = self.slots.get(order["slot"])
        if slot is None:
            return
        if not slot.is_empty():
            raise ValueError("something of it lives")
        slot.stop_clearing()
        del self.slots[slot.name]
        self.cgroups.remove(slot.name)

    # --- starting ---------------------------------------------------------------------------------------------------
    def _spawn(self, order: Message) -> None:
        generation = int(order["generation"])
        slot = self.slot(order["slot"])
        if generation <= slot.generation:
            return  # asked for before
        fault = self._fault(order)
        if self.ending.begun:
            self._refuse(slot, generation, "hasup is ending")
        elif not slot.is_empty():
            self._refuse(slot, generation, "something of its last run still lives")
            if not slot.alive:  # so that the next one finds a free place
                self.clear(slot, generation, 0.0)
        elif fault:
            self._refuse(slot, generation, fault)
        else:
            self._fork(slot, generation, order)

    def _fault(self, order: Message) -> str:
        """What is wrong with a ``spawn`` order, "" when nothing is."""
        argv, fds = order.get("argv"), order.get("fds")
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
            return "hasup was ordered to start something that is no command"
        if not isinstance(fds, list) or not all(len(pair) == 2 and isinstance(pair[0], int) for pair in fds):
            return "hasup was ordered to start it with something that is no descriptor"
        if not isinstance(order.get("env") or {}, dict):
            return "hasup was ordered to start it with something that is no environment"
        missing = [str(name) for _, name in fds if name != "null" and name not in self.store]
        return f"hasup lost a descriptor: {', '.join(missing)}" if missing else ""

    def _fork(self, slot: Slot, generation: int, order: Message) -> None:
        marks = {"HASUP_INSTANCE": self.instance, "HASUP_SLOT": slot.name}
        fds = [(target, -1 if name == "null" else self.store[name]) for target, name in order["fds"]]
        cgroup = self.cgroups.of(slot.name) if order.get("cgroup", True) else None
        unbound = bound(cgroup, order.get("bounds") or {})
        order = {**order, "env": {**(order.get("env") or {}), **marks}}
        try:
            pid, report = spawn(order, fds, cgroup, self.options.get("files"))
        except OSError as error:
            self._refuse(slot, generation, fork_failure(error))
            return
        self.by_pid[pid] = slot
        slot.begin(generation, self.tree(slot.name, pid, cgroup), report, unbound)
        self.ooms.settle()
        self.watch_report(slot)

    def tree(self, name: str, pid: int, cgroup: str | None) -> Tree:
        """The tree of a slot whose main process is ``pid``."""
        return Tree(pid, cgroup, (f"HASUP_INSTANCE={self.instance}", f"HASUP_SLOT={name}"), self.own_children)

    def own_children(self) -> set[int]:
        """All that this process forked and has not reaped."""
        return {*self.by_pid, *self.upgrade.pids, *([] if self.core.pid is None else [self.core.pid])}

    def watch_report(self, slot: Slot) -> None:
        """Wait for what comes of exec."""
        if slot.report is not None:
            self.loop.add(slot.report.fd, lambda _mask: self._exec_known(slot), order=EXITS)

    def _refuse(self, slot: Slot, generation: int, cause: str) -> None:
        slot.refuse(generation, cause)
        self.core.tell(_failed(slot.name, generation, cause))

    def _exec_known(self, slot: Slot) -> None:
        """The child has executed its program, or said why it could not. Called again when it was not all yet."""
        report = slot.report
        if report is None or not report.read():
            return
        slot.report = None
        self.loop.remove(report.fd)
        os.close(report.fd)
        if not report.in_cgroup and slot.tree is not None:
            slot.tree.cgroup = None
        slot.error = report.cause or None
        if slot.error is None:
            slot.phase = RUNNING
            self._tell("spawned", slot, pid=slot.pid, cgroup=slot.cgroup, unbound=slot.unbound)

    # --- ending -----------------------------------------------------------------------------------------------------
    def reap(self) -> None:
        """Take in every child that ended: main processes, the core, and whoever was adopted."""
        strangers = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            strangers = not self._ended(pid, status) or strangers
        if strangers:
            for slot in [slot for slot in self.slots.values() if slot.clearing is not None and not slot.alive]:
                if slot.clearing is not None:
                    slot.clearing.look()

    def _ended(self, pid: int, status: int) -> bool:
        """Take in one child; false when it was an adopted one."""
        if pid == self.core.pid:
            self.core.reaped(status)
            self.ending.core_ended()
        elif pid in self.upgrade.pids:
            self.upgrade.rehearsed(status)
        elif pid in self.by_pid:
            self._main_ended(self.by_pid.pop(pid), status)
        else:
            return False
        return True

    def _main_ended(self, slot: Slot, status: int) -> None:
        if slot.phase == SPAWNING:  # its exec and its end came in the same turn
            self._exec_known(slot)
        slot.end(status, self.ooms)
        if slot.error is not None:
            self._tell("spawn-failed", slot, cause=slot.error)
        else:
            self._tell("exited", slot, **(slot.exit or {}))
        if slot.clearing is not None:
            slot.clearing.look()
        if slot.empty:
            self.cgroups.remove(slot.name)  # the next run's is a new one; now, while the core decides

    def _signal(self, order: Message) -> None:
        slot = self.slots.get(order["slot"])
        if slot is not None and slot.generation == order["generation"]:
            slot.signal(int(order["signal"]), order.get("scope", "main"), bool(order.get("cont")))

    def _clear(self, order: Message) -> None:
        """Always answered in the end: of a generation that never was or is over, nothing lives."""
        slot, generation = self.slots.get(order["slot"]), int(order["generation"])
        if slot is None or slot.tree is None or generation < slot.generation:
            self.core.tell({"event": "emptied", "slot": order["slot"], "generation": generation, "killed": 0})
        else:
            self.clear(slot, generation, float(order.get("grace_s", 0.0)))

    def clear(self, slot: Slot, generation: int, grace_s: float) -> None:
        """Bring the slot's tree to its end; ``emptied`` is told with this generation."""
        self.clearing(slot).order(generation, self.loop.now() + grace_s)

    def clearing(self, slot: Slot) -> Clearing:
        """The clearing of the slot's tree that is under way, made if there is none."""
        assert slot.tree is not None
        if slot.clearing is None:
            slot.clearing = Clearing(
                self.loop,
                slot.tree,
                lambda: slot.alive,
                lambda killed: self._cleared(slot, killed),
                lambda pids: self._tell("stuck", slot, pids=pids),
            )
        return slot.clearing

    def _cleared(self, slot: Slot, killed: int) -> None:
        generation = slot.clearing.generation if slot.clearing is not None else slot.generation
        slot.empty = True
        slot.stop_clearing()
        self.core.tell({"event": "emptied", "slot": slot.name, "generation": generation, "killed": killed})


def _attempt(what: str, deed: Callable[..., None], *arguments: Any) -> None:
    try:
        deed(*arguments)
    except Exception as error:  # nonsense of a core must not take the guardian along
        complain(f"{what} failed: {error!r}")


def _failed(slot: str, generation: int, cause: str) -> Message:
    return {"event": "spawn-failed", "slot": slot, "generation": generation, "cause": cause}
