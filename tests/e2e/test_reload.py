"""Changing the configuration while everything runs: only what differs is touched, and a broken file changes nothing."""

import os
import signal

from tests.e2e.harness import alive, until

BASE = """
[programs.keep]
command = "sleep 1000"
ready.after = "50ms"
[programs.gone]
command = "sleep 1001"
ready.after = "50ms"
[programs.changed]
command = "sleep 1002"
ready.after = "50ms"
restart.delay = "1s"
"""


def test_only_what_differs_is_touched(hasup):
    hasup.start(BASE)
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    changed = BASE.replace("gone", "fresh").replace("sleep 1002", "sleep 1003").replace('"1s"', '"2s"')
    hasup.write(changed)
    shown = hasup.run("diff").stdout
    assert "+ fresh: is added" in shown
    assert "- gone: is stopped" in shown
    assert "~ changed: is restarted" in shown
    assert hasup.replicas().keys() == {"keep.1", "gone.1", "changed.1"}, "diff changes nothing"
    done = hasup.run("reload")
    assert "added fresh; removed gone; restarted changed" in done.stdout
    after = hasup.replicas()
    assert after.keys() == {"keep.1", "fresh.1", "changed.1"}
    assert after["keep.1"]["pid"] == before["keep.1"]
    assert after["changed.1"]["pid"] != before["changed.1"]
    assert after["changed.1"]["last"]["result"] == "reload"
    assert not alive(before["gone.1"])
    assert hasup.run("diff").stdout == "nothing differs\n"
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
    assert hasup.replicas().keys() == after.keys(), "the new core goes by the new configuration"


def test_a_policy_changes_without_a_restart(hasup):
    hasup.start(BASE)
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    hasup.write(BASE.replace('restart.delay = "1s"', 'restart = "never"'))
    hasup.run("reload")
    assert {name: replica["pid"] for name, replica in hasup.replicas().items()} == before
    os.kill(before["changed.1"], signal.SIGKILL)
    hasup.wait("changed.1", "the new policy holds", lambda r: r["state"] == "failed")


def test_limits_and_probes_change_without_a_restart(hasup):
    hasup.start(BASE)
    pid = hasup.replica("keep.1")["pid"]
    added = '[programs.keep]\nlimits.processes = { above = 1, action = "warn" }\nlimits.age = "1s"\n'
    hasup.write(BASE.replace("[programs.keep]\n", added))
    hasup.run("reload")
    hasup.wait("keep.1", "the new limit holds for what runs", lambda r: r["pid"] not in (pid, None))
    assert hasup.replica("keep.1")["last"]["result"] == "age"
    probed = BASE.replace(
        "[programs.changed]\n", '[programs.changed]\nhealth = { exec = "false", interval = "50ms" }\n'
    )
    hasup.write(probed)
    hasup.run("reload")
    hasup.wait("changed.1", "so does the new probe", lambda r: r["last"] and r["last"]["result"] == "health")


def test_a_broken_file_changes_nothing(hasup):
    hasup.start(BASE)
    before = hasup.replicas()
    hasup.write(BASE + "[programs.x]\ncomand = 'x'\n")
    done = hasup.run("reload", code=2)
    assert "did you mean command?" in done.stderr
    assert {name: r["pid"] for name, r in hasup.replicas().items()} == {name: r["pid"] for name, r in before.items()}
    os.kill(hasup.instance()["guardian_pid"], signal.SIGHUP)
    until(lambda: any("reload failed" in e["reason"] for e in hasup.events(event="trouble")), "SIGHUP says so too")


def test_hangup_reads_the_file_again(hasup):
    hasup.start(BASE)
    hasup.write(BASE.replace("gone", "fresh"))
    os.kill(hasup.instance()["guardian_pid"], signal.SIGHUP)
    until(lambda: hasup.replicas().keys() == {"keep.1", "fresh.1", "changed.1"}, "applied")


def test_a_version_that_does_not_become_ready_stops_the_rolling(hasup):
    (hasup.folder / "app.sh").write_text("exec sleep 1000\n")
    hasup.start(
        '[programs.app]\ncommand = "sh app.sh"\nreplicas = 3\nready.after = "200ms"\nrestart.delay = "5s"\n'
        "reload.max_unavailable = 1\n"
    )
    before = hasup.replicas()
    (hasup.folder / "app.sh").write_text("exit 3\n")
    done = hasup.run("reload", "app", code=1)
    assert "app was not reloaded: app.1 did not become ready: exited with code 3" in done.stderr
    after = hasup.replicas()
    assert [after[name]["pid"] == before[name]["pid"] for name in ("app.1", "app.2", "app.3")] == [False, True, True]
    assert "2 replicas were left as they were" in hasup.events(event="reload-failed")[0]["reason"]
