"""The load of dispatchers and of the replicas behind them, as metrics. What a dispatcher does not tell is left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Document = Mapping[str, Any]

# what the dispatcher calls it -> family, its name, what it says
_DISPATCHER: Final = {
    "open": (GaugeMetricFamily, "hasup_dispatcher_open_connections", "Connections that are open"),
    "queued": (GaugeMetricFamily, "hasup_dispatcher_waiting_connections", "Of these, those that wait for a replica"),
    "accepted": (CounterMetricFamily, "hasup_dispatcher_connections", "Connections that were accepted"),
    "refused": (
        CounterMetricFamily,
        "hasup_dispatcher_refused_connections",
        "Of these, those no replica was found for",
    ),
    "full": (GaugeMetricFamily, "hasup_dispatcher_full", "Whether it accepts no more at present"),
}
_BACKEND: Final = {
    "open": (GaugeMetricFamily, "hasup_backend_open_connections", "Connections that are open to a replica"),
    "total": (CounterMetricFamily, "hasup_backend_connections", "Connections that were made to a replica"),
    "failed": (CounterMetricFamily, "hasup_backend_failed_connections", "Connections that a replica did not take"),
    "ejected": (GaugeMetricFamily, "hasup_backend_ejected", "Whether it gets none for a while, as too many failed"),
    "bytes_in": (CounterMetricFamily, "hasup_backend_received_bytes", "What clients sent to a replica"),
    "bytes_out": (CounterMetricFamily, "hasup_backend_sent_bytes", "What a replica sent to clients"),
    "connect_s": (GaugeMetricFamily, "hasup_backend_connect_seconds", "Time to connect, a moving average"),
    "first_byte_s": (
        GaugeMetricFamily, "hasup_backend_first_byte_seconds", "From the request to the answer, a moving average",
    ),
}  # fmt: skip


def loads(programs: Sequence[Document]) -> Iterator[Metric]:
    """Of each program whose dispatcher has told something."""
    told = [(program["name"], program["load"]) for program in programs if program.get("load")]
    if not told:
        return
    for key, (family, name, words) in _DISPATCHER.items():
        made = family(name, words, labels=["program"])
        for program, load in told:
            if key in load:
                made.add_metric([program], load[key])
        yield made
    for key, (family, name, words) in _BACKEND.items():
        made = family(name, words, labels=["program", "replica"])
        for program, load in told:
            for replica, one in load.get("backends", {}).items():
                if key in one:
                    made.add_metric([program, replica], one[key])
        yield made
