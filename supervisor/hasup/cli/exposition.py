"""The running hasup's status, and the totals of its journal, as metrics. Names: docs/how-to/metrics.md."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hasup.cli.errors import Failure
from hasup.cli.eventlist import JOURNAL_NAME
from hasup.cli.link import ANSWER_S
from hasup.cli.loadmetrics import loads
from hasup.control.client import ConnectionLost, ControlClient
from hasup.journal.reader import Unreadable, read_totals
from hasup.model.state import State

try:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
        Metric,
        StateSetMetricFamily,
    )
    from prometheus_client.exposition import generate_latest as prometheus_text
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
except ImportError:
    raise Failure("metrics need the package prometheus-client; install it with: pip install 'hasup[metrics]'") from None

Document = Mapping[str, Any]
Totals = Mapping[tuple[str, str, str], int]

_STATES: Final = [state.value for state in State]
_OF_REPLICA: Final = ("program", "replica")


class Families:
    """What prometheus-client takes for a registry: one reading of everything."""

    def __init__(self, status: Document, totals: Totals, journal_bytes: int) -> None:
        self._status = status
        self._totals = totals
        self._journal_bytes = journal_bytes

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from _own(self._status["supervisor"], self._totals, self._journal_bytes)
        yield from _programs(self._status["programs"])
        replicas = [(p["name"], r) for p in self._status["programs"] for r in p["replicas"]]
        yield from _replicas(replicas)
        yield from _lives(replicas)
        yield from loads(self._status["programs"])
        yield _ends({r["name"]: name for name, r in replicas}, self._totals)


def show(directory: str, form: str) -> int:
    """Print the metrics of the hasup that runs with this state directory."""
    sys.stdout.write(text(directory, form))
    return 0


def text(directory: str, form: str) -> str:
    """The metrics, in this format. Raises NotRunning, ControlError, NoAnswer, ConnectionLost."""
    status = _status(directory)
    path = os.path.join(directory, JOURNAL_NAME)
    try:
        families = Families(status, read_totals(path), _size(path))
    except Unreadable:  # the journal's trouble is told elsewhere, and is no reason to know nothing
        families = Families(status, {}, _size(path))
    generate = openmetrics_text if form == "openmetrics" else prometheus_text
    return generate(families).decode()


def _status(directory: str) -> Document:
    """When the core is replaced meanwhile, the next one is asked."""
    for _ in range(5):
        try:
            with ControlClient(directory) as client:
                answer: Document = client.call("status", timeout=ANSWER_S)
                return answer
        except ConnectionLost:
            continue
    raise ConnectionLost


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _own(own: Document, totals: Totals, journal_bytes: int) -> Iterator[Metric]:
    yield InfoMetricFamily("hasup", "The hasup that runs", {"name": own["name"], "version": own["version"]})
    yield GaugeMetricFamily("hasup_uptime_seconds", "How long it runs", own["uptime_s"])
    yield CounterMetricFamily("hasup_core_restarts", "How often its core was replaced", own["core_restarts"])
    yield GaugeMetricFamily("hasup_troubles", "What hasup has to leave undone now", len(own["degraded"]))
    yield GaugeMetricFamily("hasup_journal_size_bytes", "Size of the journal's file", journal_bytes)
    yield from _lag(own.get("loop_lag"))
    events = CounterMetricFamily("hasup_events", "Events since the journal was begun, by kind", labels=["event"])
    counted: dict[str, int] = {}
    for (_, event, _), count in totals.items():
        counted[event] = counted.get(event, 0) + count
    for event, count in sorted(counted.items()):
        events.add_metric([event], count)
    yield events


def _lag(lag: Document | None) -> Iterator[Metric]:
    if lag is None:
        return
    family = HistogramMetricFamily("hasup_loop_lag_seconds", "How late turns of the core's main loop began")
    family.add_metric([], list(lag["buckets"].items()), lag["sum_s"])
    yield family
    yield GaugeMetricFamily("hasup_loop_lag_longest_seconds", "The latest turn since this core began", lag["longest_s"])


def _programs(programs: list[Document]) -> Iterator[Metric]:
    families = {
        "replicas": ("hasup_program_replicas", "How many replicas a program has"),
        "ready": ("hasup_program_ready_replicas", "How many of them are ready"),
        "need": ("hasup_program_needed_replicas", "How many ready ones count as available"),
    }
    for key, (name, words) in families.items():
        family = GaugeMetricFamily(name, words, labels=["program"])
        for program in programs:
            value = program[key]
            family.add_metric([program["name"]], len(value) if isinstance(value, list) else value)
        yield family


def _replicas(replicas: list[tuple[str, Document]]) -> Iterator[Metric]:
    states = StateSetMetricFamily("hasup_replica_state", "The state of a replica", labels=_OF_REPLICA)
    restarts = CounterMetricFamily("hasup_replica_restarts", "How often it was restarted", labels=_OF_REPLICA)
    for program, replica in replicas:
        labels = [program, replica["name"]]
        states.add_metric(labels, {state: state == replica["state"] for state in _STATES})
        restarts.add_metric(labels, replica["restarts"])
    yield states
    yield restarts
    gauges = {
        "ready": ("hasup_replica_ready", "Whether it can take work", 1.0),
        "wanted": ("hasup_replica_wanted", "Whether it is to run", 1.0),
        "degraded": ("hasup_replica_degraded", "Whether it is slow", 1.0),
        "uptime_s": ("hasup_replica_uptime_seconds", "How long its process lives", 1.0),
        "next_start_s": ("hasup_replica_next_start_seconds", "When it is tried again, from now", 1.0),
        "cpu_percent": ("hasup_replica_cpu_ratio", "Processor use of its processes; 1 is one core", 0.01),
        "memory_bytes": ("hasup_replica_memory_bytes", "Memory of its processes", 1.0),
    }
    for key, (name, words, factor) in gauges.items():
        family = GaugeMetricFamily(name, words, labels=_OF_REPLICA)
        for program, replica in replicas:
            if replica[key] is not None:
                family.add_metric([program, replica["name"]], replica[key] * factor)
        yield family


def _lives(replicas: list[tuple[str, Document]]) -> Iterator[Metric]:
    """What is counted by kind. A core of an earlier version does not tell it."""
    families = {
        "restarted_for": (
            "hasup_replica_restart_causes",
            "How often it was restarted, by what ended the run",
            "result",
        ),
        "seconds_in_state": ("hasup_replica_state_seconds", "How long it was in each state", "state"),
    }
    for key, (name, words, label) in families.items():
        family = CounterMetricFamily(name, words, labels=[*_OF_REPLICA, label])
        for program, replica in replicas:
            for kind, value in replica.get(key, {}).items():
                family.add_metric([program, replica["name"], kind], value)
        yield family


def _ends(programs: Mapping[str, str], totals: Totals) -> Metric:
    """How runs ended, of the replicas that there are now."""
    family = CounterMetricFamily(
        "hasup_replica_run_ends", "How its runs ended, since the journal was begun", labels=[*_OF_REPLICA, "result"]
    )
    for (replica, event, result), count in sorted(totals.items()):
        if event == "state" and result and replica in programs:
            family.add_metric([programs[replica], replica, result], count)
    return family
