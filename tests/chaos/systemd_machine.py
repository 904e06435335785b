"""A real systemd, booted in namespaces of its own: PID, mount, UTS, IPC and cgroup."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

SYSTEMD = "/lib/systemd/systemd"
BOOT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
cp "$WORK"/units/* /run/systemd/system/
for unit in sysinit.target systemd-tmpfiles-setup.service systemd-tmpfiles-clean.service; do
    ln -s /dev/null "/run/systemd/system/$unit"
done
mount -t tmpfs tmpfs /var/lib/hasup
exec env -i PATH="$PATH" container=hasup-test \\
    "$SYSTEMD" --system --unit=test.target --log-target=console --show-status=no
"""
# Nothing of the machine's own boot: it would set up devices and empty /tmp, which are the host's here. So units under
# test need DefaultDependencies=no.
TARGET = """[Unit]
Description=as little as possible
DefaultDependencies=no
Wants=systemd-journald.socket systemd-journald.service
"""


def why_not() -> str | None:
    """Why a systemd can't be booted here; None when it can."""
    if os.geteuid() != 0:
        return "booting systemd needs root"
    for program in ("unshare", "nsenter", "systemctl"):
        if shutil.which(program) is None:
            return f"needs {program}"
    return None if os.path.exists(SYSTEMD) else "needs systemd"


class Machine:
    """The booted systemd. ``work`` is visible inside under its own path; ``more`` are units that it knows at once."""

    def __init__(self, work: Path, more: Mapping[str, str] = {}) -> None:
        self.work = work
        units = work / "units"
        units.mkdir()
        for name, text in {"test.target": TARGET, **more}.items():
            (units / name).write_text(text)
        os.makedirs("/var/lib/hasup", exist_ok=True)  # a place to mount on; what is in it stays untouched
        self._cgroup = Path(_v2_root()) / f"hasup-test-{os.getpid()}-{time.monotonic_ns()}"
        self._cgroup.mkdir()
        self._log = open(work / "systemd.log", "wb")  # noqa: SIM115 - closed with the machine
        env = os.environ | {"WORK": str(work), "SYSTEMD": SYSTEMD}
        self._unshare = subprocess.Popen(
            [
                "sh",
                "-c",
                'echo 0 > "$CG/cgroup.procs"; exec unshare --pid --fork --mount --uts --ipc --cgroup sh -c "$BOOT"',
            ],
            env=env | {"BOOT": BOOT, "CG": str(self._cgroup)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def init_pid(self) -> int | None:
        """systemd's pid as seen from here."""
        try:
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        except OSError:
            return None
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return None

    def path(self, inside: str) -> Path:
        """A file in there, by its path without the first slash, as seen from here."""
        return Path("/proc", str(self.init_pid()), "root") / inside

    def run(self, *argv: str, timeout: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        pid = self.init_pid()
        assert pid is not None, self.log()
        done = subprocess.run(
            ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "-C", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert not check or done.returncode == 0, (argv, done.stdout, done.stderr, self.log())
        return done

    def is_up(self) -> bool:
        """Whether systemd answers."""
        return (
            self.init_pid() is not None and "running" in self.run("systemctl", "is-system-running", check=False).stdout
        )

    def add_unit(self, name: str, text: str) -> None:
        """A unit, known to systemd from now on."""
        (self.work / "units" / name).write_text(text)
        self.run("cp", str(self.work / "units" / name), "/run/systemd/system/")
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str, field: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "-P", field, unit).stdout.strip()

    def log(self) -> str:
        """What systemd said."""
        return (self.work / "systemd.log").read_text(errors="replace")[-4000:]

    def close(self) -> None:
        """Power off, by force."""
        pid = self.init_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the namespace's init: everything in it ends with it
        self._unshare.kill()
        self._unshare.wait()
        self._log.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            if not self._cgroup.exists():
                return
            time.sleep(0.05)  # until the kernel has let go of the last process


def _v2_root() -> str:
    return "/sys/fs/cgroup" if os.path.exists("/sys/fs/cgroup/cgroup.procs") else "/sys/fs/cgroup/unified"
