"""``hasup start`` up to the point where the guardian takes over; a stand-in takes its place."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hasup.cli import launch, statedir
from hasup.cli.errors import Failure
from hasup.control.client import ControlClient, NotRunning
from hasup.control.server import LATER
from tests.support.control import serving

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).with_name("fake_guardian.py")
CONFIG = """
[programs.web]
command = "sleep 60"
depends_on = ["db"]
[programs.db]
command = "sleep 60"
[programs.mail]
command = "sleep 60"
[groups.backend]
programs = ["db", "web"]
"""


class Site:
    """A folder with a configuration, and hasup commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / ".hasup"
        folder.joinpath("hasup.toml").write_text(CONFIG)
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("HASUP_") and name not in ("STATE_DIRECTORY", "NOTIFY_SOCKET", "COLUMNS")
        }
        self.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *self.environ.get("PYTHONPATH", "").split(os.pathsep)])

    def popen(self, *argv: str, mode: str = "ready") -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, str(FAKE), *argv], cwd=self.folder, env=self.environ | {"FAKE_MODE": mode},
            stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True,
        )  # fmt: skip

    def hasup(self, *argv: str, mode: str = "ready") -> tuple[int, str, str]:
        with self.popen(*argv, mode=mode) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def ask(self, method: str) -> Any:
        with ControlClient(str(self.state_dir)) as client:
            return client.call(method, timeout=30)

    def instance(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state_dir / "instance.json").read_text())
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    try:
        pid = made.ask("version")["guardian_pid"]
    except NotRunning:
        return
    os.kill(pid, signal.SIGKILL)
    assert statedir.wait_until_free(str(made.state_dir), time.monotonic() + 30)


def test_in_the_background(site: Site) -> None:
    code, out, err = site.hasup("start", "-d")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "● shop  1 of 1 ready · up 1d 2h · pid 1"
    assert statedir.is_locked(str(site.state_dir))
    handed = site.ask("handed")
    assert set(handed["config"]["programs"]) == {"web", "db", "mail"}
    assert handed["only"] is None
    assert handed["sid"] == handed["pid"] != os.getsid(0)
    assert handed["output"] == ["/dev/null", "/dev/null", str(site.state_dir / "logs" / "guardian.err")]


