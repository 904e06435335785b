"""A real hasup for each test, and what may be asked of it. Nothing of it is left when the test is over."""

import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest

PATIENCE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE_S) -> object:
    """The first true value of ``condition``, looked at again and again; the test fails when there is none in time."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {patience:g} s: {what}")
        time.sleep(0.02)  # between two looks at a condition


def state_of(pid: int) -> str:
    """The kernel's letter for what a process does: R, S, T (stopped), Z …; X when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def alive(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    return state_of(pid) not in ("Z", "X")


def of_group(group: int) -> list[int]:
    """Every living process of a process group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getpgid(int(name)) == group and alive(int(name)):
                found.append(int(name))
    return found


def of_instance(instance: str) -> list[int]:
    """Every living process whose environment names this instance."""
    mark = f"HASUP_INSTANCE={instance}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                if mark in file.read().split(b"\0") and alive(int(name)):
                    found.append(int(name))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, timeout: float = 20.0) -> str:
    """The body of an answer, over a connection of its own."""
    request = urllib.request.Request(url, headers={"Connection": "close"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return answer.read().decode()


class Asking:
    """While entered, a client that asks ``url`` again and again, over a connection each."""

    def __init__(self, url: str) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Asking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def more(self, count: int = 20) -> None:
        """Return when so many more were answered."""
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + count, f"{count} more answers from {self._url}")

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(get(self._url))
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))


class Hasup:
    """The command ``hasup`` on a configuration in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / ".hasup"
        self.foreground: list[subprocess.Popen[str]] = []
        self.instances: set[str] = set()
        self._guardians: set[int] = set()
        self.env = os.environ | {"PYTHONPATH": str(ROOT / "supervisor"), "NO_COLOR": "1"}

    def write(self, text: str, name: str = "hasup.toml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "hasup", *arguments]

    def run(self, *arguments: str, code: int | None = 0, timeout: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; ``code`` is the exit code it must have (None: any)."""
        done = subprocess.run(
            self.argv(*arguments),
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        self._note_instance()
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, text: str | None = None, *, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        if text is not None:
            self.write(text)
        return self.run("start", "-d", code=code)

    def popen(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """A command that goes on by itself (``start`` in the foreground, ``logs -f``)."""
        process = subprocess.Popen(
            self.argv(*arguments),
            cwd=self.folder,
            env=self.env,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            | options,
        )
        self.foreground.append(process)
        return process

    def status(self) -> dict:
        return json.loads(self.run("status", "--json").stdout)

    def replicas(self) -> dict[str, dict]:
        return {r["name"]: r for program in self.status()["programs"] for r in program["replicas"]}

    def replica(self, name: str) -> dict:
        return self.replicas()[name]

    def wait(self, name: str, what: str, condition: Callable[[dict], object]) -> dict:
        """The replica, as soon as ``condition`` holds of it."""
        seen: dict = {}

        def look() -> object:
            seen.update(self.replica(name))
            return condition(seen)

        try:
            until(look, f"{name}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {seen}; events:\n{self.run('events', code=None).stdout}") from None
        return dict(seen)

    def events(self, **fields: object) -> list[dict]:
        """The journal; only events whose fields are as given."""
        lines = self.run("events", "--json").stdout.splitlines()
        events = [json.loads(line) for line in lines]
        return [e for e in events if all(e.get(name) == value for name, value in fields.items())]

    def instance(self) -> dict:
        return json.loads((self.state_dir / "instance.json").read_text())

    def _note_instance(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            known = self.instance()
            self.instances.add(known["instance"])
            self._guardians.add(known["guardian_pid"])

    def end(self) -> list[int]:
        """Stop it; what was left although it should not be (and is killed now)."""
        self._note_instance()
        self.run("stop", code=None)
        left = []
        for process in self.foreground:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()
        # Guardians first: they start again what is killed. The mark of the instance is on their children only.
        for pid in filter(is_guardian, self._guardians):
            left.append(_kill(pid))
        for instance in self.instances:
            left += [_kill(pid) for pid in of_instance(instance)]
        return left


def is_guardian(pid: int) -> bool:
    """Whether a number is still that of a guardian."""
    try:
        return alive(pid) and b"hasup.guardian" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _kill(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return pid


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a foreign program is missing; in CI nothing may be missing."""
    paths = [*os.environ["PATH"].split(":"), "/usr/sbin", *glob.glob("/usr/lib/postgresql/*/bin")]
    missing = [name for name in programs if shutil.which(name, path=":".join(paths)) is None]
    if missing and os.environ.get("CI"):
        raise RuntimeError(f"CI must install {', '.join(missing)}")
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (see .ci/run)")
