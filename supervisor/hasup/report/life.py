"""The life of one replica, event by event: when it was up, and whether what came between was planned."""

import re
from collections.abc import Callable
from typing import Final

from hasup.report.model import IS_UP, Happening, Mode, Outage, Segment, Timeline

# The operator asked for these ends, or the configuration did in advance (a restart by age).
PLANNED: Final = frozenset({"operator", "reload", "age"})
_PHASE: Final = {
    "running": "detect", "aborting": "end", "stopping": "end", "backoff": "delay", "waiting": "delay",
    "failed": "delay", "starting": "start",
}  # fmt: skip
_CAUSE: Final = re.compile(r"restarted(?:, since| with) (\S+) ")  # the words of hasup.core.fates


class Absence:
    """An outage in the making. ``planned`` is None while that is not known: it is being stopped, for whatever."""

    __slots__ = (
        "_phase",
        "_phase_at",
        "end",
        "phases",
        "planned",
        "reason",
        "repaired",
        "result",
        "seen",
        "start",
        "starts",
    )

    def __init__(self, happening: Happening, planned: bool | None, seen: bool) -> None:
        self.start = happening.at
        self.end: float | None = None
        self.reason = happening.reason.partition(";")[0]
        self.result: str | None = None
        self.planned = planned
        self.repaired = False
        self.seen = seen
        self.starts = 0
        self.phases: dict[str, float] = {}
        self._phase: str | None = None
        self._phase_at = happening.at

    @property
    def mode(self) -> Mode:
        """As what its time counts."""
        return Mode.DOWN if self.planned is False else Mode.STARTING

    def phase(self, at: float, name: str | None) -> None:
        """From now on its time is spent on this."""
        if self._phase is not None:
            self.phases[self._phase] = self.phases.get(self._phase, 0.0) + at - self._phase_at
        self._phase, self._phase_at = name, at

    def begin_earlier(self, at: float) -> None:
        """It began before it was noticed."""
        self.phases["detect"] = self.phases.get("detect", 0.0) + self.start - at
        self.start = at

    def outage(self) -> Outage:
        """What became of it."""
        return Outage(
            self.start,
            self.end,
            self.reason,
            self.result,
            self.planned is not False,
            self.repaired,
            self.seen,
            tuple(self.phases.items()),
            self.starts,
        )


class Life:
    """Built up by :meth:`take` in the order of time; ``failing`` tells whether another replica is failing now."""

    def __init__(self, failing: Callable[[str], bool]) -> None:
        self._failing = failing
        self._marks: list[tuple[float, Mode | Absence]] = []
        self._absences: list[Absence] = []
        self._open: Absence | None = None
        self._slow = False

    @property
    def is_failing(self) -> bool:
        """Whether it is down by a failure now."""
        return self._open is not None and self._open.planned is False

    def take(self, happening: Happening) -> None:
        """One event of this replica."""
        at, new = happening.at, happening.new
        if new is None:
            return
        if new == "running" and happening.ready:
            self._close(at, repaired=True)
            if happening.event in ("degraded", "restored", "state", "ready"):
                self._slow = happening.event == "degraded"
            self._enter(at, Mode.DEGRADED if self._slow else Mode.UP)
        elif not happening.wanted or new in ("stopped", "completed"):
            self.leave(at, Mode.STOPPED)
        else:
            self._absent(happening)

    def leave(self, at: float, mode: Mode) -> None:
        """From now on it is not wanted, or not seen."""
        self._close(at, repaired=False)
        self._enter(at, mode)

    def _absent(self, happening: Happening) -> None:
        """Wanted, and not ready."""
        planned = self._verdict(happening)
        begun = self._open is None
        if self._open is None:
            self._begin(happening, planned)
        elif self._open.planned is None:
            self._open.planned = planned
        elif self._open.planned and planned is False:  # the start that was to follow failed
            self._close(happening.at, repaired=False)
            self._begin(happening, planned)
        absence = self._open
        assert absence is not None
        absence.phase(happening.at, _PHASE.get(happening.new or ""))
        if happening.result is not None and absence.result is None:
            absence.result = happening.result
        if happening.old == "starting" and happening.new != "starting" and not begun:
            absence.starts += 1

    def _verdict(self, happening: Happening) -> bool | None:
        """Whether this says that its absence is planned, that it is not, or nothing of the kind."""
        old, new, result = happening.old, happening.new, happening.result
        if result is not None and not (result == "success" and new == "stopping"):
            return result in PLANNED
        if new in ("starting", "waiting"):
            return self._open is not None or old != "backoff"
        if new == "stopping":
            cause = _CAUSE.search(f"{happening.reason} ")
            return False if cause is not None and self._failing(cause[1]) else None
        if new == "backoff" and old in ("backoff", "waiting"):
            return None
        return new == "backoff" and happening.reason.startswith("waits for its turn")

    def _begin(self, happening: Happening, planned: bool | None) -> None:
        seen = bool(self._marks) and self._marks[-1][1] is not Mode.UNOBSERVED
        self._open = Absence(happening, planned, seen)
        self._absences.append(self._open)
        self._enter(happening.at, self._open)

    def _close(self, at: float, *, repaired: bool) -> None:
        absence, self._open = self._open, None
        if absence is not None:
            absence.phase(at, None)
            absence.end, absence.repaired = at, repaired

    def _enter(self, at: float, what: Mode | Absence) -> None:
        if not self._marks or self._marks[-1][1] is not what:
            self._marks.append((at, what))

    def timeline(self, since: float, until: float, silence_s: float) -> Timeline:
        """All of it between these times; nothing may be taken afterwards.

        ``silence_s``: how long a replica had been silent when its heartbeat was found missing. It is down from its
        last sign of life on.
        """
        if self._open is not None:
            self._open.phase(until, None)
        marks = self._from_the_last_sign_of_life(silence_s)
        segments: list[Segment] = []
        ends = [*(at for at, _ in marks[1:]), until]
        append(segments, since, marks[0][0] if marks else until, Mode.UNOBSERVED, since, until)
        for (start, what), end in zip(marks, ends, strict=True) if marks else ():
            append(segments, start, end, what.mode if isinstance(what, Absence) else what, since, until)
        outages = [a.outage() for a in self._absences if a.start < until and (a.end is None or a.end > since)]
        return Timeline(tuple(segments), tuple(outages))

    def _from_the_last_sign_of_life(self, silence_s: float) -> list[tuple[float, Mode | Absence]]:
        marks = list(self._marks)
        for i, (start, what) in enumerate(marks):
            if i and isinstance(what, Absence) and what.result == "heartbeat" and marks[i - 1][1] in IS_UP:
                earlier = max(marks[i - 1][0], start - silence_s)
                what.begin_earlier(earlier)
                marks[i] = (earlier, what)
        return marks


def append(segments: list[Segment], start: float, end: float, mode: Mode, since: float, until: float) -> None:
    """Add a stretch, as far as it lies between these times; of one mode with the one before it, they become one."""
    if start < since:
        start = since
    if end > until:
        end = until
    if end <= start:
        return
    if segments and segments[-1][2] is mode:
        start = segments.pop()[0]
    segments.append(Segment(start, end, mode))