def test_what_it_leaves_in_the_state_directory(site: Site) -> None:
    site.hasup("start", "-d")
    assert stat.S_IMODE(site.state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((site.state_dir / "control.sock").stat().st_mode) == 0o600
    instance = site.instance()
    pid = site.ask("version")["guardian_pid"]
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    assert instance["guardian_pid"] == pid
    assert instance["guardian_start"] == int(started)
    assert instance["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert len(bytes.fromhex(instance["instance"])) == 16


def test_a_start_that_failed_says_why(site: Site) -> None:
    code, _out, err = site.hasup("start", "-d", mode="fails")
    assert code == 1
    assert err == (
        "hasup: web.1 did not start: exit code 3\n"
        "hasup: hasup goes on trying; see: hasup status, hasup logs, hasup stop\n"
    )


def test_a_guardian_that_dies_is_quoted(site: Site) -> None:
    assert site.hasup("start", "-d", mode="dies") == (
        1,
        "",
        "hasup: hasup ended with exit code 1 before everything was started\n"
        f"hasup: the last it said (in {site.state_dir}/logs/guardian.err):\n"
        "hasup:   no luck today\n",
    )
    assert not statedir.is_locked(str(site.state_dir))


def test_a_core_that_does_not_come_up_is_complained_of(site: Site) -> None:
    site.environ["FAKE_COMPLAIN_S"] = "0.3"
    with site.popen("start", "-d", mode="has no core") as process:
        assert process.stderr is not None
        assert [process.stderr.readline() for _ in range(3)] == [
            "hasup: hasup is up, but its core does not answer; it goes on trying\n",
            f"hasup: the last it said (in {site.state_dir}/logs/guardian.err):\n",
            "hasup:   hasup: guardian: the core ended with exit code 1\n",
        ]
        os.kill(site.instance()["guardian_pid"], signal.SIGTERM)
        assert process.wait(30) == 1
        assert process.stderr.read().startswith("hasup: hasup was killed by signal 15 before everything was started\n")


def test_started_twice_there_is_one(site: Site) -> None:
    site.hasup("start", "-d")
    pid = site.ask("version")["guardian_pid"]
    assert site.hasup("start", "-d") == (0, f"hasup already runs (pid {pid}); started web.1\n", "")
    assert site.ask("version")["guardian_pid"] == pid


def test_started_twice_at_the_same_time_there_is_one(site: Site) -> None:
    commands = [site.popen("start", "-d") for _ in range(4)]
    ended = [(*command.communicate(timeout=60), command.returncode) for command in commands]
    assert [code for _out, _err, code in ended] == [0] * 4, ended
    assert sum("already runs" in out for out, _err, _code in ended) == 3


def test_stop_and_start_again(site: Site) -> None:
    site.hasup("start", "-d")
    first = site.instance()
    code, out, err = site.hasup("stop")
    assert (code, out, err) == (0, f"stopped everything; hasup (pid {first['guardian_pid']}) has ended\n", "")
    assert not statedir.is_locked(str(site.state_dir))
    assert site.hasup("start", "-d")[0] == 0  # over the socket that is left
    assert site.instance()["instance"] != first["instance"]


def test_in_the_foreground_the_command_becomes_the_guardian(site: Site) -> None:
    with site.popen("start") as process:
        deadline = time.monotonic() + 30
        while True:
            try:
                handed = site.ask("handed")
                break
            except NotRunning:
                assert time.monotonic() < deadline
                assert process.poll() is None
                threading.Event().wait(0.02)
        assert handed["pid"] == process.pid == site.instance()["guardian_pid"]
        assert ":console" in handed["config"]["programs"]
        assert site.hasup("stop")[0] == 0
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("names", "only"),
    [(["web"], "web db"), (["db"], "db"), (["backend"], "backend db"), (["mail", "web.1"], "mail web.1 db")],
)
def test_names_start_with_what_they_depend_on(site: Site, names: list[str], only: str) -> None:
    assert site.hasup("start", "-d", *names)[0] == 0
    assert site.ask("handed")["only"] == only


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wbe", "no program, replica or group is named 'wbe' (did you mean web?)"),
        ("web.2", "web has no replica 2 (it has: web.1)"),
        ("web.0", "web has no replica 0 (it has: web.1)"),
        ("web.x", "no program, replica or group is named 'web.x' (did you mean web.1?)"),
    ],
)
def test_unknown_names(site: Site, name: str, said: str) -> None:
    assert site.hasup("start", "-d", name) == (4, "", f"hasup: {said}\n")
    assert not site.state_dir.exists()


def test_a_faulty_configuration_starts_nothing(site: Site) -> None:
    (site.folder / "hasup.toml").write_text('[programs.web]\ncomand = "sleep 60"\nreplicas = -1\n')
    code, out, err = site.hasup("start", "-d")
    assert (code, out) == (2, "")
    *faults, last = err.splitlines()
    assert all(line.startswith("hasup.toml:") for line in faults), "a place first, as editors want it"
    assert last.startswith("hasup: ")
    assert "hasup.toml:2: programs.web.comand: " in err
    assert err.endswith("nothing was changed\n")
    assert not site.state_dir.exists()


def test_a_very_long_state_directory(site: Site) -> None:
    site.state_dir = site.folder / ("long" * 40) / "state"
    (site.folder / "hasup.toml").write_text(f'[supervisor]\nstate_dir = "{site.state_dir}"\n{CONFIG}')
    assert site.hasup("start", "-d")[0] == 0
    assert site.hasup("status")[0] == 0
    assert site.hasup("stop")[0] == 0


