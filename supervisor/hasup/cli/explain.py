"""Finds what is known of a replica, and tells it: from the journal, the evidence, and hasup itself when it runs."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from hasup.cli.errors import UNKNOWN_NAME, Failure
from hasup.cli.eventlist import JOURNAL_NAME
from hasup.cli.incident import Incident, last_incident, seconds
from hasup.cli.locate import state_dir
from hasup.cli.statusview import chosen
from hasup.cli.story import document, page
from hasup.cli.terminal import terminal, write_json
from hasup.control.client import ConnectionLost, ControlClient, NotRunning
from hasup.journal.reader import Unreadable, read_events
from hasup.model.spec import Config
from hasup.model.status import EventRecord
from hasup.runtime import records

_EVENTS = 500  # of one replica
_ALL_EVENTS = 10_000  # of all that are asked about, to find their names

Slots = dict[str, dict[str, Any] | None]  # replicas, each with its status when hasup runs

_GONE: dict[str, Any] = {
    "state": "gone", "reason": "it was scaled away, or stood in for others during a reload", "ready": False,
    "next_start_s": None, "degraded": False,
}  # fmt: skip


class Known(NamedTuple):
    """Everything there is on one replica. ``status`` is None when hasup does not run."""

    name: str
    events: Sequence[EventRecord]
    incident: Incident | None
    record: records.Record
    path: str | None  # of the evidence
    status: dict[str, Any] | None
    scaled: dict[str, Any] | None = None  # how its program stands, when that is scaled by its load


def show(config: str | None, names: Sequence[str], as_json: bool) -> int:
    """Print the story of each name."""
    directory = state_dir(config, os.environ, os.getcwd())
    status = _status(directory)
    now = time.time()
    try:
        slots = [
            _of_running(status, directory, name) if status else _of_stopped(config, directory, name) for name in names
        ]
        told = [_scaled(status, *_choose(directory, found, now)) for found in slots]
    except Unreadable as error:
        raise Failure(str(error)) from error
    if as_json:
        documents = [document(known, others) for known, others in told]
        write_json(documents[0] if len(documents) == 1 else documents)
    else:
        screen = terminal()
        sys.stdout.write("\n".join(page(known, others, screen, now) for known, others in told))
    return 0


def _status(directory: str) -> dict[str, Any] | None:
    for _ in range(5):
        try:
            with ControlClient(directory) as client:
                answer: dict[str, Any] = client.call("status", None, 30.0)
                return answer
        except NotRunning:
            return None
        except ConnectionLost:  # the core is being replaced
            continue
    return None


def _choose(directory: str, slots: Slots, now: float) -> tuple[Known, list[str]]:
    """The one of these that was in trouble last, and the others that were."""
    everything = [_look(directory, slot, state, now) for slot, state in slots.items()]
    everything.sort(key=lambda known: seconds(known.incident.at) if known.incident else 0.0, reverse=True)
    others = [known.name for known in everything[1:] if known.incident is not None]
    return everything[0], others


def _scaled(status: dict[str, Any] | None, known: Known, others: list[str]) -> tuple[Known, list[str]]:
    name = known.name.rpartition(".")[0]
    programs = status["programs"] if status is not None else ()
    scaled = next((program.get("autoscale") for program in programs if program["name"] == name), None)
    return known._replace(scaled=scaled), others


def _of_running(status: dict[str, Any], directory: str, name: str) -> Slots:
    """The replicas of a program or group, or this one; also those that are gone but left evidence."""
    known = {replica["name"] for program in status["programs"] for replica in program["replicas"]}
    gone = [slot for slot in records.slots(directory) if slot not in known and ":" not in slot]
    if name in gone:
        return {name: _GONE}
    programs = chosen(status, [name])["programs"]
    found: Slots = {r["name"]: r for program in programs for r in program["replicas"]}
    if name not in known:  # a program or group, as a whole
        whole = {program["name"] for program in programs}
        found |= {slot: _GONE for slot in gone if slot.rpartition(".")[0] in whole}
    if not found:
        raise Failure(f"{name} has no replicas", UNKNOWN_NAME)
    return found


def _of_stopped(config: str | None, directory: str, name: str) -> Slots:
    """The same by the configuration, as far as it can be read, and by what the journal and the evidence know."""
    written = _configuration(config)
    programs = [name]
    if written is not None and name in written.groups:
        programs = list(written.groups[name].programs)
    found = {e.replica for e in read_events(_journal(directory), names=programs, limit=_ALL_EVENTS) if e.replica}
    found |= {slot for slot in records.slots(directory) if slot == name or slot.rpartition(".")[0] in programs}
    for program in programs:
        replicas = written.programs[program].replicas if written is not None and program in written.programs else 0
        found |= {f"{program}.{index}" for index in range(1, replicas + 1)}
    slots = sorted(slot for slot in found if ":" not in slot or slot == name)
    if not slots:
        raise Failure(f"hasup is not running, and nothing is known of a program or replica {name!r}", UNKNOWN_NAME)
    return dict.fromkeys(slots)


def _configuration(config: str | None) -> Config | None:
    from pathlib import Path

    from hasup.config import ConfigError, load

    try:
        return load(Path(config) if config else None, os.environ, Path.cwd())
    except ConfigError:
        return None


def _look(directory: str, slot: str, status: dict[str, Any] | None, now: float) -> Known:
    events = [event for event in read_events(_journal(directory), names=[slot], limit=_EVENTS) if event.replica == slot]
    incident = last_incident(events, now)
    record: records.Record = {}
    path = None
    if incident is not None and incident.generation is not None:
        record = records.read(directory, slot, incident.generation) or {}
        path = records.path(directory, slot, incident.generation) if record else None
    return Known(slot, events, incident, record, path, status)


def _journal(directory: str) -> str:
    return os.path.join(directory, JOURNAL_NAME)
