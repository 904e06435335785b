"""hasup as a service of a real systemd, by the unit that ``hasup export systemd`` writes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.systemd_machine import Machine
from tests.e2e.harness import ROOT, until

UNIT = "hasup-shop.service"


class Service:
    """A machine with hasup as a service."""

    def __init__(
        self,
        folder: Path,
        config: str,
        unit_changes: dict[str, str] | None = None,
        machine: Callable[[Path], Machine] = Machine,
    ) -> None:
        self.folder = folder
        self.config = folder / "shop" / "hasup.toml"
        self.config.parent.mkdir()
        self.config.write_text(config)
        self.env = os.environ | {"PYTHONPATH": str(ROOT / "supervisor")}
        text = self.hasup_outside("export", "systemd").stdout
        text = text.replace("[Service]\n", f"[Service]\nEnvironment=PYTHONPATH={ROOT / 'supervisor'}\n")
        text = text.replace("[Unit]\n", "[Unit]\nDefaultDependencies=no\n")
        for old, new in (unit_changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        self.text = text
        self.machine = machine(folder)
        until(self.machine.is_up, "systemd is up")
        self.machine.add_unit(UNIT, text)

    def hasup_outside(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "hasup", "-c", str(self.config), *arguments]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True, timeout=60)

    def hasup(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = f"PYTHONPATH={ROOT / 'supervisor'}"
        return self.machine.run(
            "env", env, sys.executable, "-m", "hasup", "-c", str(self.config), *arguments, check=check
        )

    def status(self) -> dict[str, Any]:
        return json.loads(self.hasup("status", "--json").stdout)

    def pids(self) -> dict[str, int]:
        return {r["name"]: r["pid"] for p in self.status()["programs"] for r in p["replicas"]}

    def ctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", *arguments, check=check)

    def cgroup_is_empty(self) -> bool:
        done = self.machine.run(
            "sh", "-c", f"cat $(find /sys/fs/cgroup/system.slice/{UNIT} -name cgroup.procs) </dev/null", check=False
        )
        return done.stdout.strip() == ""
