"""The commands that change what runs, as a user types them: names, replicas, groups, exit codes, no traceback."""

import re
import signal
import subprocess
import sys

import pytest

from tests.e2e.harness import Hasup, alive, until

SLEEPERS = """
[defaults]
ready.after = "50ms"
[programs.web]
command = "sleep 1000"
replicas = 3
[programs.db]
command = "sleep 1000"
[programs.cron]
command = "sleep 1000"
autostart = false
[groups.back]
programs = ["db", "cron"]
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One that is only asked, never changed."""
    one = Hasup(tmp_path_factory.mktemp("shared"))
    one.start(SLEEPERS)
    yield one
    assert one.end() == []


def states(hasup) -> dict[str, str]:
    return {name: replica["state"] for name, replica in hasup.replicas().items()}


def pids(hasup) -> dict[str, int | None]:
    return {name: replica["pid"] for name, replica in hasup.replicas().items()}


def test_start_and_a_second_start_that_joins(hasup):
    first = hasup.start(SLEEPERS)
    assert "4 of 4 ready" in first.stdout, "the table is shown"
    before = pids(hasup)
    assert before["cron.1"] is None, "autostart = false"
    guardian = hasup.instance()["guardian_pid"]
    again = hasup.run("start", "-d")
    assert f"hasup already runs (pid {guardian})" in again.stdout
    assert hasup.instance()["guardian_pid"] == guardian
    joined = hasup.run("start", "cron")
    assert f"hasup already runs (pid {guardian}); started cron.1" in joined.stdout
    after = pids(hasup)
    assert after.pop("cron.1")
    assert after == {name: pid for name, pid in before.items() if name != "cron.1"}, "the others were not touched"


def test_a_start_says_when_the_file_differs_from_what_runs(hasup):
    hasup.start(SLEEPERS)
    assert hasup.run("start").stderr == ""
    hasup.write(SLEEPERS + '[programs.new]\ncommand = "sleep 1000"\n')
    hint = "hasup: the file differs from what runs: hasup diff shows how, hasup reload applies it\n"
    assert hasup.run("start", "-d").stderr == hint
    assert hint in hasup.run("start", "new", code=4).stderr
    hasup.run("reload")
    assert hasup.run("start", "new").stderr == ""


def test_a_start_of_everything_leaves_alone_what_does_not_start_by_itself(hasup):
    hasup.start(SLEEPERS)
    hasup.run("stop", "web.2")
    hasup.run("start")
    assert states(hasup) == dict.fromkeys(("web.1", "web.2", "web.3", "db.1"), "running") | {"cron.1": "stopped"}


def test_twenty_starts_at_once_are_one_hasup(hasup):
    hasup.write(SLEEPERS)
    starts = [hasup.popen("start", "-d") for _ in range(20)]
    outputs = [start.communicate(timeout=110)[0] for start in starts]
    assert [start.returncode for start in starts] == [0] * 20, outputs
    assert not any("Traceback" in output for output in outputs)
    guardians = {found for output in outputs for found in re.findall(r"\(pid (\d+)\)|· pid (\d+)", output)}
    assert {a or b for a, b in guardians} == {str(hasup.instance()["guardian_pid"])}
    assert all(replica["restarts"] == 0 for replica in hasup.replicas().values())
    marks = subprocess.run(["pgrep", "-fc", f"hasup.guardian.*{hasup.state_dir}"], capture_output=True, text=True)
    assert marks.stdout.strip() == "1"


def test_start_with_names_starts_these_and_what_they_need(hasup):
    hasup.write(SLEEPERS + '[programs.app]\ncommand = "sleep 1000"\ndepends_on = ["db"]\n')
    hasup.run("start", "-d", "app")
    running = {name for name, state in states(hasup).items() if state == "running"}
    assert running == {"app.1", "db.1"}
    hasup.run("start", "web.2")
    assert states(hasup)["web.2"] == "running"
    assert states(hasup)["web.1"] == "stopped"


def test_stop_by_program_replica_and_group(hasup):
    hasup.start(SLEEPERS)
    hasup.run("start", "cron")
    before = pids(hasup)
    assert hasup.run("stop", "web.2").stdout == "stopped web.2\n"
    assert not alive(before["web.2"]), "it returns when it is so"
    assert hasup.run("stop", "back").stdout == "stopped db.1, cron.1\n"
    assert not any(alive(before[name]) for name in ("db.1", "cron.1"))
    assert {name for name, pid in pids(hasup).items() if pid} == {"web.1", "web.3"}
    assert hasup.replica("web.2")["last"]["result"] == "operator"
    hasup.run("stop", "web", "db")
    assert set(states(hasup).values()) == {"stopped"}, "hasup itself goes on"
    hasup.run("start", "back", "web.1")
    assert {name for name, pid in pids(hasup).items() if pid} == {"web.1", "db.1", "cron.1"}


