"""``hasup report``: out of a journal, with and without a hasup that runs."""

import json
import os
import threading
import time
from pathlib import Path

import msgspec
import pytest

from hasup.config import load
from hasup.journal import read_events, writer
from tests.support.cli import Place
from tests.support.hour import CONFIG, UNTIL, Writer

PAGE = """\
shop, 2026-01-31 12:00:00 to 2026-01-31 13:00:00 (1h)

NAME          AVAILABLE  90%                FAILURES     MTBF  90%                 MTTR  90%             DOWN  NOT COUNTED
db                 100%                            0        -  more than 19m 58s      -                  0.0s         9.0s
web (2 of 2)     99.00%  83.90% to 99.947%         1  59m 24s  12m 31s to 19h 18m   36s  12s to 11m 41s   36s         0.0s
  web.1          99.00%  83.90% to 99.947%         1  59m 24s  12m 31s to 19h 18m   36s  12s to 11m 41s   36s         0.0s
  web.2            100%                            0        -  more than 20m 1s       -                  0.0s         0.0s
all together     99.00%  83.86% to 99.947%         1  59m 15s  12m 29s to 19h 15m   36s  12s to 11m 41s   36s         9.0s

db.1: stopped or restarted once as planned
web.1: 1 exit-code; mean time to repair: waited 30s, started 6.0s
web: objective 99%: 36s down of 36s allowed (0% left); burn rate 1h 1.0, 6h 1.0
all together: db, web at the same time, as measured; the product of their availabilities would be 99.00%
hasup's own core was replaced once; no program was touched by that
"""  # noqa: E501


def test_the_whole_page(an_hour: Place) -> None:
    code, out, err = an_hour.hasup("report", *UNTIL)
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == PAGE.splitlines()


def test_the_document(an_hour: Place) -> None:
    shown = json.loads(an_hour.hasup("report", "--json", *UNTIL).out)
    assert (shown["since"], shown["until"]) == ("2026-01-31T12:00:00.000Z", "2026-01-31T13:00:00.000Z")
    db, web = shown["programs"]
    assert (web["name"], web["need"], web["availability"], web["failures"]) == ("web", 2, 0.99, 1)
    assert (db["availability"], db["failures"], db["planned_stops"]) == (1.0, 0, 1)
    assert db["mtbf_s"]["value"] is None
    assert db["mtbf_s"]["high"] is None
    assert web["mtbf_s"]["value"] == 3564
    assert web["mttr_s"]["value"] == 36
    first, second = web["replicas"]
    assert (first["name"], first["mttr_parts_s"]["delay"]["value"], first["mttr_parts_s"]["start"]["value"]) == (
        "web.1", 30, 6,
    )  # fmt: skip
    assert (second["availability"], second["failures"]) == (1.0, 0)
    assert shown["system"]["availability"] == pytest.approx(1 - 36 / 3591)
    assert web["with_dependencies"]["programs"] == ["web", "db"]
    assert (web["budget"]["allowed_s"], web["budget"]["spent_s"]) == (36, 36)
    assert shown["hasup"]["core_restarts"] == 1


def test_what_follows_the_end_is_not_observed(an_hour: Place) -> None:
    shown = json.loads(an_hour.hasup("report", "--json").out)
    assert shown["programs"][1]["availability"] == 0.99
    assert shown["programs"][1]["seconds"]["unobserved"] > 1000


def test_a_part_of_the_time(an_hour: Place) -> None:
    window = ("--since", "2026-01-31T12:16:50", "--until", "2026-01-31T12:17:30")
    web = json.loads(an_hour.hasup("report", "--json", *window, "web").out)["programs"][0]
    assert (web["availability"], web["failures"]) == (0.35, 0), "it had failed before"
    assert web["seconds"]["down"] == 26
    first = web["replicas"][0]
    assert (first["availability"], first["failures"], first["mttr_s"]["value"]) == (0.35, 0, None)


def test_what_is_named(an_hour: Place) -> None:
    def names(*argv: str) -> list[str]:
        programs = json.loads(an_hour.hasup("report", "--json", *argv).out)["programs"]
        return [name for program in programs for name in (program["name"], *(r["name"] for r in program["replicas"]))]

    assert names("web.2") == ["web", "web.2"]
    assert names("all") == names() == ["db", "db.1", "web", "web.1", "web.2"]
    ended = an_hour.hasup("report", "wbe")
    assert (ended.code, ended.err.split(" (")[1]) == (4, "did you mean web?)\n")


