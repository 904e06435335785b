"""A machine of its own with a real systemd: a User-Mode Linux kernel, which runs as a process and reads our files.

Unlike the namespaces of :mod:`tests.chaos.systemd_machine` it has a cgroup v2 with all controllers, whatever ours has.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.systemd_machine import SYSTEMD, TARGET, Machine
from tests.e2e.harness import until

UML = "linux.uml"
INIT = """#!/bin/sh
set -e
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/hasup
mount -t hostfs -o "{work}" none "{work}"
ip link set lo up 2>/dev/null || true
mkdir -p /run/systemd/system
cp "{work}"/units/* /run/systemd/system/
for unit in sysinit.target systemd-tmpfiles-setup.service systemd-tmpfiles-clean.service; do
    ln -s /dev/null "/run/systemd/system/$unit"
done
exec env -i PATH="{path}" container=hasup-test \\
    {systemd} --system --unit=test.target --log-target=console --show-status=no
"""
AGENT = """[Unit]
DefaultDependencies=no
[Service]
ExecStart={python} -I -S {agent} {work}
OOMScoreAdjust=-900
"""


def why_not() -> str | None:
    """Why such a machine can't be booted here; None when it can."""
    if os.geteuid() != 0:
        return "needs root, to be root within"
    if shutil.which(UML) is None:
        return "needs user-mode-linux"
    return None if os.path.exists(SYSTEMD) else "needs systemd"


class UmlMachine(Machine):
    """The booted machine. ``work`` is visible inside under its own path, all else can only be read there."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._orders = 0
        for folder in ("units", "asked", "done"):
            (work / folder).mkdir()
        agent = Path(__file__).with_name("uml_agent.py")
        (work / "units" / "test.target").write_text(f"{TARGET}Wants=agent.service\n")
        (work / "units" / "agent.service").write_text(AGENT.format(python=sys.executable, agent=agent, work=work))
        init = work / "init"
        init.write_text(INIT.format(work=work, path=os.environ["PATH"], systemd=SYSTEMD))
        init.chmod(0o755)
        os.makedirs("/var/lib/hasup", exist_ok=True)  # a place to mount on
        self._log = open(work / "systemd.log", "wb")  # noqa: SIM115 - closed with the machine
        kernel = ["mem=768M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "quiet"]
        self._kernel = subprocess.Popen(
            [UML, *kernel, "con=null", "con0=null,fd:1"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def run(self, *argv: str, timeout: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command inside, by way of the agent there."""
        self._orders += 1
        asked, done = (self.work / name / f"{self._orders}.json" for name in ("asked", "done"))
        part = asked.with_suffix(".part")
        part.write_text(json.dumps({"argv": argv, "timeout": timeout}))
        part.rename(asked)

        def answered() -> bool:
            assert self._kernel.poll() is None, f"the machine went down\n{self.log()}"
            return done.exists()

        until(answered, f"{argv} has run", timeout + 60)
        answer = json.loads(done.read_text())
        assert not check or answer["code"] == 0, (argv, answer, self.log())
        return subprocess.CompletedProcess(argv, answer["code"], answer["stdout"], answer["stderr"])

    def is_up(self) -> bool:
        """Whether systemd answers."""
        return "running" in self.run("systemctl", "is-system-running", check=False).stdout

    def close(self) -> None:
        """Pull the plug. Its processes are the kernel's children, traced by it, and end with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._kernel.pid, signal.SIGKILL)
        self._kernel.wait()
        self._log.close()
