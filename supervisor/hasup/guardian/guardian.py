"""The guardian: carries out orders on slots, reaps, and keeps what must outlive the core. No policy."""

import os
import signal
import socket
from typing import Any

from hasup.guardian.cgroups import Cgroups
from hasup.guardian.corelink import CoreLink, Listener, chunks
from hasup.guardian.slot import SPAWNING, Clearing, Slot
from hasup.guardian.spawn import complain, fork_failure, read_report, spawn
from hasup.guardian.tree import Tree
from hasup.loop import EXITS, Loop
from hasup.protocol.guardian import MAX_FDS, MAX_FRAME, Message, encode
from hasup.version import __version__

_STUCK_AFTER_S = 5.0
_PAUSE_MAX_S = 0.1
_SLOTS_A_PACKET = 16
_LAST_WORDS_S = 3.0  # the core may take so long to end after everything has


class Guardian(Listener):
    """Slots, store and core."""

    def __init__(self, loop: Loop, options: dict[str, Any]) -> None:
        self.loop = loop
        self.instance: str = options["instance"]
        self.started = options.get("started", loop.now())
        self.store: dict[str, int] = dict(options.get("store", {}))
        self.slots: dict[str, Slot] = {}
        self.cgroups = Cgroups(self.instance, options.get("cgroup", True))
        self.exit_code: int | None = None
        self._by_pid: dict[int, Slot] = {}
        self._notify_socket = os.environ.get("NOTIFY_SOCKET")
        env = {"HASUP_INSTANCE": self.instance}
        self.core = CoreLink(loop, options["core"], env, options.get("lock_fd"), self)

    # --- what the core is told --------------------------------------------------------------------------------------
    def snapshot(self) -> list[tuple[bytes, list[int]]]:
        """Everything, for a core that has just been started."""
        hello = {
            "event": "hello", "instance": self.instance, "guardian_pid": os.getpid(), "started": self.started,
            "core_restarts": max(0, self.core.restarts), "core_died": self.core.died, "version": __version__,
        }  # fmt: skip
        packets: list[tuple[bytes, list[int]]] = [(encode(hello), [])]
        for names in chunks(list(self.store), MAX_FDS):
            packets.append((encode({"event": "store", "names": names}), [self.store[name] for name in names]))
        for part in self._slot_chunks():
            packets.append((encode({"event": "slots", "slots": part}), []))
        packets.append((encode({"event": "hello-end"}), []))
        return packets

    def _slot_chunks(self) -> list[list[dict[str, Any]]]:
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
        for name, blob in message.get("blobs", {}).items():
            self._slot(name).blob = blob
        arrived = iter(fds)
        for order in message.get("do", ()):
            try:
                if order["op"] == "keep":
                    self._keep(order["names"], arrived)
                else:
                    self._carry_out(order)
            except (KeyError, TypeError, ValueError, OSError) as error:
                complain(f"order {order.get('op')!r} of {order.get('slot')!r} failed: {error!r}")
        for fd in arrived:  # more than were announced
            os.close(fd)

    def _carry_out(self, order: Message) -> None:
        match order["op"]:
            case "spawn":
                self._spawn(order)
            case "signal":
                self._signal(order)
            case "clear":
                self._clear(order["slot"], order["generation"], order.get("grace_s", 0.0))
            case "forget":
                self._forget(order["slot"])
            case "drop":
                self._drop(order["names"])
            case "ready":
                self.core.ready()
            case "pong":
                pass  # any packet is a sign of life
            case "notify":
                self._notify(order["text"], order.get("names", ()))
            case "exit":
                self._end(order["code"])
            case _:
                raise ValueError("there is no such order")

    def _slot(self, name: str) -> Slot:
        if name not in self.slots:
            self.slots[name] = Slot(name)
        return self.slots[name]

    def _keep(self, names: list[str], arrived: Any) -> None:
        for name in names:
            fd = next(arrived)
            if name in self.store:
                os.close(self.store[name])
            self.store[name] = fd

    def _drop(self, names: list[str]) -> None:
        for name in names:
            fd = self.store.pop(name, None)
            if fd is not None:
                os.close(fd)

    def _forget(self, name: str) -> None:
        slot = self.slots.get(name)
        if slot is not None and not slot.alive:
            if slot.clearing is not None and slot.clearing.timer is not None:
                slot.clearing.timer.cancel()
            del self.slots[name]
            self.cgroups.remove(name)

    # --- starting ---------------------------------------------------------------------------------------------------
    def _spawn(self, order: Message) -> None:
        slot, generation = self._slot(order["slot"]), order["generation"]
        if generation <= slot.generation:
            return  # asked for before
        if slot.alive or not (slot.empty or slot.tree is None or slot.tree.is_empty()):
            self._refuse(slot, generation, "something of its last run still lives")
            return
        missing = [name for _, name in order["fds"] if name != "null" and name not in self.store]
        if missing:
            self._refuse(slot, generation, f"hasup lost a descriptor: {', '.join(missing)}")
            return
        self._fork(slot, generation, order)

    def _fork(self, slot: Slot, generation: int, order: Message) -> None:
        fds = [(target, -1 if name == "null" else self.store[name]) for target, name in order["fds"]]
        cgroup = self.cgroups.of(slot.name) if order.get("cgroup", True) else None
        try:
            child = spawn(order, fds, cgroup)
        except OSError as error:
            self._refuse(slot, generation, fork_failure(error))
            return
        tree = Tree(child.pid, cgroup, self._marks(order), self._own_children)
        slot.begin(generation, child.pid, child.report, tree)
        self._by_pid[child.pid] = slot
        self.loop.add(child.report, lambda _mask: self._exec_known(slot, generation), order=EXITS)

    def _marks(self, order: Message) -> tuple[str, ...]:
        """The environment entries by which an orphan of this slot is known."""
        env = order.get("env") or {}
        names = ("HASUP_INSTANCE", "HASUP_PROGRAM", "HASUP_REPLICA")
        marks = tuple(f"{name}={env[name]}" for name in names if env.get(name) is not None)
        return marks if len(marks) == len(names) else ("HASUP_NO_SUCH=1",)

    def _own_children(self) -> set[int]:
        return self._by_pid.keys() | ({self.core.pid} if self.core.pid is not None else set())

    def _refuse(self, slot: Slot, generation: int, cause: str) -> None:
        if not slot.alive:
            slot.refuse(generation, cause)
        self.core.tell({"event": "spawn-failed", "slot": slot.name, "generation": generation, "cause": cause})

    def _exec_known(self, slot: Slot, generation: int) -> None:
        """The child has executed its program, or said why it could not."""
        if slot.generation != generation or slot.report is None:
            return
        slot.error = read_report(slot.report) or None
        self._close_report(slot)
        if slot.error is None and slot.phase == SPAWNING:
            slot.phase = "running"
            self._tell("spawned", slot, pid=slot.pid, cgroup=slot.cgroup)

    def _close_report(self, slot: Slot) -> None:
        if slot.report is not None:
            self.loop.remove(slot.report)
            os.close(slot.report)
            slot.report = None

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
            if pid == self.core.pid:
                self._core_ended(status)
            elif pid in self._by_pid:
                self._ended(self._by_pid.pop(pid), status)
            else:
                strangers = True
        if strangers:
            for slot in [slot for slot in self.slots.values() if slot.clearing is not None]:
                self._look(slot)

    def _ended(self, slot: Slot, status: int) -> None:
        if slot.report is not None:  # its exec and its end came in the same turn
            self._exec_known(slot, slot.generation)
        slot.end(status)
        if slot.error is not None:
            slot.exit, slot.empty = None, True
            self._tell("spawn-failed", slot, cause=slot.error)
        else:
            assert slot.exit is not None
            self._tell("exited", slot, **slot.exit)
        if slot.clearing is not None:
            self._look(slot)

    def _signal(self, order: Message) -> None:
        slot = self.slots.get(order["slot"])
        if slot is not None and slot.generation == order["generation"]:
            slot.signal(order["signal"], order.get("scope", "main"), bool(order.get("cont")))

    def _clear(self, name: str, generation: int, grace_s: float) -> None:
        slot = self.slots.get(name)
        if slot is None or slot.generation != generation:
            return
        if slot.tree is not None and grace_s > 0:
            slot.tree.remember()
        if slot.clearing is None:
            slot.clearing = Clearing(self.loop.now() + grace_s)
        slot.clearing.grace_until = self.loop.now() + grace_s
        slot.clearing.pause = 0.001
        self._look(slot)

    def _look(self, slot: Slot) -> None:
        """One step of clearing: done, wait, or kill once more."""
        clearing, tree = slot.clearing, slot.tree
        if clearing is None:
            return
        if clearing.timer is not None:
            clearing.timer.cancel()
        if not slot.alive and (tree is None or tree.is_empty()):
            slot.clearing, slot.empty = None, True
            self._tell("emptied", slot, killed=clearing.killed)
            return
        now = self.loop.now()
        if now >= clearing.grace_until and tree is not None:
            clearing.kill_began = clearing.kill_began if clearing.kill_began is not None else now
            clearing.killed = max(clearing.killed, tree.kill())
            if now - clearing.kill_began >= _STUCK_AFTER_S:
                self._report_stuck(slot, clearing, tree)
        clearing.pause = min(_PAUSE_MAX_S, clearing.pause * 2)
        wait = clearing.pause if now >= clearing.grace_until else min(clearing.pause, clearing.grace_until - now)
        clearing.timer = self.loop.call_later(wait, lambda: self._look(slot))

    def _report_stuck(self, slot: Slot, clearing: Clearing, tree: Tree) -> None:
        pids = sorted(tree.members())
        if pids and pids != clearing.told_stuck:
            clearing.told_stuck = pids
            self._tell("stuck", slot, pids=pids)

    # --- hasup's own end --------------------------------------------------------------------------------------------
    def signalled(self, number: int) -> None:
        """The guardian was sent a signal: the core decides; without a core for long, see :meth:`give_up`."""
        self.core.tell({"event": "signal", "signal": number})

    def give_up(self, why: str) -> None:
        """End everything without the core."""
        complain(why)
        self._end(1)

    def _end(self, code: int) -> None:
        """Nothing may be left; then the core, then this process."""
        self.exit_code = code
        self.core.wanted = False
        for slot in self.slots.values():
            if slot.alive or (slot.tree is not None and not slot.tree.is_empty()):
                self._clear(slot.name, slot.generation, 0.0)
        self._finish()

    def _finish(self) -> None:
        if any(slot.clearing is not None for slot in self.slots.values()):
            self.loop.call_later(0.005, self._finish)
            return
        self.cgroups.close()
        if self.core.pid is None:
            self.loop.stop()
            return
        self.loop.call_later(0.0, self.core.hang_up)
        self.loop.call_later(_LAST_WORDS_S, self._end_core)

    def _core_ended(self, status: int) -> None:
        self.core.reaped(status)
        if self.exit_code is not None:
            self.loop.stop()

    def _end_core(self) -> None:
        if self.core.pid is not None:
            os.kill(self.core.pid, signal.SIGKILL)

    # --- systemd ----------------------------------------------------------------------------------------------------
    def _notify(self, text: str, names: Any) -> None:
        """Pass a message on to systemd, which takes it from the unit's main process only."""
        if not self._notify_socket:
            return
        address = self._notify_socket
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            fds = [self.store[name] for name in names]
            if fds:
                socket.send_fds(sender, [text.encode()], fds)
            else:
                sender.send(text.encode())
