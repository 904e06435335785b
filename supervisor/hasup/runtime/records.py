"""Evidence on disk: ``state_dir/evidence/SLOT/GENERATION.json``, one file a run, the newest few of each replica."""

import json
import os
import shutil
from typing import Any, Final

import msgspec

FOLDER: Final = "evidence"
KEPT: Final = 5
MOST_BYTES: Final = 65_536

Record = dict[str, Any]


def write(state_dir: str, slot: str, generation: int, record: Record) -> None:
    """Write it in one step, and drop what is too old. Raises OSError."""
    folder = os.path.join(state_dir, FOLDER, slot)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    target = path(state_dir, slot, generation)
    with open(f"{target}.new", "wb", opener=_private) as file:
        file.write(_bounded(record))
    os.replace(f"{target}.new", target)
    for old in generations(state_dir, slot)[:-KEPT]:
        os.unlink(path(state_dir, slot, old))


def path(state_dir: str, slot: str, generation: int) -> str:
    """Where the evidence on one run is."""
    return os.path.join(state_dir, FOLDER, slot, f"{generation}.json")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _bounded(record: Record) -> bytes:
    """As JSON, with less and less in it until it is small enough."""
    data = msgspec.json.encode(record)
    for drop in ("samples", "looks", "output", "stack"):
        if len(data) <= MOST_BYTES:
            break
        record = {name: value for name, value in record.items() if name != drop} | {"cut": True}
        data = msgspec.json.encode(record)
    return data


def generations(state_dir: str, slot: str) -> list[int]:
    """Of which runs there is evidence, the newest last; a hasup that is started anew counts from 1 again."""
    found = []
    try:
        for entry in os.scandir(os.path.join(state_dir, FOLDER, slot)):
            number, dot, ending = entry.name.partition(".")
            if number.isdecimal() and f"{dot}{ending}" == ".json":
                found.append((entry.stat().st_mtime_ns, int(number)))
    except OSError:
        return []
    return [number for _, number in sorted(found)]


def read(state_dir: str, slot: str, generation: int) -> Record | None:
    """The evidence on one run; None when there is none that can be read."""
    try:
        with open(path(state_dir, slot, generation), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def slots(state_dir: str) -> list[str]:
    """The replicas on which there is evidence."""
    try:
        return sorted(os.listdir(os.path.join(state_dir, FOLDER)))
    except OSError:
        return []


def prune(state_dir: str, before: float) -> None:
    """Drop what is known of replicas on which nothing was written since ``before`` (seconds since 1970)."""
    for slot in slots(state_dir):
        folder = os.path.join(state_dir, FOLDER, slot)
        try:
            if os.stat(folder).st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
