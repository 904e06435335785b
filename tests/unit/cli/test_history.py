"""``hasup history``: the bar, and what went wrong."""

import json
import sqlite3
from contextlib import closing
from datetime import datetime

import pytest

from hasup.cli.historyview import Shown, page
from hasup.cli.past import past
from hasup.cli.terminal import Terminal
from hasup.cli.usageview import Curve, drawn
from hasup.journal.samples import Minute, Row, write
from tests.support.cli import Place
from tests.support.hour import UNTIL

PAGE = """\
web    █████████████▁██████████████████████████████████  99.00%
web.1  █████████████▁██████████████████████████████████  99.00%
web.2  ████████████████████████████████████████████████  100%
       12:00:00                                13:00:00

web    █ up 99.00%  ▁ down 1.00%
web.1  █ up 99.00%  ▁ down 1.00%
web.2  █ up 100%

2026-01-31 12:16:40  web        36s  exited with code 3
2026-01-31 12:16:40  web.1      36s  exited with code 3
"""


def test_the_whole_page(an_hour: Place, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "64")
    code, out, err = an_hour.hasup("history", "web", *UNTIL)
    assert (code, err) == (0, "")
    assert out.splitlines() == PAGE.splitlines()


def test_a_replica_by_itself_and_its_stop(an_hour: Place) -> None:
    out = an_hour.hasup("history", "db.1", *UNTIL).out.splitlines()
    assert out[0].startswith("db.1  ██")
    assert out[0].count("▒") == 1
    assert out[3] == "db.1  █ up 99.75%  ▒ starting 0.25%"
    assert out[-1] == "no incident"


def test_how_many_incidents(an_hour: Place) -> None:
    out = an_hour.hasup("history", "-n", "1", *UNTIL).out
    assert "2 incidents, the last 1:\n" in out
    assert out.count("exited with code 3") == 1
    assert an_hour.hasup("history", "-n", "0", *UNTIL).out.endswith("\n2 incidents\n")


def test_without_unicode_and_with_colour(an_hour: Place) -> None:
    found = past(None, None, UNTIL[1])
    bars = [Shown("web.1", found.lines.replicas["web"]["web.1"], False)]
    plain = list(page(found, bars, 5, Terminal(colour=False, unicode=False, width=40, interactive=False)))
    assert "".join(plain).isascii()
    assert plain[0] == "web.1  ######_#################  99.00%"
    painted = list(page(found, bars, 5, Terminal(colour=True, unicode=True, width=40, interactive=True)))
    assert "\x1b[31m▁\x1b[0m\x1b[32m███" in painted[0]


def test_json(an_hour: Place) -> None:
    shown = json.loads(an_hour.hasup("history", "--json", "web", *UNTIL).out)
    assert [one["name"] for one in shown["names"]] == ["web", "web.1", "web.2"]
    web = shown["names"][0]
    assert [one["mode"] for one in web["segments"]] == ["up", "down", "up"]
    assert web["segments"][0] == {"from": shown["since"], "to": "2026-01-31T12:16:40.000Z", "mode": "up"}
    assert web["incidents"] == [{
        "at": "2026-01-31T12:16:40.000Z", "until": "2026-01-31T12:17:16.000Z", "seconds": 36.0,
        "reason": "exited with code 3", "result": "exit-code",
    }]  # fmt: skip
    assert web["shares"] == {"up": 0.99, "down": 0.01}


WITH_USAGE = """\
web    ████████████▁███████████████████████████████  99.00%
web.1  ████████████▁███████████████████████████████  99.00%
 cpu   ▂▂▂▂▂▂▂▂▂▂▂▂                     ███████████  2.0% to 20%
 mem   ▆▆▆▆▆▆▆▆▆▆▆▆                     ███████████  10M to 30M
web.2  ████████████████████████████████████████████  100%
       12:00:00                            13:00:00
"""


def write_usage(place: Place) -> None:
    noon = datetime.fromisoformat("2026-01-31T12:00:00Z").timestamp()
    with closing(sqlite3.connect(place.state_dir / "journal.db")) as connection, connection:
        for minute in range(15):
            write(connection, Minute(noon + 60 * minute, [Row("web.1", 2.0, 4.0, 10 << 20, 20 << 20, 1, None, None)]))
            late = Row("web.1", 10.0, 20.0, 20 << 20, 30 << 20, 1, None, None)
            write(connection, Minute(noon + 60 * (45 + minute), [late, late._replace(replica="db.1")]))


def test_what_replicas_used(an_hour: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_usage(an_hour)
    monkeypatch.setenv("COLUMNS", "64")
    shown = an_hour.hasup("history", "web", *UNTIL).out.splitlines()
    assert shown[:6] == WITH_USAGE.splitlines()
    assert " cpu " not in an_hour.hasup("history", *UNTIL).out, "only of what is named"
    assert " cpu " in an_hour.hasup("history", "db", *UNTIL).out, "a program that is a single replica"


def test_what_replicas_used_as_json_and_without_unicode(an_hour: Place) -> None:
    write_usage(an_hour)
    names = json.loads(an_hour.hasup("history", "--json", "web", *UNTIL).out)["names"]
    assert [len(one.get("samples", ())) for one in names] == [0, 30, 0]
    assert names[1]["samples"][0] == {
        "at": "2026-01-31T12:00:00.000Z", "seconds": 60, "cpu_percent": 2.0, "cpu_percent_most": 4.0,
        "memory_bytes": 10 << 20, "memory_bytes_most": 20 << 20, "threads": 1, "processes": None, "open_files": None,
    }  # fmt: skip
    plain = Terminal(colour=False, unicode=False, width=40, interactive=False)
    assert drawn(Curve(" cpu", [0.0, None, 5.0, 10.0], ""), plain) == "_ =#"
    assert drawn(Curve(" cpu", [0.0, 0.0], ""), plain) == "__"


def test_an_unknown_name_and_an_empty_journal(place: Place) -> None:
    assert place.hasup("history", "nobody").code == 4
    assert place.hasup("history").out.splitlines()[-1] == "no incident"
