"""One slot: what runs in it, how the last run ended, and whatever the core wants kept for it."""

import os
import signal
from typing import Any

from hasup.guardian import cgroups
from hasup.guardian.tree import Tree
from hasup.loop import Timer

NONE, SPAWNING, RUNNING, EXITED = "none", "spawning", "running", "exited"


class Clearing:
    """A tree that is being brought to its end."""

    __slots__ = ("grace_until", "kill_began", "killed", "pause", "timer", "told_stuck")

    def __init__(self, grace_until: float) -> None:
        self.grace_until = grace_until
        self.kill_began: float | None = None
        self.killed = 0
        self.pause = 0.001
        self.told_stuck: list[int] = []
        self.timer: Timer | None = None


class Slot:
    """The latest facts of one slot. ``generation`` is that of the last spawn asked for."""

    __slots__ = (
        "blob", "cgroup", "clearing", "empty", "error", "exit", "generation", "name", "oom_before", "phase", "pid",
        "pidfd", "report", "tree",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.generation = 0
        self.phase = NONE
        self.pid: int | None = None
        self.pidfd: int | None = None
        self.cgroup: str | None = None
        self.tree: Tree | None = None
        self.report: int | None = None  # the pipe that tells of exec
        self.error: str | None = None
        self.exit: dict[str, Any] | None = None
        self.empty = True
        self.blob: str | None = None
        self.clearing: Clearing | None = None
        self.oom_before = 0

    @property
    def alive(self) -> bool:
        """Whether its main process has not been reaped."""
        return self.phase in (SPAWNING, RUNNING)

    def facts(self) -> dict[str, Any]:
        """What a new core is told."""
        return {
            "slot": self.name, "generation": self.generation, "pid": self.pid, "cgroup": self.cgroup,
            "phase": self.phase, "exit": self.exit, "error": self.error, "empty": self.empty, "blob": self.blob,
        }  # fmt: skip

    def begin(self, generation: int, pid: int, report: int, tree: Tree) -> None:
        """A child was forked."""
        self.generation, self.pid, self.report, self.tree = generation, pid, report, tree
        self.cgroup = tree.cgroup
        self.phase, self.exit, self.error, self.empty, self.clearing = SPAWNING, None, None, False, None
        self.pidfd = os.pidfd_open(pid)
        self.oom_before = cgroups.oom_kills(tree.cgroup) if tree.cgroup else 0

    def refuse(self, generation: int, cause: str) -> None:
        """The spawn of this generation failed before there was a child."""
        self.generation, self.pid, self.phase, self.exit, self.error = generation, None, EXITED, None, cause

    def end(self, status: int) -> None:
        """Its main process was reaped with this wait status."""
        signalled = os.WIFSIGNALED(status)
        self.phase = EXITED
        self.empty = self.tree is None or self.tree.is_empty()
        killed = signalled and os.WTERMSIG(status) == signal.SIGKILL
        self.exit = {
            "pid": self.pid,
            "exit_code": None if signalled else os.WEXITSTATUS(status),
            "signal": os.WTERMSIG(status) if signalled else None,
            "core_dump": signalled and os.WCOREDUMP(status),
            "oom": bool(killed and self.cgroup and cgroups.oom_kills(self.cgroup) > self.oom_before),
            "empty": self.empty,
        }
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def signal(self, number: int, scope: str, cont: bool) -> None:
        """Send to the main process (through its pidfd: never to another that got its number), group or tree."""
        if self.pid is None or self.tree is None:
            return
        if scope == "tree":
            targets = self.tree.members()
            _each(targets, number)
            if cont:
                _each(targets, signal.SIGCONT)
            return
        self.tree.remember()
        for each in (number, signal.SIGCONT) if cont else (number,):
            if scope == "group":
                self._signal_group(each)
            elif self.pidfd is not None:
                _quietly(lambda each=each: signal.pidfd_send_signal(self.pidfd, each))

    def _signal_group(self, number: int) -> None:
        pid = self.pid
        if pid is not None and (self.pidfd is not None or not self.empty):  # its number can't be another group's yet
            _quietly(lambda: os.killpg(pid, number))
            if self.pidfd is not None:
                fd = self.pidfd
                if os.getpgid(pid) != pid:  # it moved to another group: it is meant all the same
                    _quietly(lambda: signal.pidfd_send_signal(fd, number))


def _each(pids: set[int], number: int) -> None:
    for pid in pids:
        _quietly(lambda pid=pid: os.kill(pid, number))


def _quietly(send: Any) -> None:
    try:
        send()
    except (ProcessLookupError, PermissionError):
        pass
