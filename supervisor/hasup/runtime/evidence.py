"""What can be seen of a replica at the moment it is found hung, before it is touched."""

import os
from pathlib import Path

from hasup.logs.sinks import Sinks

_LINES = 20
_FILES = 20


def collect(sinks: Sinks, slot: str, pid: int | None) -> dict[str, object]:
    """Its last output, and of its main process: state, where it waits, threads, descriptors, names of its environment.

    Only what can be read; values of the environment are left out, as they may be secret.
    """
    sinks.drain(slot)
    found: dict[str, object] = {"output": sinks.tail(slot, _LINES)}
    if pid is None:
        return found
    root = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in _text(root / "status").splitlines() if ":\t" in line)
    found |= {
        "state": status.get("State"),
        "threads": _number(status.get("Threads")),
        "memory_kib": _number(status.get("VmRSS")),
        "waits_in": _text(root / "wchan").strip("0") or None,
        "kernel_stack": _text(root / "stack").splitlines()[:10] or None,
        "open_files": _open_files(root / "fd"),
        "environment_names": _names(root / "environ"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(text: str | None) -> int | None:
    first = (text or "").split()[:1]
    return int(first[0]) if first and first[0].isdigit() else None


def _open_files(folder: Path) -> dict[str, object] | None:
    """How many there are, and what the first of them are."""
    try:
        numbers = sorted(os.listdir(folder), key=int)
    except OSError:
        return None
    shown = {}
    for number in numbers[:_FILES]:
        try:
            shown[number] = str((folder / number).readlink())
        except OSError:
            continue
    return {"count": len(numbers), "first": shown}


def _names(path: Path) -> list[str] | None:
    try:
        entries = path.read_bytes().split(b"\0")
    except OSError:
        return None
    return sorted(entry.partition(b"=")[0].decode("utf-8", "replace") for entry in entries if b"=" in entry)
