"""Builds ``supervisor/hasup/guardian/_child.c``, where there is a compiler for it; hasup works without it, slower."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "supervisor/hasup/guardian/_child.c"
TARGET = "hasup/guardian/_child.so"
# The child must not touch the C library: it is not linked, and nothing is checked by its means.
FLAGS = [
    "-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-nostdlib", "-fvisibility=hidden",
    "-fno-stack-protector", "-fno-sanitize=all", "-U_FORTIFY_SOURCE",
]  # fmt: skip


class ChildHook(BuildHookInterface[Any]):
    """Puts the library into wheels; beside its source for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it builds a target."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        beside = root / "supervisor" / TARGET
        self.folder = tempfile.TemporaryDirectory(prefix="hasup-build-")
        built = Path(self.folder.name) / beside.name
        fault = build(root / SOURCE, built)
        if fault:
            self.app.display_warning(f"hasup: starts of programs will be slower: {SOURCE} was not built: {fault}")
            if version == "editable":
                beside.unlink(missing_ok=True)  # of another day
        elif version == "editable":
            shutil.copy(built, f"{beside}.new")
            os.replace(f"{beside}.new", beside)  # a guardian may have the old one loaded
        else:
            build_data["force_include"][str(built)] = TARGET
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling when the target is built."""
        if self.target_name == "wheel":
            self.folder.cleanup()


def build(source: Path, target: Path) -> str:
    """Compile; returns why not, "" when it is done."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"not written for {platform.machine()}"
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        return "no C compiler (cc, gcc, clang, or what CC names)"
    done = subprocess.run([compiler, *FLAGS, "-o", target, source], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{compiler} said: {done.stderr.strip()}"
