"""A machine that turns against hasup: small disks, other users, no processes left. All is put back afterwards."""

import contextlib
import os
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
