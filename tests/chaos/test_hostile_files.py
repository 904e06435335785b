"""Disks that are full or read-only, files that were tampered with, links that lead elsewhere."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from hasup.logs.own import OwnLog
from tests.chaos.hostile import assert_supervised, degraded, disk, fill, of_user, root_only
from tests.e2e.harness import alive, until

pytestmark = pytest.mark.chaos

TALKER = """
[programs.talker]
command = ["sh", "-c", "n=0; while :; do echo line $n; n=$((n+1)); sleep 0.005; done"]
ready.after = "10ms"
"""
QUIET = '[programs.quiet]\ncommand = "sleep 1000"\nready.after = "10ms"\nrestart.delay = "20ms"\n'


@root_only
def test_the_disk_of_the_logs_is_full_for_a_while(hasup):
    with disk(hasup.state_dir / "logs", "4m") as logs:
        hasup.start(TALKER.replace("echo line $n;", "printf '%0500d\\\\n' $n;") + QUIET)
        filler = fill(logs)
        until(lambda: "talker.1.log cannot be written: no space left" in degraded(hasup), "it is shown")
        pid = hasup.replica("talker.1")["pid"]
        assert_supervised(hasup)
        filler.unlink()
        until(lambda: degraded(hasup) == "", "it is over")
        log = logs / "talker.1.log"
        until(lambda: b"bytes of output were lost here: no space left" in log.read_bytes(), "the gap is shown")
        lost = [e["reason"] for e in hasup.events(event="trouble")]
        assert any("over: talker.1.log" in reason and "bytes were lost" in reason for reason in lost), lost
        assert hasup.replica("talker.1")["pid"] == pid, "nobody was restarted for it"
        hasup.run("stop")


@root_only
def test_the_disk_of_hasups_own_log_is_full_for_a_while(tmp_path):
    with disk(tmp_path / "logs", "64k") as logs:
        log = OwnLog(str(logs / "hasup.log"), 0, 1)
        log.write("info", "first")
        filler = fill(logs)
        for number in range(100):
            log.write("info", "next", number=number)
        lost = log.lost
        assert lost > 0
        filler.unlink()
        log.write("info", "last")
        entries = [json.loads(line) for line in (logs / "hasup.log").read_text().splitlines()]
        assert entries[-2]["reason"] == f"{lost} lines of this log were lost"
        assert [entry["event"] for entry in entries] == ["first", *["next"] * (100 - lost), "lost", "last"]


@root_only
def test_the_disk_of_the_journal_is_full_for_a_while(hasup):
    """The log is another disk. What happened meanwhile is in the journal afterwards."""
    with disk(hasup.state_dir, "1m"), disk(hasup.state_dir / "logs", "1m"):
        hasup.start(QUIET)
        filler = fill(hasup.state_dir)

        def shown() -> bool:
            assert_supervised(hasup)
            return "journal" in degraded(hasup)

        until(shown, "it is shown")
        restarts = hasup.replica("quiet.1")["restarts"]
        filler.unlink()
        until(lambda: "journal" not in degraded(hasup), "it is over")
        until(lambda: len(hasup.events(to="backoff")) >= restarts, "nothing is missing")
        hasup.run("stop")


@root_only
def test_the_state_directory_is_read_only_for_a_while(tmp_path):
    """No new file, no rename: what is open is written on, nothing is lost, rotation waits for better times."""
    with of_user(tmp_path) as hasup:
        hasup.start(TALKER + 'logs.max_size = "500B"\nlogs.keep = 1000\nlogs.compress = false\n' + QUIET)
        logs = hasup.state_dir / "logs"
        until(lambda: (logs / "talker.1.log.1").exists(), "rotated")
        for folder in (logs, hasup.state_dir):
            folder.chmod(0o500)
        until(lambda: "talker.1.log" in degraded(hasup), "it is shown")
        assert_supervised(hasup)
        core = hasup.status()["supervisor"]["core_pid"]
        os.kill(core, signal.SIGKILL)
        until(lambda: hasup.status()["supervisor"]["core_pid"] != core, "even a new core can do with it")
        assert_supervised(hasup)
        for folder in (hasup.state_dir, logs):
            folder.chmod(0o700)
        rotated = len(list(logs.glob("talker.1.log.*")))

        def over() -> bool:
            assert_supervised(hasup)
            return degraded(hasup) == ""

        until(over, "it is over")
        until(lambda: len(list(logs.glob("talker.1.log.*"))) > rotated, "and it rotates again")
        hasup.run("stop")
        files = sorted(logs.glob("talker.1.log.*"), key=lambda path: int(path.suffix[1:]), reverse=True)
        lines = "".join(path.read_text() for path in (*files, logs / "talker.1.log")).splitlines()
        assert lines == [f"line {number}" for number in range(len(lines))]


def test_the_journal_is_damaged_while_hasup_runs_and_while_it_does_not(hasup):
    journal = hasup.state_dir / "journal.db"
    hasup.start(QUIET)
    for rest in ("-wal", "-shm", ""):
        Path(f"{journal}{rest}").write_bytes(os.urandom(100_000))
    assert_supervised(hasup)
    until(lambda: any("damaged" in p.name for p in hasup.state_dir.iterdir()) or assert_supervised(hasup), "set aside")
    until(lambda: degraded(hasup) == "", "a new one was begun")
    hasup.run("stop")
    journal.write_bytes(b"no database" * 1000)
    hasup.start()
    until(lambda: hasup.events(event="hasup-started"), "the journal works")
    assert_supervised(hasup)


def test_the_logs_are_deleted_folder_and_all(hasup):
    hasup.start(TALKER + QUIET)
    shutil.rmtree(hasup.state_dir / "logs")
    log = hasup.state_dir / "logs" / "talker.1.log"
    until(lambda: log.exists() and log.stat().st_size > 0, "made anew")
    assert log.parent.stat().st_mode & 0o777 == 0o700
    assert_supervised(hasup)


def test_the_state_directory_is_deleted_while_hasup_runs(hasup):
    """No second copy is started: who starts it is told what to do."""
    hasup.start(QUIET)
    pid, guardian = hasup.replica("quiet.1")["pid"], hasup.instance()["guardian_pid"]
    shutil.rmtree(hasup.state_dir)
    said = hasup.start(code=1).stderr
    assert f"hasup still runs (pid {guardian})" in said
    assert f"kill {guardian}" in said
    assert alive(pid)
    os.kill(guardian, signal.SIGTERM)
    until(lambda: not alive(guardian), "ended in order")
    assert not alive(pid)
    hasup.start()


def test_a_link_that_hasup_would_write_through_is_refused_with_a_reason(hasup):
    hasup.state_dir.mkdir()
    for name in ("lock", "logs", "journal.db"):
        victim = hasup.folder / f"victim of {name}"
        victim.mkdir() if name == "logs" else victim.write_text("precious")
        (hasup.state_dir / name).symlink_to(victim)
        said = hasup.start(QUIET, code=1).stderr
        assert f"{name} is a symbolic link" in said
        assert "internal error" not in said
        assert list(victim.iterdir()) == [] if name == "logs" else victim.read_text() == "precious"
        (hasup.state_dir / name).unlink()
    hasup.start()


LINKS = (
    "control.sock",
    "instance.json",
    "instance.json.new",
    "logs/guardian.err",
    "logs/hasup.log",
    "logs/talker.1.log",
)


def test_a_link_where_hasup_makes_a_file_is_not_followed(hasup):
    """It is replaced where the file is hasup's alone; the log of a program is not written, and that is shown."""
    (hasup.state_dir / "logs").mkdir(parents=True)
    for number, name in enumerate(LINKS):
        (hasup.folder / f"victim{number}").write_text(name)
        (hasup.state_dir / name).symlink_to(hasup.folder / f"victim{number}")
    hasup.start(TALKER + QUIET)
    until(lambda: "talker.1.log cannot be written" in degraded(hasup), "it is shown")
    assert_supervised(hasup)
    hasup.run("stop")
    assert [(hasup.folder / f"victim{number}").read_text() for number in range(len(LINKS))] == list(LINKS)


def test_links_beside_a_log_are_not_followed_by_rotation(hasup):
    victim = hasup.folder / "victim"
    victim.write_text("precious")
    logs = hasup.state_dir / "logs"
    logs.mkdir(parents=True)
    for suffix in ("new", "1", "gz.tmp"):
        (logs / f"talker.1.log.{suffix}").symlink_to(victim)
    hasup.start(TALKER + 'logs.max_size = "500B"\nlogs.keep = 3\n' + QUIET)
    until(lambda: (logs / "talker.1.log.3.gz").exists(), "rotated and compressed")
    assert victim.read_text() == "precious"
