"""The one table of legal moves between states."""

from hasup.model.state import State

_S = State

MOVES: dict[State, dict[State, str]] = {
    _S.STOPPED: {
        _S.STARTING: "start",
        _S.WAITING: "start, but something is not there yet",
    },
    _S.WAITING: {
        _S.STARTING: "what it waited for is there, its time has come, or start",
        _S.STOPPED: "stop",
        _S.FAILED: "its group gave up",
    },
    _S.STARTING: {
        _S.RUNNING: "ready",
        _S.BACKOFF: "ended, could not be executed, or a hook failed",
        _S.STOPPING: "stop, restart, start or hook timeout, limit, or ended for good and left something",
        _S.ABORTING: "hung",
        _S.COMPLETED: "ended, and must not be restarted",
        _S.FAILED: "ended, and gave up",
        _S.STOPPED: "ended, and is not wanted any more",
    },
    _S.RUNNING: {
        _S.BACKOFF: "ended",
        _S.STOPPING: "stop, restart, limit, or ended for good and left something",
        _S.ABORTING: "hung",
        _S.COMPLETED: "ended, and must not be restarted",
        _S.FAILED: "ended, and gave up",
        _S.STOPPED: "ended, and is not wanted any more",
    },
    _S.ABORTING: {
        _S.BACKOFF: "ended",
        _S.STOPPING: "killed, or ended for good and left something",
        _S.COMPLETED: "ended, and must not be restarted",
        _S.FAILED: "ended, and gave up",
        _S.STOPPED: "ended, and is not wanted any more",
    },
    _S.BACKOFF: {
        _S.STARTING: "the delay is over, or start",
        _S.WAITING: "the delay is over, but something is not there",
        _S.STOPPED: "stop",
        _S.STOPPING: "stop, while something is left",
        _S.FAILED: "its group gave up",
    },
    _S.STOPPING: {
        _S.STOPPED: "nothing is left",
        _S.STARTING: "nothing is left, and it is to start again",
        _S.WAITING: "nothing is left, and it is to start again",
        _S.BACKOFF: "nothing is left, and it had failed",
        _S.COMPLETED: "nothing is left, and must not be restarted",
        _S.FAILED: "nothing is left, and gave up",
    },
    _S.COMPLETED: {_S.STARTING: "start", _S.WAITING: "start, or it has a schedule", _S.STOPPED: "stop"},
    _S.FAILED: {_S.STARTING: "start", _S.WAITING: "start, or it has a schedule", _S.STOPPED: "stop"},
}


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    for old, moves in MOVES.items():
        lines += [f"    {old} --> {new}: {why}" for new, why in moves.items()]
    return "\n".join(lines) + "\n"
