"""Every command against a hasup that answers: what it asks, what it says, what it ends with."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hasup.cli.commands import NAMES, SECTIONS
from hasup.control.server import LATER
from hasup.protocol.control import ControlError
from tests.support.cli import Place, program, replica, status

OK = {"ok": True, "replicas": [{"name": "web.1", "state": "running", "reason": "ready"}], "failed": []}
FAILED = {
    "ok": False,
    "replicas": [{"name": "web.1", "state": "running", "reason": "ready"}, {"name": "db.1", "state": "backoff"}],
    "failed": [{"name": "db.1", "reason": "exit code 3; failed 4 times in a row"}],
}
SAID = (
    "hasup: db.1 is not ready: exit code 3; failed 4 times in a row\nhasup: hasup goes on trying; see: hasup status\n"
)


# --- the root -------------------------------------------------------------------------------------------------------
def test_help_lists_every_command_with_its_line(place: Place) -> None:
    ended = place.hasup("--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: hasup [OPTIONS] COMMAND [ARGS]...\n\n  Keep programs running")
    for section, commands in SECTIONS.items():
        assert f"\n{section}:\n" in ended.out
        for name, text in commands.items():
            assert f"\n  {name.ljust(10)}  {text}\n" in ended.out
    assert ended.out.endswith(
        """
  Names are programs, replicas (web.2) or groups; none means all.
  Exit codes: 0 done; 1 it did not work; 2 usage or configuration;
              3 hasup is not running; 4 no such program.