def test_with_a_configuration_that_is_broken_the_journal_must_do(an_hour: Place) -> None:
    (an_hour.folder / "hasup.toml").write_text("[programs.web]\nneed = 1\n")
    ended = an_hour.hasup("report", "--json", *UNTIL)
    assert "need and objective are unknown" in ended.err
    web = next(one for one in json.loads(ended.out)["programs"] if one["name"] == "web")
    assert (web["need"], web["availability"]) == (1, 1.0)


def test_nothing_has_happened_yet(place: Place) -> None:
    shown = json.loads(place.hasup("report", "--json").out)
    assert shown["system"]["availability"] is None
    assert shown["programs"][0]["mtbf_s"] == {"value": None, "low": None, "high": None}
    assert place.hasup("report").code == 0


def test_times_that_make_no_sense(an_hour: Place) -> None:
    assert an_hour.hasup("report", "--since", "soon").code == 2
    assert an_hour.hasup("report", "--since", "1m", "--until", "1h").code == 2


def test_where_a_number_is_missing_events_were_lost(place: Place) -> None:
    """web.1 fails at 1,000 s, and what followed is lost; something else is written at 2,000 s."""
    written = Writer()
    written.move(0, "web.1", "stopped", "starting")
    written.move(0, "web.1", "starting", "running")
    written.move(1000, "web.1", "running", "backoff", result="signal")
    written.own(1500, "lost")
    written.own(2000, "trouble")
    del written.records[3]
    written.keep(place)
    web = json.loads(place.hasup("report", "--json", "web", *UNTIL).out)["programs"][0]
    assert (web["seconds"]["up"], web["seconds"]["down"]) == (1000, 0)
    assert web["seconds"]["unobserved"] == 2600


def test_what_has_run_for_longer_than_the_journal_remembers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """db was started once; web was restarted ever since. All but the last change of each is deleted up to 1,800 s."""
    monkeypatch.setattr(writer, "KEEP_ANYWAY", 60)
    monkeypatch.setattr(writer, "_PRUNE_EVERY", 1)
    written = Writer()
    for replica in ("gone.1", "db.1"):  # hasup was killed, and what started then does not have gone any more
        written.own(0, "hasup-started")
        written.move(0, replica, "stopped", "starting")
        written.move(0, replica, "starting", "running")
    for second in range(100, 3600, 100):
        written.move(second, "web.1", "running", "backoff", result="signal")
        written.move(second + 10, "web.1", "backoff", "starting")
        written.move(second + 20, "web.1", "starting", "running")
    written.keep(place)
    path = str(place.state_dir / "journal.db")
    journal = writer.Journal(path, print, age_s=1.0)
    written.own(3600, "trouble")
    journal.append(written.records[-1])
    deadline = time.monotonic() + 60
    while sum(1 for _ in read_events(path)) > 63:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)  # the disk tells nobody
    assert journal.close(30)
    shown = json.loads(place.hasup("report", "--json", *UNTIL).out)
    programs = {one["name"]: one for one in shown["programs"]}
    assert shown["since"] > "2026-01-31T12:25"
    assert programs["db"]["seconds"]["up"] > 1500
    assert programs["db"]["availability"] == 1.0
    assert programs["gone"]["seconds"]["up"] == 0
    longer = json.loads(place.hasup("report", "--json", "db", "--since", "2026-01-31T11:50:00Z", *UNTIL).out)
    assert longer["programs"][0]["seconds"]["up"] == 3600
    assert 10 < programs["web"]["failures"] <= 20
    assert place.hasup("events", "db").out.count("running") == 1


def test_up_to_now_while_hasup_runs_and_up_to_the_last_event_when_it_was_killed(place: Place) -> None:
    written = Writer()
    written.own(0, "hasup-started")
    written.move(0, "web.1", "stopped", "starting")
    written.move(0, "web.1", "starting", "running")
    written.move(600, "db.1", "stopped", "starting")
    written.keep(place)
    loaded = load(Path("hasup.toml"), os.environ, place.folder)

    def seconds_up() -> float:
        return json.loads(place.hasup("report", "--json", "web", *UNTIL).out)["programs"][0]["seconds"]["up"]

    assert seconds_up() == 600
    place.answers(config={"config": msgspec.json.encode(loaded).decode()})
    assert seconds_up() == 3600


def test_the_configuration_in_force_is_asked_for(an_hour: Place) -> None:
    """need = 1 in the hasup that runs, 2 in the file."""
    (an_hour.folder / "other.toml").write_text(CONFIG.replace("need = 2", "need = 1"))
    loaded = load(Path("other.toml"), os.environ, an_hour.folder)
    an_hour.answers(config={"config": msgspec.json.encode(loaded).decode()})
    web = json.loads(an_hour.hasup("report", "--json", "web", *UNTIL).out)["programs"][0]
    assert (web["need"], web["availability"]) == (1, 1.0)
