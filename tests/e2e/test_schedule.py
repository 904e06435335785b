"""Tasks on a schedule, with real processes."""

import os
import signal
import time
from pathlib import Path

from tests.e2e.harness import until

JOB = """
[programs.job]
command = "sh -c 'echo ran >> said; test ! -e broken'"
kind = "task"
restart = "never"
schedule = "{schedule}"
[programs.web]
command = "sleep 1000"
ready.after = "10ms"
"""
NEVER_NOW = "0 3 1 1 *"


def said(hasup) -> list[str]:
    path = hasup.folder / "said"
    return path.read_text().splitlines() if path.exists() else []


def test_it_waits_and_runs_when_somebody_wants_it_to(hasup):
    hasup.start(JOB.format(schedule=NEVER_NOW))
    waiting = hasup.replica("job.1")
    assert (waiting["state"], waiting["settled"], waiting["pid"]) == ("waiting", True, None)
    assert "next run at" in waiting["reason"]
    assert "-01-01 03:00" in waiting["reason"]
    assert waiting["next_start_s"] > 0
    hasup.run("start")
    assert said(hasup) == [], "a start of everything leaves it to its schedule"
    hasup.run("start", "job")
    after = hasup.wait("job.1", "waits again", lambda r: r["state"] == "waiting")
    assert said(hasup) == ["ran"]
    assert after["last"]["result"] == "success"
    assert "-01-01 03:00" in after["reason"]
    hasup.write("", "broken")
    done = hasup.run("start", "job", code=1)
    assert "job.1 is not ready: exited with code 1; next run at" in done.stderr
    hasup.run("stop", "job")
    assert hasup.replica("job.1")["state"] == "stopped"


def test_a_new_core_knows_when_the_next_run_is(hasup):
    hasup.start(JOB.format(schedule=NEVER_NOW))
    before = hasup.replica("job.1")
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
    after = hasup.replica("job.1")
    assert (after["state"], after["reason"]) == ("waiting", before["reason"])
    assert 0 < after["next_start_s"] <= before["next_start_s"]
    assert said(hasup) == []


def test_it_runs_at_its_minute(hasup):
    """The wall clock of this hasup is shifted so that the next minute begins soon."""
    shift = (57.0 - time.time()) % 60.0
    hasup.env |= {
        "PYTHONPATH": f"{Path(__file__).parent / 'shifted'}:{hasup.env['PYTHONPATH']}",
        "HASUP_TEST_SHIFT": str(shift),
    }
    hasup.start(JOB.format(schedule="* * * * *"))
    until(lambda: said(hasup), "its minute came", 120.0)
    began = hasup.events(replica="job.1", to="starting")[0]
    assert began["reason"].startswith("its time has come: ")
    assert 0 <= float(began["at"][17:-1]) < 59.5, "it does not begin before its minute"
    hasup.wait("job.1", "waits for the next", lambda r: r["state"] == "waiting")


def test_what_cannot_be(hasup):
    hasup.write(
        """
[programs.job]
command = "x"
kind = "task"
schedule = "0 0 30 2 *"
[programs.again]
command = "x"
kind = "task"
schedule = "0 0 * * *"
restart = "always"
essential = true
[programs.late]
command = "x"
depends_on = ["again"]
"""
    )
    told = hasup.run("check", code=2).stderr
    assert "there is no such day" in told
    assert "restarts at once what has a schedule" in told
    assert "never ends for good" in told
    assert "would wait for ever: again runs on a schedule" in told
