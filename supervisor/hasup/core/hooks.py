"""Commands at the turns of a replica's life: which of them comes when, and what it is told of what happened.

``before_restart`` and ``before_start`` gate the start: the replica is ``starting``, without a process, while they run.
``on_ready`` and ``on_failed`` run beside it.
"""

from typing import Final

from hasup.model.spec import Program
from hasup.model.state import Replica

GATES: Final = ("before_restart", "before_start")  # in the order in which they run
BESIDE: Final = ("on_ready", "on_failed")


def first_gate(program: Program, replica: Replica) -> str | None:
    """The hook that comes first when the replica is to start; None when there is none."""
    if replica.recover and program.hooks.before_restart:
        return "before_restart"
    return next_gate(program, "before_restart")


def next_gate(program: Program, done: str) -> str | None:
    """The hook that comes after this one; None when it is the turn of the process itself."""
    return "before_start" if done == "before_restart" and program.hooks.before_start else None


def facts(replica: Replica, hook: str) -> dict[str, str]:
    """What a hook finds in its environment; "" is what is not so."""
    last = replica.last
    code = last.exit_code if last is not None else None
    return {
        "HASUP_EVENT": hook,
        "HASUP_STATE": replica.state.value,
        "HASUP_REASON": replica.reason,
        "HASUP_RESTARTS": str(replica.restarts),
        "HASUP_RESULT": last.result.value if last is not None else "",
        "HASUP_EXIT_CODE": "" if code is None else str(code),
        "HASUP_SIGNAL": (last.signal or "") if last is not None else "",
    }
