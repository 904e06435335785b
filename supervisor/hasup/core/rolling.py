"""A rolling restart: the replicas of a program one by one, the next when the one before is ready again."""

import msgspec

from hasup.model.state import Replica, State


class Rolling(msgspec.Struct):
    """What is left to do for one program. ``current`` is under way; it had ``generation`` before."""

    left: list[str]
    by: str
    current: str | None = None
    generation: int = 0


def verdict(rolling: Rolling, current: Replica | None) -> str:
    """``next``: the one under way is done; ``wait``: not yet; ``failed``: it did not become ready.

    ``again``: nobody told it, since a core died when only a part of its frame had been sent.
    """
    if rolling.current is None:
        return "next"
    if current is None or not current.wanted:
        return "next"  # stopped or scaled away meanwhile: that was somebody's wish
    if current.state is State.COMPLETED:
        return "next"  # a task needs no replacing
    if current.state is State.FAILED:
        return "failed"
    if current.generation <= rolling.generation and current.state in (State.STARTING, State.RUNNING):
        return "again"
    if current.generation <= rolling.generation or not current.settled:
        return "wait"
    return "next" if current.ready else "failed"
