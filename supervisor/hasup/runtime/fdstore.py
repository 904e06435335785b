"""Descriptors that replicas have hasup keep for their next run: sd_notify's FDSTORE, FDNAME, FDPOLL, FDSTOREREMOVE.

The guardian holds them with all others, so they outlive replica and core. They are given to the next run behind the
listening socket, by LISTEN_FDS and LISTEN_FDNAMES, and are let go when the replica is stopped, as systemd does it.
"""

import os
from collections.abc import Callable, Iterator

from hasup.loop import Loop
from hasup.protocol.notify import Message
from hasup.runtime.engine import Engine
from hasup.runtime.store import Store

MOST = 128  # of one slot; with its pipes and sockets they must fit into one packet to the guardian
_UNNAMED = "stored"  # systemd's name for what was given none


class FdStore:
    """Names in the store are ``kept:SLOT:NUMBER:POLL:FDNAME``; POLL is 1 when a hang-up of its far end lets it go."""

    def __init__(self, loop: Loop, engine: Engine, store: Store, complain: Callable[[str, str], None]) -> None:
        self._loop = loop
        self._engine = engine
        self._store = store
        self._complain = complain
        self._watched: dict[str, int] = {}
        self._leaving: set[str] = set()  # dropped once the frame that may have brought them has been sent
        self._names: dict[str, list[str]] = {}  # slot -> its names, the oldest first
        for name in store.names("kept:"):
            self._names.setdefault(_slot(name), []).append(name)
            self._watch(name)

    def take(self, slot: str, message: Message, fds: list[int]) -> None:
        """What a replica says: keep these, or let go of those with a name. The descriptors are this object's now."""
        if message.fd_store_remove:
            self._drop([name for name in self._of(slot) if _fd_name(name) == message.fd_name])
        if not message.fd_store or len(self._of(slot)) + len(fds) > MOST:
            if message.fd_store:
                self._complain(slot, f"descriptors were not kept: it has {len(self._of(slot))}, at most {MOST}")
            for fd in fds:
                os.close(fd)
            return
        for fd in fds:
            name = f"kept:{slot}:{self._number(slot)}:{message.fd_poll:d}:{_checked(message.fd_name)}"
            self._store.keep(self._engine.frame, slot, {name: fd})
            self._names.setdefault(slot, []).append(name)
            self._watch(name)

    def given(self, slot: str) -> Iterator[tuple[str, str]]:
        """What the slot's next run gets: pairs of FDNAME and name in the store, the oldest first."""
        for name in self._of(slot):
            yield _fd_name(name), name

    def release(self, slot: str) -> None:
        """The replica is stopped: nobody asks for them again."""
        self._drop(self._of(slot))

    def _of(self, slot: str) -> list[str]:
        return [name for name in self._names.get(slot, ()) if name not in self._leaving]

    def _number(self, slot: str) -> int:
        return max((int(name.split(":")[-3]) for name in self._names.get(slot, ())), default=0) + 1

    def _watch(self, name: str) -> None:
        if name.split(":")[-2] == "0":
            return
        try:
            self._loop.add(self._store[name], lambda _mask: self._drop([name]), read=False)
        except OSError:  # a file, say: nothing that could hang up
            return
        self._watched[name] = self._store[name]

    def _drop(self, names: list[str]) -> None:
        for name in names:
            if name in self._watched:
                self._loop.remove(self._watched.pop(name))
        self._leaving.update(names)
        if names:
            self._engine.after_frame(lambda: self._let_go(names))

    def _let_go(self, names: list[str]) -> None:
        self._store.drop(self._engine.frame, "", names)
        self._leaving.difference_update(names)
        for name in names:
            known = self._names.get(_slot(name), [])
            if name in known:
                known.remove(name)


def _slot(name: str) -> str:
    return name.partition(":")[2].rsplit(":", 3)[0]


def _fd_name(name: str) -> str:
    return name.rpartition(":")[2]


def _checked(name: str | None) -> str:
    """A name that LISTEN_FDNAMES can hold; systemd's rule, and its name for all others."""
    return name if name and name.isascii() and name.isprintable() and ":" not in name else _UNNAMED
