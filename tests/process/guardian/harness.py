"""A real guardian in a process of its own, and the test in the place of the core."""

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hasup.guardian import cgroups, cloning
from hasup.guardian.leftovers import end_leftovers
from hasup.protocol.guardian import MAX_FRAME, decode, encode

SOURCE = str(Path(__file__).parents[3] / "supervisor")
FAKE_CORE = [sys.executable, "-I", "-S", str(Path(__file__).with_name("fake_core.py"))]
DEADLINE_S = 30.0

Event = dict[str, Any]


def wait_until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """The condition's first true value."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(0.01)  # polls /proc and files, which tell nobody when they change
    return value


def state_of(pid: int) -> str | None:
    """The letter of a process's state, None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def lives(pid: int) -> bool:
    return state_of(pid) not in (None, "Z", "X")


class CoreEnd:
    """The core's end of the socket pair. Answers pings while it waits, unless ``mute``."""

    def __init__(self, sock: socket.socket, facts: str) -> None:
        self.socket = sock
        pid, self.instance, self.lock_fd = (*facts.split(" "), "")[:3]
        self.pid = int(pid)
        self.mute = False
        self.events: list[Event] = []
        self.fds: dict[str, int] = {}

    def send(self, *orders: Event, blobs: dict[str, str | None] | None = None, fds: list[int] | None = None) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([encode({"blobs": blobs or {}, "do": list(orders)})], rights)

    def send_raw(self, data: bytes) -> None:
        self.socket.send(data)

    def read(self, timeout: float = DEADLINE_S) -> Event:
        """The next event but pings."""
        deadline = time.monotonic() + timeout
        while True:
            ready = select.select([self.socket], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"no event; so far: {self.events}"
            data, ancillary, _, _ = self.socket.recvmsg(MAX_FRAME + 1, 4096, socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise EOFError("the guardian hung up")
            event = decode(data)
            fds = array.array("i")
            for _, _, content in ancillary:
                fds.frombytes(content)
            if event["event"] == "store":
                self.fds.update(zip(event["names"], fds, strict=True))
            if event["event"] != "ping":
                self.events.append(event)
                return event
            if not self.mute:
                self.send({"op": "pong"})

    def wait(self, kind: str, slot: str | None = None) -> Event:
        """The next event of this kind (and slot); those before it are only recorded."""
        while True:
            event = self.read()
            if event["event"] == kind and slot in (None, event.get("slot")):
                return event

    def snapshot(self) -> dict[str, Event]:
        """Reads from ``hello`` to ``hello-end``; the slots by name."""
        slots: dict[str, Event] = {}
        while (event := self.read())["event"] != "hello-end":
            slots.update({slot["slot"]: slot for slot in event.get("slots", ())})
        return slots

    def close(self) -> None:
        self.socket.close()
        for fd in self.fds.values():
            os.close(fd)
        self.fds.clear()


class Bench:
    """One guardian; ``core`` is the test's end of the one that runs now.

    ``patience`` sets constants of the guardian's modules, such as {"ending._PATIENCE_S": 0.1}.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cgroup: bool = False,
        attend: bool = True,
        patience: dict[str, float | None] | None = None,
        **options: Any,
    ) -> None:
        self.folder = folder
        self.instance = uuid.uuid4().hex
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door = str(folder / f"door-{self.instance[:6]}")
        self._door.bind(door)
        self._door.listen()
        self._errors = (folder / f"stderr-{self.instance[:6]}").open("w+")
        store: dict[str, int] = options.pop("store", {})
        self.options = {
            "instance": self.instance, "state_dir": str(folder), "store": store, "core": [*FAKE_CORE, door],
            "cgroup": cgroup, **options,
        }  # fmt: skip
        kept = [fd for fd in (*store.values(), options.get("lock_fd")) if fd is not None]
        self.argv = [sys.executable, "-P", *(_patched(patience) if patience else ("-m", "hasup.guardian"))]
        self.process = subprocess.Popen(
            [*self.argv, json.dumps(self.options)],
            env={**os.environ, "PYTHONPATH": SOURCE},
            pass_fds=kept,
            stdin=subprocess.DEVNULL,
            stderr=self._errors,
        )
        self._ends: list[CoreEnd] = []
        if attend:
            self.next_core()

    def accept(self) -> CoreEnd:
        """The end of the next core."""
        self._door.settimeout(DEADLINE_S)
        connection, _ = self._door.accept()
        with connection:
            facts, fds, _, _ = socket.recv_fds(connection, 200, 1)
        self.core = CoreEnd(socket.socket(fileno=fds[0]), facts.decode())
        self._ends.append(self.core)
        return self.core

    def next_core(self) -> tuple[CoreEnd, dict[str, Event]]:
        """The next core, and the slots that it was told of."""
        core = self.accept()
        slots = core.snapshot()
        core.send({"op": "ready"})
        return core, slots

    @property
    def errors(self) -> str:
        """The guardian's stderr so far."""
        return Path(self._errors.name).read_text()

    def order(self, slot: str, argv: list[str], generation: int = 1, **more: Any) -> Event:
        """A ``spawn`` order."""
        env = {"HASUP_PROGRAM": slot.partition(".")[0], "HASUP_REPLICA": "1", **more.pop("env", {})}
        return {
            "op": "spawn", "slot": slot, "generation": generation, "argv": argv, "env": env, "pid_env": [],
            "directory": None, "fds": [[0, "null"], [1, "null"], [2, "null"]], "uid": None, "gid": None,
            "groups": None, "umask": None, "nice": None, "rlimits": [], "cgroup": True, **more,
        }  # fmt: skip

    def spawn(self, slot: str, argv: list[str], generation: int = 1, **more: Any) -> int:
        """Spawn, and wait until it is known to run; its pid."""
        self.core.send(self.order(slot, argv, generation, **more))
        return int(self.core.wait("spawned", slot)["pid"])

    def failure(self, argv: list[str], **more: Any) -> str:
        """The cause of a spawn that fails."""
        slot = f"bad.{uuid.uuid4().hex[:6]}"
        self.core.send(self.order(slot, argv, **more))
        event = self.core.read()
        assert event["event"] == "spawn-failed", event
        return str(event["cause"])

    def python(self, code: str) -> list[str]:
        """The argv of a Python that runs ``code``."""
        return [sys.executable, "-I", "-S", "-c", code]

    def output(self, argv: list[str], **more: Any) -> str:
        """All that a child writes to its stdout."""
        read_end, write_end = os.pipe()
        with open(read_end) as stream:
            name, slot = f"out:{uuid.uuid4().hex[:6]}", f"say.{uuid.uuid4().hex[:6]}"
            fds = more.pop("fds", [[0, "null"], [2, "stderr"]])
            order = self.order(slot, argv, fds=[[1, name], *fds], **more)
            self.core.send(
                {"op": "keep", "names": [name, "stderr"]}, order, {"op": "drop", "names": [name]},
                fds=[write_end, self._errors.fileno()],
            )  # fmt: skip
            os.close(write_end)
            text = stream.read()
        assert self.core.read()["event"] == "spawned"
        self.core.wait("exited", slot)
        return text

    def end(self) -> None:
        """End the guardian and whatever is left of it."""
        if self.process.poll() is None:
            for _ in range(3):  # three times: at once, whatever its core does
                self.process.send_signal(signal.SIGTERM)
                time.sleep(0.01)  # signals of one number do not queue
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            end_leftovers(self.instance)
            for end in self._ends:
                end.close()
            self._door.close()
            self._errors.close()


def _patched(patience: dict[str, float | None]) -> list[str]:
    lines = ["import sys, hasup.guardian.__main__ as main"]
    for name, value in patience.items():
        module, _, constant = name.partition(".")
        lines.append(f"sys.modules['hasup.guardian.{module}'].{constant} = {value}")
    return ["-c", "\n".join([*lines, "sys.exit(main.main())"])]


def can_make_cgroups() -> bool:
    """Whether a cgroup v2 folder may be made here."""
    probe = cgroups.Cgroups(f"{uuid.uuid4().hex}", True)
    made = probe.folder is not None
    probe.close()
    return made


def can_clone() -> bool:
    """Whether children that borrow the guardian's memory can be made here."""
    return cloning._spawn is not None


def pids_in(path: Path, count: int) -> list[int]:
    """The pids that children wrote into a file, once there are so many."""
    return list(wait_until(lambda: _read_pids(path, count), f"{count} pids in {path}"))


def _read_pids(path: Path, count: int) -> list[int]:
    text = path.read_text() if path.exists() else ""
    found = [int(line) for line in text.splitlines()] if text.endswith("\n") else []
    return found if len(found) >= count else []


Benches = Iterator[Callable[..., Bench]]
