"""Every change with its reason, told once to the journal, hasup's own log, and whoever follows."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from hasup.model.actions import Changed, Note
from hasup.model.state import State
from hasup.model.status import EventRecord

_ALARMING = {State.ABORTING, State.BACKOFF, State.FAILED}


class Journal(Protocol):
    """Where records are kept."""

    last_seq: int

    def append(self, record: EventRecord) -> None:
        """Keep a record; must not block."""


class OwnLog(Protocol):
    """hasup's own log."""

    def write(self, level: str, event: str, **fields: object) -> None:
        """Write one line; must not block or raise."""


class Recorder:
    """Turns changes and notes into numbered records and hands them on."""

    def __init__(self, journal: Journal, logs: Sequence[OwnLog], wall: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._logs = logs
        self._wall = wall
        self.seq = journal.last_seq
        self.followers: list[Callable[[EventRecord], None]] = []

    def changed(self, action: Changed) -> None:
        """Something happened to a replica."""
        program = action.slot.rpartition(".")[0]
        level = "warning" if action.new in _ALARMING and action.old is not action.new else "info"
        self._tell(
            level,
            EventRecord(
                seq=self._number(),
                at=self._now(),
                event=action.event,
                from_=action.old.value,
                to=action.new.value,
                reason=action.reason,
                replica=action.slot,
                program=program,
                detail=action.detail,
            ),
        )

    def note(self, note: Note, level: str = "info") -> None:
        """Something happened to hasup or to a program as a whole."""
        self._tell(
            level,
            EventRecord(
                seq=self._number(),
                at=self._now(),
                event=note.event,
                from_=None,
                to=None,
                reason=note.reason,
                program=note.program,
                detail=note.detail,
            ),
        )

    def evidence(self, slot: str, why: str, detail: dict[str, object]) -> None:
        """What was seen of a replica that is about to be aborted."""
        record = EventRecord(
            seq=self._number(),
            at=self._now(),
            event="evidence",
            from_=None,
            to=None,
            reason=why,
            replica=slot,
            program=slot.rpartition(".")[0],
            detail=detail,
        )
        self._tell("info", record)

    def trouble(self, what: str) -> None:
        """hasup itself could not do something and goes on without it."""
        self.note(Note("trouble", what), "warning")

    def _number(self) -> int:
        self.seq += 1
        return self.seq

    def _now(self) -> str:
        return iso(self._wall())

    def _tell(self, level: str, record: EventRecord) -> None:
        self._journal.append(record)
        shown = {"replica": record.replica} if record.replica else {"program": record.program}
        for log in self._logs:
            log.write(level, record.event, **shown, reason=record.reason, to=record.to)
        for follower in list(self.followers):
            follower(record)


def iso(wall: float) -> str:
    """Seconds since the epoch as UTC, ISO 8601 to the millisecond with a final Z."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
