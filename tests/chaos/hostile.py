"""A machine that turns against hasup: small disks, other users, no processes left. All is put back afterwards."""

import contextlib
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Hasup, until

STRANGER = 54_321  # a user that owns nothing on this machine
_PIDS = "/sys/fs/cgroup/pids"
_FREEZER = "/sys/fs/cgroup/freezer"

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and other users need root")
needs_freezer = pytest.mark.skipif(
    not os.access(_FREEZER, os.W_OK), reason="only the freezer of cgroup v1 keeps processes from KILL"
)
needs_pids = pytest.mark.skipif(not os.access(_PIDS, os.W_OK), reason="needs the pids controller of cgroup v1")


@contextlib.contextmanager
def disk(folder: Path, size: str, *, user: int = 0) -> Iterator[Path]:
    """A file system of its own in ``folder``, as large as ``size`` ("64k")."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0700,uid={user}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all that is left on its file system."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


@contextlib.contextmanager
def group(controller: str, **settings: str) -> Iterator[Path]:
    """A cgroup v1 folder; ``settings`` are written to its files (``pids_max`` to ``pids.max``)."""
    folder = Path(f"/sys/fs/cgroup/{controller}/hasup-test-{uuid.uuid4().hex[:12]}")
    folder.mkdir()
    try:
        for name, value in settings.items():
            (folder / name.replace("_", ".")).write_text(value)
        yield folder
    finally:
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (folder.parent / "cgroup.procs").write_text(pid)

        def removed() -> bool:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return not folder.exists()

        until(removed, f"{folder} is empty")


class AsUser(Hasup):
    """hasup as another user. It may read what this one may (a Python in a private folder), and nothing else."""

    def __init__(self, folder: Path, user: int = STRANGER, nproc: int | None = None) -> None:
        super().__init__(folder)
        may_read = ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"]
        self._become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *may_read]
        self._limit = [] if nproc is None else ["prlimit", f"--nproc={nproc}"]

    def argv(self, *arguments: str) -> list[str]:
        limited = self._limit if arguments[0] == "start" else []
        return [*limited, *self._become, *super().argv(*arguments)]


@contextlib.contextmanager
def of_user(tmp_path: Path, user: int = STRANGER, nproc: int | None = None) -> Iterator[AsUser]:
    """hasup as another user, in a folder of that user's; nothing is left of it afterwards."""
    for folder in (tmp_path.parent, tmp_path):
        folder.chmod(0o711)
    with disk(tmp_path / "home", "4m", user=user) as home:
        hasup = AsUser(home, user, nproc)
        try:
            yield hasup
        finally:
            for folder in (hasup.state_dir, hasup.state_dir / "logs"):
                folder.chmod(0o700)
            left = hasup.end()
    assert left == [], "processes were left after hasup stop"


class Faults:
    """Faults of hasup's own processes, to order (see ``faulty/sitecustomize.py``). Call before ``hasup start``."""

    def __init__(self, hasup: Hasup) -> None:
        self._folder = hasup.folder / "faults"
        self._folder.mkdir()
        hasup.env["HASUP_TEST_FAULTS"] = str(self._folder)
        hasup.env["PYTHONPATH"] = f"{Path(__file__).parent / 'faulty'}:{hasup.env['PYTHONPATH']}"

    def begin(self, name: str, value: str = "") -> None:
        (self._folder / f"{name}.new").write_text(value)
        (self._folder / f"{name}.new").rename(self._folder / name)

    def end(self, name: str) -> None:
        (self._folder / name).unlink()


def children_of(pid: int) -> list[int]:
    """The living children of a process."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def command_of(pid: int) -> str:
    """A process's command line; "" when there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def core_of(guardian: int) -> int | None:
    """The core that a guardian has now, without asking it."""
    return next((child for child in children_of(guardian) if "hasup.runtime" in command_of(child)), None)


def assert_supervised(hasup: Hasup, name: str = "quiet.1") -> None:
    """A crash is noticed and repaired."""
    before = hasup.replica(name)
    os.kill(before["pid"], signal.SIGKILL)
    hasup.wait(name, "replaced", lambda r: r["restarts"] > before["restarts"] and r["ready"])


def degraded(hasup: Hasup) -> str:
    """What ``hasup status`` says does not work."""
    return "; ".join(hasup.status()["supervisor"]["degraded"])


def resident(pid: int) -> int:
    """Kilobytes that are this process's own: anonymous memory, since pages of files come and go."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
