"""Histories for the tests of reports: written by hand, or told by the real decision core."""

from typing import Any

from hasup.model import actions as act
from hasup.report.model import Happening, Mode, Timeline
from hasup.report.timeline import History, read
from tests.unit.core.driver import Driver


def happening(at: float, replica: str | None, move: str, **more: Any) -> Happening:
    """``move`` is "running>backoff", or the name of an event of hasup itself."""
    old, _, new = move.partition(">")
    if replica is None:
        return Happening(at, move)
    facts = {"event": "state", "ready": new == "running", "wanted": new != "stopped", "reason": "why"} | more
    return Happening(at=at, replica=replica, old=old, new=new, **facts)


def timeline(*happenings: Happening, since: float = 0.0, until: float = 100.0, **more: Any) -> Timeline:
    """Of the one replica that they speak of."""
    (found,) = read(happenings, since, until, **more).replicas.values()
    return found


def modes(found: Timeline) -> list[tuple[float, str]]:
    """When it became what."""
    return [(segment.start, segment.mode.value) for segment in found.segments]


def seconds(found: Timeline) -> dict[str, float]:
    """How long it was what, in seconds; what it never was is left out."""
    return {mode.value: found.seconds(mode) for mode in Mode if found.seconds(mode)}


class Told(Driver):
    """The decision core, whose changes are kept as the journal would keep them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.happenings: list[Happening] = []

    def tell(self, event: Any) -> list[act.Action]:
        actions = super().tell(event)
        for one in actions:
            if isinstance(one, act.Changed):
                facts = one.detail
                self.happenings.append(
                    Happening(
                        self.now, one.event, one.slot, one.old.value, one.new.value, one.reason,
                        bool(facts["ready"]), bool(facts["wanted"]), facts.get("result"),
                    )
                )  # fmt: skip
        return actions

    def history(self, since: float = 100.0, **more: Any) -> History:
        return read(self.happenings, since, self.now, **more)
