"""One slot: what runs in it, how the last run ended, and whatever the core wants kept for it."""

import os
import signal
from typing import Any

from hasup.guardian import cgroups
from hasup.guardian.clearing import Clearing
from hasup.guardian.spawn import Report
from hasup.guardian.tree import Tree, send

NONE, SPAWNING, RUNNING, EXITED = "none", "spawning", "running", "exited"


class Slot:
    """The latest facts of one slot. ``generation`` is that of the last spawn that was carried out or failed."""

    __slots__ = (
        "blob", "clearing", "empty", "error", "exit", "generation", "name", "oom_before", "phase", "pid", "refused",
        "report", "tree", "unbound",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self.phase = NONE
        self.pid: int | None = None
        self.tree: Tree | None = None
        self.report: Report | None = None  # open until it is known whether exec succeeded
        self.error: str | None = None
        self.refused: tuple[int, str] | None = None  # a generation that was not spawned since this one lives, and why
        self.exit: dict[str, Any] | None = None
        self.empty = True
        self.blob: str | None = None
        self.clearing: Clearing | None = None
        self.oom_before = 0
        self.unbound: list[str] = []  # the bounds asked for it that could not be set

    @property
    def alive(self) -> bool:
        """Whether its main process has not been reaped."""
        return self.phase in (SPAWNING, RUNNING)

    @property
    def cgroup(self) -> str | None:
        """The folder of its processes, if they have one of their own."""
        return self.tree.cgroup if self.tree is not None else None

    def is_empty(self) -> bool:
        """Whether nothing of it lives, as of now."""
        if not self.alive and not self.empty:
            self.empty = self.tree is None or self.tree.is_empty()
        return not self.alive and self.empty

    def facts(self) -> dict[str, Any]:
        """What a new core is told."""
        return {
            "slot": self.name, "generation": self.generation, "pid": self.pid, "cgroup": self.cgroup,
            "phase": self.phase, "exit": self.exit, "error": self.error, "empty": self.empty, "blob": self.blob,
            "unbound": self.unbound,
        }  # fmt: skip

    def begin(self, generation: int, tree: Tree, report: Report, unbound: list[str]) -> None:
        """A child was forked."""
        self.stop_clearing()
        self.generation, self.pid, self.report, self.tree = generation, tree.pid, report, tree
        self.phase, self.exit, self.error, self.refused, self.empty = SPAWNING, None, None, None, False
        self.oom_before, self.unbound = cgroups.oom_kills(tree.cgroup) if tree.cgroup else 0, unbound

    def refuse(self, generation: int, cause: str) -> None:
        """There was no child for this generation."""
        if self.alive:
            self.refused = (generation, cause)
        else:
            self.generation, self.pid, self.phase, self.exit, self.error = generation, None, EXITED, None, cause

    def end(self, status: int, ooms: cgroups.SharedOoms) -> None:
        """Its main process was reaped with this wait status."""
        signalled = os.WIFSIGNALED(status)
        killed = signalled and os.WTERMSIG(status) == signal.SIGKILL
        self.phase = EXITED
        if self.error is not None:  # it was never more than a copy of the guardian
            self.empty = True
            return
        self.is_empty()
        self.exit = {
            "pid": self.pid,
            "exit_code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "core_dump": signalled and os.WCOREDUMP(status),
            "oom": self._is_oom(ooms) if killed else False,
            "empty": self.empty,
        }
        if not killed:
            ooms.settle()

    def _is_oom(self, ooms: cgroups.SharedOoms) -> bool:
        """Whether the KILL that ended it was the kernel's, for want of memory."""
        if self.cgroup is not None and cgroups.counts_ooms(self.cgroup):
            return cgroups.oom_kills(self.cgroup) > self.oom_before
        return ooms.claim()

    def stop_clearing(self) -> None:
        """Nothing is to be cleared any more."""
        if self.clearing is not None:
            self.clearing.cancel()
            self.clearing = None

    def signal(self, number: int, scope: str, cont: bool) -> None:
        """Send a signal to what lives: the main process, its group, or the whole tree; raises OSError."""
        if self.tree is None or self.is_empty():
            return
        self.tree.remember()
        for each in (number, signal.SIGCONT) if cont else (number,):
            if scope == "tree" or not self.alive:  # without its main process, its numbers may be anybody's
                self.tree.send(each, [] if scope == "main" else self.tree.members())
            elif scope == "group":
                self._signal_group(self.tree.pid, each)
            else:
                send(self.tree.pid, each)

    def _signal_group(self, pid: int, number: int) -> None:
        try:
            os.killpg(pid, number)
        except ProcessLookupError:  # it has not made its group yet: it is alone
            send(pid, number)
            return
        except PermissionError:
            pass
        if os.getpgid(pid) != pid:  # it moved to another: it is meant all the same
            send(pid, number)