@contextlib.contextmanager
def _left_over(site: Site, boot_id: str | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of a hasup whose guardian and core are dead."""
    statedir.prepare(str(site.state_dir))
    instance = statedir.new_instance()
    statedir.write_instance(str(site.state_dir), instance, 1)
    if boot_id is not None:
        written = site.instance() | {"boot_id": boot_id}
        (site.state_dir / "instance.json").write_text(json.dumps(written))
    environ = {**os.environ, "HASUP_INSTANCE": instance}
    with subprocess.Popen(["sleep", "1000"], env=environ, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("command", "code"), [(["start", "-d"], 0), (["stop"], 3)])
def test_what_a_dead_hasup_left_is_ended_first(site: Site, command: list[str], code: int) -> None:
    with _left_over(site) as left:
        ended = site.hasup(*command)
        assert left.wait(30) == -signal.SIGKILL
    assert ended[0] == code
    assert f"hasup: ended 1 processes that an earlier hasup had left: {left.pid}\n" in ended[2]


def test_after_a_reboot_nothing_is_left(site: Site) -> None:
    with _left_over(site, boot_id="another") as other:
        assert site.hasup("start", "-d")[0] == 0
        assert other.poll() is None


# --- the state directory ----------------------------------------------------------------------------------------------
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "real"
    real.mkdir()
    link = tmp_path / "link"
    link.symlink_to(real)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for path in (real, link):
        with pytest.raises(Failure, match="belongs to user") as caught:
            statedir.prepare(str(path))
        assert caught.value.exit_code == 2


def test_a_directory_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    statedir.prepare(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "file/below"):
        with pytest.raises(Failure, match="state_dir must be a directory"):
            statedir.prepare(str(tmp_path / path))


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    assert not statedir.is_locked(str(tmp_path))
    held = statedir.lock(str(tmp_path))
    assert held is not None
    assert statedir.lock(str(tmp_path)) is None
    assert statedir.is_locked(str(tmp_path))
    os.close(held)
    assert not statedir.is_locked(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"instance": 7}'])
def test_an_instance_file_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "instance.json").write_text(text)
    assert statedir.read_instance(str(tmp_path)) is None


def test_a_lock_whose_holder_does_not_answer_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_OTHER_S", 0.1)
    held = statedir.lock(str(tmp_path))
    assert held is not None
    with pytest.raises(Failure, match=r"another hasup holds .*/lock, but does not answer"):
        launch.acquire(str(tmp_path))
    os.close(held)


def test_a_hasup_on_its_way_down_is_waited_for(tmp_path: Path) -> None:
    held = statedir.lock(str(tmp_path))
    assert held is not None

    def go(_params: Any, peer: Any) -> Any:
        os.close(held)
        peer.close()
        return LATER

    with serving(str(tmp_path), {"version": go}):
        acquired = launch.acquire(str(tmp_path))
    assert isinstance(acquired, int)
    os.close(acquired)


# --- how Python is run ------------------------------------------------------------------------------------------------
def test_what_is_meant_for_the_programs_stays_out_when_hasup_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    home = launch._home()
    monkeypatch.setattr(sys, "path", ["/bin", home])
    monkeypatch.setenv("PYTHONPATH", "/srv/shop/lib")
    assert launch.interpreter() == [sys.executable, "-E", "-P"]
    assert launch.environment([])["PYTHONPATH"] == "/srv/shop/lib"


def test_a_source_tree_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    home = launch._home()
    monkeypatch.setattr(sys, "path", [home, "/usr/lib/python3"])
    monkeypatch.setenv("PYTHONPATH", "/srv/shop/lib")
    assert launch.interpreter() == [sys.executable, "-P"]
    assert launch.environment([])["PYTHONPATH"] == f"{home}:/srv/shop/lib"
    monkeypatch.setenv("PYTHONPATH", home)
    assert launch.environment([])["PYTHONPATH"] == home
