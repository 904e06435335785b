"""Bounds on resources: which of them a sample crosses, and for how long. Pure thresholds with hysteresis."""

import msgspec

from hasup.model.events import Sampled
from hasup.model.spec import Limit, Limits
from hasup.model.state import Result

FIRED = -1.0  # in place of a time: it fired, and is not armed again yet
REARM = 0.9  # a limit that fired can fire again once the value was below this share of it

RESULTS = {
    "memory": Result.MEMORY, "cpu": Result.CPU, "open_files": Result.OPEN_FILES, "threads": Result.THREADS,
    "processes": Result.PROCESSES, "age": Result.AGE,
}  # fmt: skip


class Crossed(msgspec.Struct, frozen=True):
    """A limit that was crossed for long enough."""

    limit: str
    action: str  # restart, warn, stop, signal:NAME
    reason: str


def evaluate(
    limits: Limits, over_since: dict[str, float], sample: Sampled, age: float, now: float
) -> tuple[dict[str, float], list[Crossed]]:
    """The limits that fire now, and since when each one has been over (FIRED: not armed)."""
    values = {
        "memory": sample.memory_bytes, "cpu": sample.cpu_percent, "open_files": sample.open_files,
        "threads": sample.threads, "processes": sample.processes, "age": age,
    }  # fmt: skip
    since: dict[str, float] = {}
    fired: list[Crossed] = []
    for name, value in values.items():
        limit: Limit | None = getattr(limits, name)
        if limit is None:
            continue
        before = over_since.get(name)
        if value is None or value <= limit.above:
            if before == FIRED and value is not None and value > limit.above * REARM:
                since[name] = FIRED
            continue
        began = now if before is None else before
        if began != FIRED and now - began >= limit.for_:
            fired.append(Crossed(name, limit.action, _reason(name, value, limit)))
            began = FIRED
        since[name] = began
    return since, fired


def _reason(name: str, value: float, limit: Limit) -> str:
    lasting = f" for {limit.for_:g} s" if limit.for_ else ""
    return f"{name.replace('_', ' ')} {_shown(name, value)}, above {_shown(name, limit.above)}{lasting}"


def _shown(name: str, value: float) -> str:
    match name:
        case "memory":
            return f"{value / 2**20:.1f} MiB"
        case "cpu":
            return f"{value:.0f}%"
        case "age":
            return f"{value:.0f} s"
        case _:
            return f"{value:.0f}"
