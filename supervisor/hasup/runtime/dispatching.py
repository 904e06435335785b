"""Tells each dispatcher which replicas are ready, whenever that changes, and hears how its load is spread."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

from hasup.loop import Loop
from hasup.model.spec import Program
from hasup.model.state import Replica, State
from hasup.runtime.endpoints import Endpoints
from hasup.runtime.store import Store

_PACKET_MAX = 65536
_DRAINING = "draining"
Served = Iterable[tuple[Replica, Program]]


class Dispatching:
    """One table of backends a dispatcher. The table is sent whole, so that a lost one does no harm."""

    def __init__(self, loop: Loop, store: Store, endpoints: Endpoints, trouble: Callable[[str], None]) -> None:
        self._loop = loop
        self._store = store
        self._endpoints = endpoints
        self._trouble = trouble
        self._revision = 0
        self._sent: dict[str, str] = {}
        self._tables: dict[str, Callable[[], list[dict[str, Any]]]] = {}
        self._watched: dict[str, int] = {}
        # replicas that get no more: each dispatcher, and the first table that told it so; None: none are open there
        self._draining: dict[str, dict[str, int | None]] = {}
        self.stats: dict[str, dict[str, Any]] = {}
        self.on_drained: Callable[[str], None] = lambda _slot: None

    def update(self, program: Program, slot: str, replicas: Callable[[], Served]) -> None:
        """See to it that the dispatcher in ``slot`` knows the ready ones of ``replicas``, each with what it runs."""
        name = f"dispatch:{slot}:core"
        if name not in self._store:
            return
        self._tables[slot] = lambda: self._table(program, replicas())
        if self._watched.get(slot) != self._store[name]:
            self._watched[slot] = self._store[name]
            self._loop.add(self._store[name], lambda _mask: self._hear(slot))
            self._sent.pop(slot, None)
        self._send(slot)

    def forget(self, slot: str) -> None:
        """The dispatcher's channel is about to be closed."""
        fd = self._watched.pop(slot, None)
        if fd is not None:
            self._loop.remove(fd)
        self._sent.pop(slot, None)
        self._tables.pop(slot, None)
        self.stats.pop(slot, None)
        for told in self._draining.values():
            told.pop(slot, None)

    def _table(self, program: Program, replicas: Served) -> list[dict[str, Any]]:
        weights = program.listen.weights if program.listen else ()
        return [
            {
                "name": replica.name,
                "address": self._endpoints.address(runs, replica.index),
                "weight": weights[replica.index - 1] if replica.index <= len(weights) else 1,
                "state": _backend_state(replica),
            }
            for replica, runs in sorted(replicas, key=lambda pair: pair[0].index)
            if replica.ready or (replica.state is State.STOPPING and replica.pid is not None)
        ]

    def _send(self, slot: str, again: bool = False) -> None:
        table = self._tables[slot]()
        text = json.dumps(table)
        if self._sent.get(slot) == text and not again:
            return
        self._revision += 1
        self._note_draining(slot, table)
        packet = json.dumps({"revision": self._revision, "backends": table}).encode()
        try:
            os.write(self._watched[slot], packet)
            self._sent[slot] = text
        except BlockingIOError:  # a dispatcher that hangs: its successor asks for the table
            self._sent.pop(slot, None)
        except OSError as error:
            self._trouble(f"cannot reach {slot}: {error.strerror}")

    def _hear(self, slot: str) -> None:
        for _ in range(64):
            try:
                packet = os.read(self._watched[slot], _PACKET_MAX)
                message = json.loads(packet) if packet else None
            except (BlockingIOError, ValueError):
                return
            if not isinstance(message, dict):
                return
            if "drained" in message:
                self._drained(slot, message["drained"])
            if "want" in message:
                self._send(slot, again=True)
            elif "stats" in message:
                self.stats[slot] = message["stats"]

    def _note_draining(self, slot: str, table: list[dict[str, Any]]) -> None:
        program = slot.partition(":")[0]
        draining = {entry["name"] for entry in table if entry["state"] == _DRAINING}
        for name in [name for name in self._draining if name.rpartition(".")[0] == program and name not in draining]:
            del self._draining[name]
        for name in draining:
            self._draining.setdefault(name, {}).setdefault(slot, self._revision)

    def _drained(self, slot: str, said: dict[str, Any]) -> None:
        """No connection of this dispatcher to these is open any more, as of a table; one that they got later is meant
        by later news. A replica is drained when all its dispatchers say so.
        """
        for name in said["names"]:
            told = self._draining.get(name, {})
            since = told.get(slot)
            if since is not None and since <= said["revision"]:
                told[slot] = None
            if told and not any(told.values()):
                self.on_drained(name)


def _backend_state(replica: Replica) -> str:
    if not replica.ready:
        return _DRAINING
    return "degraded" if replica.degraded else "ready"
