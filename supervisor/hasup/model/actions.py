"""What the decisions ask for. The runtime carries them out; those for the guardian travel in one atomic frame
together with the new state (docs/decisions/0001).
"""

import msgspec

from hasup.model.state import State


class Action(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all actions."""


class Spawn(Action, frozen=True):
    """Start this generation of the slot. Idempotent by slot and generation."""

    slot: str
    generation: int


class Signal(Action, frozen=True):
    """Send a signal (a number) to the slot's main process or to its whole group; ``cont``: SIGCONT right after."""

    slot: str
    generation: int
    signal: int
    scope: str = "group"  # main, group
    cont: bool = False


class RunStopCommand(Action, frozen=True):
    """Run ``stop.command`` of the slot."""

    slot: str
    generation: int


class RunHook(Action, frozen=True):
    """Run a hook of the slot; ``facts`` come on top of its environment. One before a start is answered by HookEnded."""

    slot: str
    generation: int
    hook: str
    facts: dict[str, str]


class EndHook(Action, frozen=True):
    """End a hook before a start: ask it to, wait ``grace_s``, then KILL its whole tree; then HookEnded."""

    slot: str
    generation: int
    hook: str
    grace_s: float = 0.0


class ClearTree(Action, frozen=True):
    """See to it that nothing of the slot's tree is left: wait ``grace_s``, then KILL until it is so; then Emptied."""

    slot: str
    generation: int
    grace_s: float = 0.0


class Forget(Action, frozen=True):
    """The slot is gone for good (scaled down): drop what is kept for it."""

    slot: str


class Revert(Action, frozen=True):
    """The configuration of a program goes back to what it was: keep that as the one in force."""

    program: str


class Changed(Action, frozen=True):
    """Something happened to a replica, with its reason: for the journal, the log, followers and the dispatcher."""

    slot: str
    event: str  # "state", "ready", "not-ready", "degraded", "restored", "limit", "notify", "stuck", "restart", …
    old: State
    new: State
    reason: str
    ready: bool
    detail: dict[str, object] = {}


class Note(Action, frozen=True):
    """Something happened to hasup or a program as a whole."""

    event: str  # "shutdown", "scale", "essential", …
    reason: str
    program: str | None = None
    detail: dict[str, object] = {}


class Collect(Action, frozen=True):
    """Gather evidence on the slot now: it is about to be aborted, or just died."""

    slot: str
    generation: int
    why: str


class Exit(Action, frozen=True):
    """Everything is stopped: hasup ends with this code."""

    code: int
