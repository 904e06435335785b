"""``hasup metrics``: what the status and the journal say, in the formats of Prometheus."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from tests.support.cli import Place, program, replica, status
from tests.support.hour import write_an_hour

DOCUMENT = Path(__file__).parents[3] / "docs" / "how-to" / "metrics.md"
PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (see .ci/run)")


def samples(text: str, parse: Any = openmetrics) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names) -> value."""
    found = {}
    for family in parse(text):
        for one in family.samples:
            found[one.name, *(value for _, value in sorted(one.labels.items()))] = one.value
    return found


BACKEND = {
    "open": 3, "total": 40, "failed": 2, "ejected": False, "bytes_in": 1000, "bytes_out": 2000, "connect_s": 0.0002,
    "first_byte_s": 0.012, "of_a_later_version": [1],
}  # fmt: skip
LOAD = {"accepted": 43, "open": 4, "queued": 1, "refused": 2, "full": False, "backends": {"web.1": BACKEND}, "more": {}}
LAG = {"longest_s": 0.02, "sum_s": 0.5, "buckets": {"0.001": 90, "0.025": 100, "+Inf": 100}}


@pytest.fixture
def running(place: Place) -> Place:
    write_an_hour(place)
    failing = replica(
        "web.2", "backoff", False, next_start_s=1.5, restarts=3, restarted_for={"signal": 2, "heartbeat": 1},
        seconds_in_state={"running": 90.5, "backoff": 3.0},
    )  # fmt: skip
    web = program("web", replica("web.1"), failing, need=2, load=LOAD)
    answer = status(web, state_dir=str(place.state_dir), degraded=["journal: disk full"], loop_lag=LAG)
    place.answers(status=answer)
    return place


def test_openmetrics(running: Place) -> None:
    code, out, err = running.hasup("metrics")
    assert (code, err) == (0, "")
    assert out.endswith("# EOF\n")
    found = samples(out)
    assert found["hasup_info", "shop", "0.1.0"] == 1
    assert found["hasup_troubles",] == 1
    assert found["hasup_core_restarts_total",] == 0
    assert found["hasup_journal_size_bytes",] > 0
    assert found["hasup_program_ready_replicas", "web"] == 1
    assert found["hasup_program_needed_replicas", "web"] == 2
    assert found["hasup_replica_state", "backoff", "web", "web.2"] == 1
    assert found["hasup_replica_state", "running", "web", "web.2"] == 0
    assert found["hasup_replica_ready", "web", "web.1"] == 1
    assert found["hasup_replica_next_start_seconds", "web", "web.2"] == 1.5
    assert ("hasup_replica_next_start_seconds", "web", "web.1") not in found
    assert found["hasup_replica_cpu_ratio", "web", "web.1"] == pytest.approx(0.001)
    assert found["hasup_replica_restarts_total", "web", "web.2"] == 3


def test_restarts_and_time_by_kind(running: Place) -> None:
    found = samples(running.hasup("metrics").out)
    assert found["hasup_replica_restart_causes_total", "web", "web.2", "signal"] == 2
    assert found["hasup_replica_restart_causes_total", "web", "web.2", "heartbeat"] == 1
    assert found["hasup_replica_state_seconds_total", "web", "web.2", "running"] == 90.5


def test_the_lag_of_the_loop(running: Place) -> None:
    found = samples(running.hasup("metrics").out)
    assert found["hasup_loop_lag_seconds_bucket", "0.001"] == 90
    assert found["hasup_loop_lag_seconds_count",] == 100
    assert found["hasup_loop_lag_longest_seconds",] == 0.02


def test_the_load_of_a_dispatcher(running: Place) -> None:
    found = samples(running.hasup("metrics").out)
    assert found["hasup_dispatcher_open_connections", "web"] == 4
    assert found["hasup_dispatcher_waiting_connections", "web"] == 1
    assert found["hasup_dispatcher_connections_total", "web"] == 43
    assert found["hasup_dispatcher_refused_connections_total", "web"] == 2
    assert found["hasup_dispatcher_full", "web"] == 0
    assert found["hasup_backend_connections_total", "web", "web.1"] == 40
    assert found["hasup_backend_failed_connections_total", "web", "web.1"] == 2
    assert found["hasup_backend_received_bytes_total", "web", "web.1"] == 1000
    assert found["hasup_backend_sent_bytes_total", "web", "web.1"] == 2000
    assert found["hasup_backend_first_byte_seconds", "web", "web.1"] == 0.012


def test_a_core_of_an_earlier_version_tells_less(place: Place) -> None:
    place.answers(status=status(program("web", replica("web.1"), load={"open": 1, "backends": {"web.1": {}}})))
    found = samples(place.hasup("metrics").out)
    assert found["hasup_dispatcher_open_connections", "web"] == 1
    assert found["hasup_replica_ready", "web", "web.1"] == 1
    assert not [name for name, *_ in found if name.startswith(("hasup_backend", "hasup_loop"))]


def test_what_the_journal_counted(running: Place) -> None:
    found = samples(running.hasup("metrics").out)
    assert found["hasup_replica_run_ends_total", "web", "web.1", "exit-code"] == 1
    assert found["hasup_replica_run_ends_total", "web", "web.1", "operator"] == 1
    assert found["hasup_events_total", "core-restarted"] == 1
    assert found["hasup_events_total", "state"] == 18


def test_the_older_format(running: Place) -> None:
    out = running.hasup("metrics", "--format", "prometheus").out
    found = samples(out, prometheus)
    assert found["hasup_replica_restarts_total", "web", "web.2"] == 3


@PROMTOOL
def test_prometheus_own_tool_has_nothing_to_say_against_the_names(running: Place) -> None:
    out = running.hasup("metrics", "--format", "prometheus").out
    checked = subprocess.run(["promtool", "check", "metrics"], input=out, text=True, capture_output=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")


@PROMTOOL
def test_the_alerts_in_the_documentation(tmp_path: Path) -> None:
    rules = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert rules is not None
    (tmp_path / "rules.yml").write_text(rules[1])
    checked = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


@PROMTOOL
def test_the_dashboard_asks_for_metrics_that_there_are(running: Place, tmp_path: Path) -> None:
    known = {name for name, *_ in samples(running.hasup("metrics").out)}
    board = json.loads((DOCUMENT.parent / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert {name for text in asked for name in re.findall(r"hasup_\w+", text)} <= known
    rules = [{"record": f"asked:{n}", "expr": text} for n, text in enumerate(asked)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"], capture_output=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_every_metric_is_in_the_documentation(running: Place) -> None:
    told = DOCUMENT.read_text()
    for name in re.findall(r"^# TYPE (\S+)", running.hasup("metrics").out, re.MULTILINE):
        assert name in told or re.sub("hasup_(replica|dispatcher|backend)", "", name) in told, name


def test_a_journal_that_cannot_be_read_is_no_reason_to_say_nothing(running: Place) -> None:
    for path in running.state_dir.glob("journal.db*"):
        path.write_bytes(b"no database" * 1000)
    found = samples(running.hasup("metrics").out)
    assert found["hasup_program_ready_replicas", "web"] == 1


def test_nobody_runs(place: Place) -> None:
    assert place.hasup("metrics").code == 3


def test_without_the_package(running: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    monkeypatch.delitem(sys.modules, "hasup.cli.exposition", raising=False)
    words = "hasup: metrics need the package prometheus-client; install it with: pip install 'hasup[metrics]'\n"
    assert running.hasup("metrics") == (1, "", words)
