"""The last thing that went wrong with a replica, out of its part of the journal. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from hasup.model.status import EventRecord

_ORDERLY: Final = frozenset({"success", "operator", "reload"})
_HOUR: Final = 3600.0


class Incident(NamedTuple):
    """``told`` is what the journal says from the first sign of trouble on, until now."""

    symptom: str  # a result (heartbeat, exit-code …), or degraded, not-ready, stuck
    reason: str
    at: str
    generation: int | None
    ended: EventRecord | None  # the end of that run, if it has ended
    lived_s: float | None  # from its start to the first sign of trouble
    told: Sequence[EventRecord]
    often: dict[str, int]  # results within the last hour


def last_incident(events: Sequence[EventRecord], now: float) -> Incident | None:
    """The last run that failed; or, when none did or a lighter trouble came after that and goes on, that one."""
    failures = [number for number, event in enumerate(events) if is_failure(event)]
    lighter = _unsettled(events)
    if lighter is not None and (not failures or lighter > failures[-1]):
        return _of(events, lighter, now)
    if failures:
        return _of(events, failures[-1], now)
    return None


def is_failure(event: EventRecord) -> bool:
    """Whether this event says that a run failed or is found hung."""
    result = event.detail.get("result")
    if event.event != "state" or event.from_ == event.to or _starts(event):
        return False
    return event.to == "aborting" or (result is not None and result not in _ORDERLY) or _could_not_start(event)


def _could_not_start(event: EventRecord) -> bool:
    return event.reason.startswith(("could not be started", "start timeout"))


def _unsettled(events: Sequence[EventRecord]) -> int | None:
    """The newest sign of a lighter trouble in the last run that was not followed by its opposite."""
    found: dict[str, int] = {}
    for number, event in enumerate(events):
        match event.event:
            case "degraded" | "not-ready" | "limit" | "stuck":
                found[event.event] = number
            case "restored":
                found.pop("degraded", None)
            case "ready":
                found.pop("not-ready", None)
            case "cleared":
                found.pop("stuck", None)
            case "state" if event.to in ("starting", "stopped"):
                found.clear()
    return max(found.values(), default=None)


def _of(events: Sequence[EventRecord], number: int, now: float) -> Incident:
    generation = events[number].detail.get("generation")
    first = number
    while first > 0 and not _starts(events[first]) and _same_run(events[first - 1], generation):
        first -= 1
    run = events[first:]
    begun = next((event for event in run if _is_trouble(event)), events[number])
    ended = next((event for event in run if _ends(event) and _same_run(event, generation)), None)
    cause = begun if ended is None or begun.event == "limit" or begun.to == "aborting" else ended
    started = run[0] if _starts(run[0]) else None
    return Incident(
        symptom=_symptom(events[number], ended, begun),
        reason=_words(cause),
        at=begun.at,
        generation=generation if isinstance(generation, int) else None,
        ended=ended,
        lived_s=None if started is None else seconds(begun.at) - seconds(started.at),
        told=run[run.index(begun) :],
        often=Counter(
            str(event.detail["result"])
            for event in events
            if is_failure(event) and "result" in event.detail and now - seconds(event.at) <= _HOUR
        ),
    )


def _starts(event: EventRecord) -> bool:
    return event.event == "state" and event.to == "starting"


def _ends(event: EventRecord) -> bool:
    """A start that follows at once speaks of the end before it, but is of the next run."""
    return "result" in event.detail and not _starts(event)


def _same_run(event: EventRecord, generation: object) -> bool:
    """What carries no generation (evidence) belongs to where it stands."""
    return event.detail.get("generation", generation) == generation


def _is_trouble(event: EventRecord) -> bool:
    return is_failure(event) or event.event in ("degraded", "not-ready", "limit", "stuck")


def _symptom(chosen: EventRecord, ended: EventRecord | None, begun: EventRecord) -> str:
    if ended is not None:
        gave_up = ended.to == "failed" and "gave up: " in ended.reason
        return "limit" if gave_up else str(ended.detail["result"])
    if begun.event == "limit":
        return str(begun.detail.get("limit", "limit")).replace("_", "-")
    if _could_not_start(chosen):
        return "spawn-failed" if chosen.reason.startswith("could not") else "start-timeout"
    return "hung" if chosen.to == "aborting" else chosen.event


def _words(event: EventRecord) -> str:
    """The reason without what follows from it."""
    return event.reason.partition("; ")[0].removeprefix("hung: ")


def seconds(at: str) -> float:
    """Since 1970."""
    return datetime.fromisoformat(at).timestamp()
