"""An hour in a journal, for the tests of commands on the past."""

import time
from typing import Any

from hasup.journal import Journal
from hasup.model.status import EventRecord
from tests.support.cli import Place

UNTIL = ("--until", "2026-01-31T13:00:00Z")
CONFIG = """
[supervisor]
name = "shop"
[programs.db]
command = "sleep 60"
[programs.web]
command = "sleep 60"
replicas = 2
need = 2
objective = "99%"
depends_on = ["db"]
[groups.all]
programs = ["db", "web"]
"""


def at(second: float) -> str:
    return time.strftime("2026-01-31T%H:%M:%SZ", time.gmtime(12 * 3600 + second))


class Writer:
    """Events, numbered as they come."""

    def __init__(self) -> None:
        self.records: list[EventRecord] = []

    def own(self, second: float, event: str) -> None:
        self._add(second, event, None, None, None, {})

    def move(self, second: float, replica: str, old: str, new: str, reason: str = "why", **detail: Any) -> None:
        facts = {"ready": new == "running", "wanted": new != "stopped", "generation": 1} | detail
        self._add(second, "state", replica, old, new, facts, reason)

    def _add(
        self, second: float, event: str, replica: str | None, old: Any, new: Any, detail: Any, reason: str = "why"
    ) -> None:
        program = replica.rpartition(".")[0] if replica else None
        self.records.append(
            EventRecord(len(self.records) + 1, at(second), event, old, new, reason, replica, program, detail)
        )

    def keep(self, place: Place) -> None:
        place.state_dir.mkdir(exist_ok=True)
        (place.folder / "hasup.toml").write_text(CONFIG)
        journal = Journal(str(place.state_dir / "journal.db"), print)
        for record in self.records:
            journal.append(record)
        assert journal.close(30)


def write_an_hour(place: Place) -> None:
    """An hour: web.1 fails for 36 s; db is restarted, by hand, for 9 s; then hasup is stopped."""
    written = Writer()
    written.own(0, "hasup-started")
    for replica in ("db.1", "web.1", "web.2"):
        written.move(0, replica, "stopped", "starting")
        written.move(0, replica, "starting", "running")
    written.move(1000, "web.1", "running", "backoff", "exited with code 3; restart in 30 s", result="exit-code")
    written.move(1030, "web.1", "backoff", "starting")
    written.move(1036, "web.1", "starting", "running")
    written.move(2000, "db.1", "running", "stopping", "restarted by operator")
    written.move(2008, "db.1", "stopping", "starting", result="operator")
    written.move(2009, "db.1", "starting", "running")
    written.own(2500, "core-restarted")
    for replica in ("web.1", "web.2", "db.1"):
        written.move(3600, replica, "running", "stopping", wanted=False)
        written.move(3600, replica, "stopping", "stopped", result="operator")
    written.own(3600, "hasup-stopped")
    written.keep(place)