def test_restart_by_program_replica_and_group(hasup):
    hasup.start(SLEEPERS)
    before = pids(hasup)
    assert hasup.run("restart", "web.2", "back").stdout == "restarted web.2, db.1, cron.1\n"
    after = hasup.replicas()
    assert {name for name in before if after[name]["pid"] != before[name]} == {"web.2", "db.1", "cron.1"}
    assert after["web.2"]["last"]["result"] == "operator"
    assert not alive(before["web.2"])


def test_scale_up_and_down(hasup):
    hasup.start(SLEEPERS)
    before = pids(hasup)
    hasup.run("scale", "web=5", "db=2")
    grown = pids(hasup)
    assert all(grown[name] for name in ("web.4", "web.5", "db.2"))
    assert {name: grown[name] for name in before} == before, "those that were there were not touched"
    hasup.run("scale", "web=1", "db=0")
    assert pids(hasup).keys() == {"web.1", "cron.1"}
    assert not any(alive(pid) for name, pid in grown.items() if pid and name != "web.1"), "those too many are gone"
    hasup.run("scale", "db=1")
    assert hasup.replica("db.1")["ready"], "from nothing it comes back"


def test_signals_reach_the_main_processes(hasup):
    (hasup.folder / "app.sh").write_text(
        "trap 'echo $HASUP_REPLICA got HUP' HUP\necho up\nwhile :; do sleep 0.1; done\n"
    )
    hasup.start('[programs.app]\ncommand = "sh app.sh"\nreplicas = 2\nready.log = "up"\n')
    assert hasup.run("signal", "app", "hup").stdout == "sent SIGHUP to app.1, app.2\n"
    assert hasup.run("signal", "app.2", "SIGHUP").stdout == "sent SIGHUP to app.2\n"
    log = hasup.folder / ".hasup/logs"
    until(lambda: len(re.findall("got HUP", "".join(p.read_text() for p in log.glob("app.*")))) >= 2, "both got it")
    assert hasup.run("signal", "app.1", str(int(signal.SIGRTMIN) + 6)).stdout == "sent SIG40 to app.1\n"
    last = hasup.wait("app.1", "restarted", lambda r: r["restarts"] == 1 and r["last"])["last"]
    assert last["signal"] == "SIG40"
    hasup.run("stop", "app.2")
    assert "app.2" in hasup.run("signal", "app.2", "TERM", code=1).stderr, "nobody was there to get it"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stop", "wbe"], 4, "no program, replica or group is named 'wbe' (did you mean web?)"),
        (["start", "web.9"], 4, "web has no replica 9 (it has: web.1, web.2, web.3)"),
        (["restart", "web", "bak"], 4, "(did you mean back?)"),
        (["reload", "wbe"], 4, "(did you mean web?)"),
        (["status", "wbe"], 4, "(did you mean web?)"),
        (["logs", "wbe"], 4, "(did you mean web?)"),
        (["events", "wbe"], 4, "(did you mean web?)"),
        (["signal", "wbe", "TERM"], 4, "(did you mean web?)"),
        (["scale", "wbe=2"], 4, "(did you mean web?)"),
        (["scale", "web.1=2"], 4, "only programs can be scaled"),
        (["scale", "back=2"], 4, "only programs can be scaled"),
        (["scale", "web"], 2, "'web' is no NAME=N; for example: hasup scale web=3"),
        (["scale", "web=-1"], 2, "is no NAME=N"),
        (["scale", "web=100000"], 2, "replicas are a number from 0 to 10000"),
        (["signal", "web", "NOPE"], 2, "there is no signal 'NOPE'"),
        (["signal", "web"], 2, "see: hasup signal --help"),
        (["signal", "web", "0"], 2, "there is no signal '0'"),
        (["restart"], 2, "see: hasup restart --help"),
        (["strat"], 2, "there is no command 'strat' (did you mean start?)"),
        (["start", "--nope"], 2, "no such option '--nope'"),
        (["stop", "--now", "web"], 2, "--now stops everything"),
        (["logs", "--grep", "("], 2, "is no regular expression"),
        (["logs", "--since", "yesterday-ish"], 2, "is no time"),
        (["logs", "-n", "x"], 2, "see: hasup logs --help"),
        (["events", "--since", "x"], 2, "is no time"),
        (["completion"], 2, "see: hasup completion --help"),
        (["-c"], 2, "see: hasup --help"),
    ],
)
def test_wrong_input(shared, arguments, code, words):
    done = shared.run(*arguments, code=code)
    assert words in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, "one line says it all"
    assert lines[0].startswith("hasup: ")
    assert done.stdout == ""


