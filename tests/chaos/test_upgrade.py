"""``hasup upgrade``: from one version to the next and back, and versions that do not come up."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from hasup.version import __version__
from tests.e2e.harness import ROOT, Asking, Hasup, alive, free_port, get, of_instance, until

COUNT = "import itertools, time\nfor n in itertools.count():\n    print(n, flush=True)\n    time.sleep(0.002)  # steady"


def version(folder: Path, name: str, **prefixes: str) -> str:
    """A copy of hasup of another version; ``prefixes``: what some of its modules do first. Returns its PYTHONPATH."""
    tree = folder / name
    shutil.copytree(ROOT / "supervisor" / "hasup", tree / "hasup", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "hasup" / "version.py").write_text(f'"""The version."""\n\n__version__ = "{name}"\n')
    for module, code in prefixes.items():
        break_in(tree, module, code)
    return str(tree)


def break_in(tree: Path | str, module: str, code: str) -> None:
    path = Path(tree) / "hasup" / f"{module.replace('_', '/')}.py"
    path.write_text(f"{code}\n{path.read_text()}")


def configuration(port: int) -> str:
    return f"""
[programs.web]
command = ["{sys.executable}", "-m", "hasup.demo.web"]
replicas = 2
port = "auto"
ready.notify = true
restart.delay = "50ms"
listen.address = "127.0.0.1:{port}"

[programs.count]
command = ["{sys.executable}", "-c", '''{COUNT}''']
ready.after = "100ms"

[programs.text]
command = ["{sys.executable}", "-c", '''{COUNT}''']
ready.after = "100ms"
logs.format = "text"

[programs.pieces]
command = ["{sys.executable}", "-c", '''{COUNT.replace("flush=True", "end=' ', flush=True")}''']
ready.after = "100ms"
logs.format = "text"

