"""``hasup report`` and ``hasup history`` of a real run, while hasup runs and after its end."""

import json
import os
import signal

from tests.e2e.harness import until

CONFIG = """
[programs.db]
command = "sleep 1000"
ready.after = "100ms"
[programs.web]
command = "sleep 1000"
replicas = 2
need = 2
objective = "99%"
depends_on = ["db"]
ready.after = "100ms"
restart = { delay = "200ms" }
"""


def report(hasup, *argv):
    return json.loads(hasup.run("report", "--json", *argv).stdout)


def figures(document):
    """Name -> figures, of programs and replicas."""
    programs = document["programs"]
    return {one["name"]: one for program in programs for one in (program, *program["replicas"])}


def test_a_crash_a_planned_restart_a_dead_core_and_the_end(hasup):
    hasup.start(CONFIG)
    os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)
    hasup.wait("web.1", "is back", lambda r: r["restarts"] == 1 and r["ready"])
    hasup.run("restart", "db")
    core = hasup.status()["supervisor"]["core_pid"]
    os.kill(core, signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_pid"] != core, "another core took over")
    until(lambda: hasup.events(event="core-restarted"), "its event is in the journal")

    shown = report(hasup)
    found = figures(shown)
    down = next(e for e in hasup.events(replica="web.1", to="backoff"))
    back = next(e for e in hasup.events(replica="web.1", to="running") if e["seq"] > down["seq"])
    assert shown["since"] == hasup.events()[0]["at"]
    assert {name: one["failures"] for name, one in found.items()} == {
        "db": 0, "db.1": 0, "web": 1, "web.1": 1, "web.2": 0,
    }  # fmt: skip
    assert found["db"]["availability"] == 1.0
    assert found["db.1"]["planned_stops"] == 1
    assert found["web.1"]["results"] == {"signal": 1}
    assert found["web"]["mttr_s"]["value"] == found["web.1"]["mttr_s"]["value"] >= 0.3
    parts = found["web.1"]["mttr_parts_s"]
    assert abs(sum(part["value"] for part in parts.values()) - found["web.1"]["mttr_s"]["value"]) < 0.01
    assert shown["hasup"]["core_restarts"] == 1
    assert 0 < found["web"]["availability"] < 1

    hasup.run("stop")
    ended = report(hasup)
    again = figures(ended)
    assert again["web"]["failures"] == 1, "to be stopped is no failure"
    assert again["web"]["seconds"]["down"] == found["web"]["seconds"]["down"]
    history = json.loads(hasup.run("history", "--json", "web").stdout)["names"]
    assert [one["name"] for one in history] == ["web", "web.1", "web.2"]
    (incident,) = history[1]["incidents"]
    assert (incident["at"], incident["until"], incident["result"]) == (down["at"], back["at"], "signal")
    assert incident["reason"] == down["reason"].partition(";")[0]
    assert hasup.run("history").stdout.startswith("db ")
    assert "all together" in hasup.run("report").stdout