def test_wrong_input_changed_nothing(shared):
    assert set(states(shared).values()) == {"running", "stopped"}
    assert all(replica["restarts"] == 0 for replica in shared.replicas().values())


@pytest.mark.parametrize(
    "line",
    [
        *("status", "status --json", "stop", "stop web", "restart web", "scale web=2", "signal web HUP"),
        *("reload web", "reload", "diff", "events -f"),
    ],
)
def test_without_a_running_hasup(hasup, line):
    hasup.write(SLEEPERS)
    done = hasup.run(*line.split(), code=3)
    assert "hasup is not running" in done.stderr
    assert done.stdout == ""


def test_what_fails_its_first_start_is_told_with_the_reason(hasup):
    done = hasup.start(
        '[programs.bad]\ncommand = "sh -c \'echo no database >&2; exit 3\'"\nrestart.delay = "10s"\n'
        '[programs.needs]\ncommand = "sleep 1000"\ndepends_on = ["bad"]\n'
        '[programs.good]\ncommand = "sleep 1000"\n',
        code=1,
    )
    assert re.search(r"hasup: bad\.1 did not start: exited with code 3", done.stderr)
    assert re.search(r"hasup: needs\.1 did not start: waits for bad", done.stderr)
    assert "good.1" not in done.stderr
    assert "hasup goes on trying; see: hasup status" in done.stderr
    assert hasup.replica("bad.1")["state"] in ("backoff", "starting")
    again = hasup.run("start", "bad", code=1)
    assert "bad.1 is not ready: exited with code 3" in again.stderr


def test_stopping_everything_is_reported_and_so_is_that_nothing_runs(hasup):
    hasup.start(SLEEPERS)
    running = [pid for pid in pids(hasup).values() if pid]
    guardian = hasup.instance()["guardian_pid"]
    done = hasup.run("stop")
    assert done.stdout == f"stopped everything; hasup (pid {guardian}) has ended\n"
    assert not any(map(alive, [*running, guardian]))
    hasup.run("stop", code=3)
    hasup.start()
    assert hasup.instance()["guardian_pid"] != guardian, "and it starts again"


def test_the_configuration_is_named_before_or_after_the_command(hasup):
    elsewhere = hasup.folder / "deep" / "er"
    elsewhere.mkdir(parents=True)
    file = hasup.write(SLEEPERS, "other.toml")
    hasup.run("start", "-d", "-c", "other.toml")
    for arguments in (
        ["-c", "other.toml", "status"],
        ["status", "-c", str(file)],
        ["--config", "other.toml", "status"],
    ):
        assert "4 of 4 ready" in hasup.run(*arguments).stdout
    hasup.env["HASUP_CONFIG"] = str(file)
    assert "4 of 4 ready" in hasup.run("status").stdout
    del hasup.env["HASUP_CONFIG"]
    file.rename(hasup.folder / "hasup.toml")
    found = subprocess.run(
        hasup.argv("status"), cwd=elsewhere, env=hasup.env, capture_output=True, text=True, timeout=90
    )
    assert "4 of 4 ready" in found.stdout, "found from below"


def test_a_name_that_was_mistyped_reaches_no_other_hasup(hasup):
    hasup.start('[programs.web]\ncommand = "sleep 1000"\nready.after = "0s"\n')
    for command in ("stop", "status", "upgrade"):
        assert "can't be read" in hasup.run(command, "-c", "hasap.toml", code=2).stderr
    (hasup.folder / "hasup.toml").unlink()  # the one that it was started with may be gone
    assert hasup.run("status", "-c", "hasup.toml").stdout
    assert "stopped everything" in hasup.run("stop", "-c", "hasup.toml").stdout


def test_the_installed_entry_point_is_the_same(hasup):
    hasup.start(SLEEPERS)
    code = "import sys; sys.argv[0] = 'hasup'; from hasup.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "status"], cwd=hasup.folder, env=hasup.env, capture_output=True, text=True
    )
    assert "4 of 4 ready" in done.stdout, done.stderr


def test_a_reader_that_has_seen_enough(hasup):
    hasup.start(SLEEPERS)
    command = hasup.popen("config", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    command.stdout.close()
    error = command.stderr.read()
    command.stderr.close()
    command.wait(60)
    command.stdout = None
    assert error == ""