"""
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_there_and_its_help_begins_as_its_line_does(place: Place, name: str) -> None:
    ended = place.hasup(name, "--help")
    assert ended.code == 0
    line = next(text for commands in SECTIONS.values() for known, text in commands.items() if known == name)
    assert ended.out.split("\n\n")[1].split()[0] == line.split()[0]


def test_version(place: Place) -> None:
    assert place.hasup("--version") == (0, "hasup 0.1.0\n", "")
    assert place.hasup("version") == (0, "hasup 0.1.0\n", "")
    place.answers(version={"version": "0.0.9", "core_pid": 812, "guardian_pid": 811})
    assert place.hasup("version") == (0, "hasup 0.1.0\nrunning: hasup 0.0.9 (pid 811)\n", "")
    assert json.loads(place.hasup("version", "--json").out)["running"]["version"] == "0.0.9"


def test_without_a_command_the_help_is_shown(place: Place) -> None:
    ended = place.hasup()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Usage: hasup")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["strat"], "there is no command 'strat' (did you mean start?); see: hasup --help"),
        (["stat"], "there is no command 'stat' (did you mean status?); see: hasup --help"),
        (["xyz"], "there is no command 'xyz'; see: hasup --help"),
        (["restart"], "missing argument 'NAME...'; see: hasup restart --help"),
        (["status", "--jsn"], "no such option '--jsn'. Did you mean '--json'?; see: hasup status --help"),
        (["stop", "--now", "web"], "--now stops everything: give no names with it"),
        (["scale", "web=aut"], "'web=aut' is no NAME=N; for example: hasup scale web=3"),
        (["scale", "web"], "'web' is no NAME=N; for example: hasup scale web=3"),
        (["scale", "web=-1"], "'web=-1' is no NAME=N; for example: hasup scale web=3"),
        (["scale", "=1"], "'=1' is no NAME=N; for example: hasup scale web=3"),
        (["events", "--since", "tea time"],
         "'tea time' is no time; for example 10m, 2h, 2026-01-31 or 2026-01-31T12:00"),
    ],
)  # fmt: skip
def test_usage_errors(place: Place, argv: list[str], said: str) -> None:
    ended = place.hasup(*argv)
    assert (ended.code, ended.out) == (2, "")
    if "--jsn" not in argv:  # click's own words change from version to version
        assert ended.err == f"hasup: {said}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(place: Place, shell: str) -> None:
    ended = place.hasup("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_HASUP_COMPLETE={shell}_complete" in ended.out


def test_names_are_completed_from_the_running_hasup(place: Place) -> None:
    from hasup.cli.options import _known_names
    from hasup.cli.stop import command

    context = command.make_context("stop", [], resilient_parsing=True)
    assert _known_names(context, command.params[0], "w") == []
    place.answers(status=status(program("web", replica("web.1")), program("db", replica("db.1"), groups=["www"])))
    assert _known_names(context, command.params[0], "w") == ["web", "web.1", "www"]


# --- those that ask one thing ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("argv", "call", "said"),
    [
        (["restart", "web"], ("restart", {"names": ["web"], "wait": True}), "restarted web.1\n"),
        (["stop", "web", "db"], ("stop", {"names": ["web", "db"], "wait": True}), "stopped web.1\n"),
        (["scale", "web=3", "db=0"], ("scale", {"replicas": {"web": 3, "db": 0}, "wait": True}),
         "scaled web to 3, db to 0: web.1\n"),
    ],
)  # fmt: skip
def test_what_is_asked_and_said(place: Place, argv: list[str], call: tuple[str, Any], said: str) -> None:
    place.answers(**{call[0]: OK})
    assert place.hasup(*argv) == (0, said, "")
    assert place.calls == [call]


def test_what_did_not_work_is_said_with_its_reason(place: Place) -> None:
    place.answers(restart=FAILED)
    assert place.hasup("restart", "web", "db") == (1, "restarted web.1\n", SAID)


def test_many_names_are_not_all_listed(place: Place) -> None:
    place.answers(restart={"ok": True, "replicas": [{"name": f"web.{i}"} for i in range(1, 101)], "failed": []})
    listed = ", ".join(f"web.{i}" for i in range(1, 9))
    assert place.hasup("restart", "web").out == f"restarted {listed} and 92 more\n"


def test_signal(place: Place) -> None:
    place.answers(signal={"signalled": ["web.1", "web.2"], "signal": "SIGHUP"})
    assert place.hasup("signal", "web", "HUP") == (0, "sent SIGHUP to web.1, web.2\n", "")
    assert place.calls == [("signal", {"names": ["web"], "signal": "HUP"})]


def test_a_signal_that_reaches_nobody_did_not_work(place: Place) -> None:
    place.answers(signal={"signalled": [], "signal": "SIGHUP"})
    said = "hasup: nothing of web runs now: SIGHUP was sent to nobody; see: hasup status\n"
    assert place.hasup("signal", "web", "HUP") == (1, "", said)


@pytest.mark.parametrize("argv", [["restart", "wbe"], ["stop", "wbe"], ["start", "wbe"], ["signal", "wbe", "HUP"]])
def test_hasup_says_no(place: Place, argv: list[str]) -> None:
    def refuse(_params: Any, _peer: Any) -> None:
        raise ControlError("there is no program 'wbe' (did you mean web?)", exit_code=4)

    place.answers(**{argv[0]: refuse, "version": {"guardian_pid": 811}})
    assert place.hasup(*argv) == (4, "", "hasup: there is no program 'wbe' (did you mean web?)\n")


@pytest.mark.parametrize("argv", [["restart", "web"], ["stop", "web"], ["scale", "web=1"], ["signal", "web", "HUP"]])
def test_not_running(place: Place, argv: list[str]) -> None:
    text = f"hasup is not running (no control socket in {place.state_dir}); start it with: hasup start"
    assert place.hasup(*argv) == (3, "", f"hasup: {text}\n")


def test_a_restart_is_not_asked_for_twice(place: Place) -> None:
    place.answers(restart=lambda _params, peer: peer.close())
    said = "hasup went away before it answered (was its core replaced?); see: hasup status"
    assert place.hasup("restart", "web") == (1, "", f"hasup: {said}\n")
    assert len(place.calls) == 1


def test_start_when_it_runs_already(place: Place) -> None:
    place.answers(version={"version": "0.1.0", "core_pid": 812, "guardian_pid": 811}, start=OK)
    assert place.hasup("start", "web") == (0, "hasup already runs (pid 811); started web.1\n", "")
    assert ("start", {"names": ["web"], "wait": True}) in place.calls


def test_a_broken_file_does_not_keep_anyone_from_the_running_hasup(place: Place) -> None:
    (place.folder / "hasup.toml").write_text("include = 'x'\n[[[")
    place.answers(restart=OK)
    assert place.hasup("restart", "web").code == 0


# --- stop -----------------------------------------------------------------------------------------------------------
def test_stop_returns_when_the_lock_is_free(place: Place) -> None:
    from hasup.cli import statedir

    statedir.prepare(str(place.state_dir))
    lock = statedir.lock(str(place.state_dir))
    assert lock is not None

    def shutdown(_params: Any, peer: Any) -> Any:
        os.close(lock)
        return {"ok": True}

    place.answers(version={"guardian_pid": 811}, shutdown=shutdown)
    assert place.hasup("stop") == (0, "stopped everything; hasup (pid 811) has ended\n", "")
    assert place.calls == [("version", {}), ("shutdown", {"now": False})]
    assert not statedir.is_locked(str(place.state_dir))


def test_stop_now(place: Place) -> None:
    place.answers(version={"guardian_pid": 811}, shutdown={"ok": True})
    assert place.hasup("stop", "--now").code == 0
    assert place.calls[-1] == ("shutdown", {"now": True})


@pytest.mark.parametrize("stopping", [True, False])
def test_a_core_that_dies_while_stopping_is_not_told_to_kill(place: Place, stopping: bool) -> None:
    """A second shutdown kills at once: it is only ordered of a core that does not know of the first."""
    from hasup.cli import statedir

    statedir.prepare(str(place.state_dir))
    lock = statedir.lock(str(place.state_dir))
    assert lock is not None
    asked = {"status": 0, "shutdown": 0}

    def shutdown(_params: Any, peer: Any) -> Any:
        asked["shutdown"] += 1
        if asked["shutdown"] == 1:
            peer.close()
            return LATER
        os.close(lock)
        return {"ok": True}

    def answer(_params: Any, _peer: Any) -> Any:
        asked["status"] += 1
        if stopping and asked["status"] == 2:
            os.close(lock)
        return status(stopping=stopping)

    place.answers(version={"guardian_pid": 811}, shutdown=shutdown, status=answer)
    assert place.hasup("stop").code == 0
    assert asked["shutdown"] == (1 if stopping else 2)


def test_stop_when_nothing_runs(place: Place) -> None:
    said = f"hasup is not running (no control socket in {place.state_dir}): nothing to stop"
    assert place.hasup("stop") == (3, "", f"hasup: {said}\n")
    assert not place.state_dir.exists()


# --- how it ends ----------------------------------------------------------------------------------------------------
def test_a_bug_is_no_traceback(place: Place) -> None:
    place.answers(restart={"ok": True, "replicas": 7})
    assert place.hasup("restart", "web") == (
        1,
        "",
        "hasup: internal error: TypeError: 'int' object is not iterable\n"
        "hasup: please report this; set HASUP_DEBUG=1 for the traceback\n",
    )


def test_a_bug_with_debugging_is_a_traceback(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASUP_DEBUG", "1")
    place.answers(restart={"ok": True, "replicas": 7})
    assert "Traceback (most recent call last)" in place.hasup("restart", "web").err


def test_ctrl_c_in_a_waiting_command_ends_quietly(place: Place) -> None:
    asked = threading.Event()
    place.answers(restart=lambda _params, _peer: asked.set() or LATER)
    command = [sys.executable, "-m", "hasup", "restart", "web"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place.folder) as process:
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_reader_that_has_seen_enough_ends_it_quietly(place: Place) -> None:
    place.answers(status=status(program("web", *(replica(f"web.{i}") for i in range(5000)))))
    # With PYTHONUNBUFFERED, Python itself does not notice that the rest of a write was refused.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "hasup", "status"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, cwd=place.folder, env=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_output_that_is_closed_or_has_no_signs_for_a_text(place: Place) -> None:
    place.answers(status=status(program("web", replica("web.1", ready=False, reason="größer ○ 中"))))
    environ = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    run = [sys.executable, "-m", "hasup", "status"]
    shown = subprocess.run(run, cwd=place.folder, env=environ, capture_output=True, timeout=60, check=True)
    assert b"gr\\xf6\\xdfer o \\u4e2d" in shown.stdout
    raw = subprocess.run([*run, "--json"], cwd=place.folder, env=environ, capture_output=True, timeout=60, check=True)
    assert json.loads(raw.stdout)["programs"][0]["replicas"][0]["reason"] == "größer ○ 中"
    closed = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "-", *run], cwd=place.folder, timeout=60)
    assert closed.returncode == 0


def test_a_plain_status_imports_next_to_nothing(place: Place) -> None:
    place.answers(status=status(program("web", replica("web.1"))))
    code = "import sys; from hasup.cli import run; run(['status', '--json']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place.folder, capture_output=True, text=True, timeout=60, check=True
    )
    heavy = {"click", "msgspec", "tomli", "asyncio", "sqlite3", "psutil", "logging", "inspect", "typing_extensions"}
    assert not heavy & set(done.stderr.split())


def test_the_help_imports_no_command(place: Place) -> None:
    code = "import sys; from hasup.cli import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place.folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert not {f"hasup.cli.{name}" for name in NAMES} & set(done.stderr.split())
    assert "msgspec" not in done.stderr.split()


def test_it_runs_from_a_source_tree(tmp_path: Path) -> None:
    source = Path(sys.modules["hasup.cli"].__file__ or "").parents[2]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "hasup", "--version"],
        cwd=source,
        env=environ,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"hasup 0.1.0\n"