[programs.idle]
command = "sleep 1000"
ready.after = "0s"
"""


@pytest.fixture
def port(hasup: Hasup) -> int:
    port = free_port()
    hasup.start(configuration(port))
    return port


def pids(hasup: Hasup) -> dict[str, int]:
    return {name: replica["pid"] for name, replica in hasup.replicas().items()}


def as_version(hasup: Hasup, path: str, code: int = 0) -> str:
    """Upgrade to the version at ``path``, with the command of that version; what it said."""
    before = hasup.env["PYTHONPATH"]
    hasup.env["PYTHONPATH"] = path
    try:
        done = hasup.run("upgrade", code=code)
    finally:
        hasup.env["PYTHONPATH"] = before
    return done.stdout + done.stderr


def numbers(path: Path, *, skip: int = 0) -> list[int]:
    """The numbers of complete lines; the text format has ``skip`` words, time and stream, before them."""
    return [int(word) for line in path.read_text().split("\n")[:-1] for word in line.split()[skip:]]


def test_to_the_next_version_and_back_under_requests(hasup, port, tmp_path):
    hasup.run("stop", "idle")
    hasup.run("scale", "web=3")
    before, guardian = pids(hasup), hasup.status()["supervisor"]["guardian_pid"]
    assert before["idle.1"] is None
    newer = version(tmp_path, "9.1")
    cores = {hasup.status()["supervisor"]["core_pid"]}
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        for path, there, back in ((newer, "9.1", __version__), (str(ROOT / "supervisor"), __version__, "9.1")):
            assert as_version(hasup, path) == f"upgraded: hasup {back} → {there}; no program was touched\n"
            supervisor = hasup.status()["supervisor"]
            assert (supervisor["version"], supervisor["guardian_pid"]) == (there, guardian)
            cores.add(supervisor["core_pid"])
            client.more()
    assert client.failures == []
    assert len(cores) == 3
    assert supervisor["core_restarts"] == 0
    assert pids(hasup) == before
    assert [event["reason"] for event in hasup.events(event="upgraded")] == [
        f"hasup {__version__} is hasup 9.1 now",
        f"hasup 9.1 is hasup {__version__} now",
    ]
    logs = {"count.1.log": 0, "text.1.log": 2, "pieces.1.log": 2}
    written = {log: len(numbers(hasup.state_dir / "logs" / log, skip=skip)) for log, skip in logs.items()}
    hasup.run("stop", "count", "text", "pieces")
    for log, skip in logs.items():
        found = numbers(hasup.state_dir / "logs" / log, skip=skip)
        assert found == list(range(len(found)))
        assert len(found) > written[log]
    kill_the_core(hasup, version=__version__)
    still_supervises(hasup)


def still_supervises(hasup: Hasup) -> None:
    pid = hasup.replica("web.1")["pid"]
    os.kill(pid, signal.SIGKILL)
    hasup.wait("web.1", "back", lambda replica: replica["ready"] and replica["pid"] not in (None, pid))
    hasup.run("stop")
    assert [pid for instance in hasup.instances for pid in of_instance(instance)] == []


def kill_the_core(hasup: Hasup, version: str) -> None:
    """The next one is of the version that was gone over to, or stayed with."""
    pid = hasup.status()["supervisor"]["core_pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_pid"] != pid, "another core")
    assert hasup.status()["supervisor"]["version"] == version


BROKEN = {
    "a core that can't be imported": ("runtime_core", "raise SystemExit(3)", "the core ended with exit code 3"),
    "a core that ends after it came up": (
        "runtime_core",
        "import threading\nthreading.Timer(0.2, __import__('os')._exit, [4]).start()",
        "the core ended with exit code 4",
    ),
    "a guardian that can't be imported": ("guardian_guardian", "raise SystemExit(3)", "does not understand the state"),
    "a guardian of another protocol": (
        "guardian_upgrade",
        "import hasup.protocol.guardian\nhasup.protocol.guardian.VERSION = 2",
        "does not understand the state",
    ),
    "a core of another protocol": (
        "runtime_core",
        "import sys\nsys.modules['__main__'].VERSION = 2",
        "the core ended with exit code 1",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_version_that_does_not_come_up_is_rolled_back(hasup, port, tmp_path, kind):
    module, code, cause = BROKEN[kind]
    before, supervisor = pids(hasup), hasup.status()["supervisor"]
    with Asking(f"http://127.0.0.1:{port}/") as client:
        said = as_version(hasup, version(tmp_path, "9.2", **{module: code}), code=1)
        assert cause in said
        assert f"hasup {__version__} goes on" in said
        client.more()
    assert client.failures == []
    assert pids(hasup) == before
    now = hasup.status()["supervisor"]
    for fact in ("version", "guardian_pid", "core_pid", "core_restarts"):
        assert now[fact] == supervisor[fact]
    assert cause in "".join(event["reason"] for event in hasup.events())
    kill_the_core(hasup, version=__version__)
    assert as_version(hasup, version(tmp_path, "9.3")).startswith("upgraded:")
    kill_the_core(hasup, version="9.3")
    still_supervises(hasup)


def test_the_old_version_goes_on_when_it_was_overwritten_on_disk(hasup, tmp_path):
    """As ``pip install --upgrade`` does it: what runs has its program in memory only."""
    tree = version(tmp_path, "9.4")
    hasup.env["PYTHONPATH"] = tree
    port = free_port()
    hasup.start(configuration(port))
    before, core = pids(hasup), hasup.status()["supervisor"]["core_pid"]
    for module in ("runtime_core", "journal_writer", "logs_sinks", "control_server"):
        break_in(tree, module, "raise SystemExit(5)")
    (Path(tree) / "hasup" / "version.py").write_text('__version__ = "9.5"\n')
    assert "the core ended with exit code 5" in as_version(hasup, tree, code=1)
    hasup.env["PYTHONPATH"] = str(ROOT / "supervisor")
    assert (pids(hasup), hasup.status()["supervisor"]["core_pid"]) == (before, core)
    assert get(f"http://127.0.0.1:{port}/").startswith("web.")
    still_supervises(hasup)


def test_the_guardian_dies_while_a_new_core_is_tried(hasup, port, tmp_path):
    instance, guardian = hasup.instance()["instance"], hasup.status()["supervisor"]["guardian_pid"]
    hangs = version(tmp_path, "9.6", runtime_core="import time\ntime.sleep(1000)  # never comes up")
    hasup.env["PYTHONPATH"] = hangs
    hasup.popen("upgrade")

    def cores() -> list[int]:
        return [pid for pid in of_instance(instance) if b"hasup.runtime" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    until(lambda: len(cores()) == 2, "the new core beside the old one")
    tried = max(cores())
    os.kill(guardian, signal.SIGKILL)
    until(lambda: set(of_instance(instance)) <= {tried}, "the end of everything")
    hasup.env["PYTHONPATH"] = str(ROOT / "supervisor")
    hasup.start(configuration(port))
    until(lambda: not alive(tried), "the end of what was tried")


def test_it_is_not_running(hasup):
    hasup.write("[programs.web]\ncommand = 'sleep 1000'\n")
    assert "not running" in hasup.run("upgrade", code=3).stderr
