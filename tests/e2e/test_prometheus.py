"""A real Prometheus scrapes a real hasup, and answers questions on it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.harness import Hasup, free_port, get, until

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (see .ci/run)")

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: hasup
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
PROGRAMS = """
[programs.web]
command = "sleep 1000"
replicas = 2
ready.after = "100ms"
restart.delay = "100ms"
"""


@contextlib.contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """One that scrapes this port of the loopback; its address."""
    (folder / "prometheus.yml").write_text(CONFIG.format(port=target))
    address = f"127.0.0.1:{free_port()}"
    argv = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (
        open(folder / "prometheus.log", "w") as log,
        subprocess.Popen([*argv, f"--web.listen-address={address}"], stdout=log, stderr=log) as process,
    ):
        try:
            yield address
        finally:
            process.kill()


def ask(address: str, query: str) -> dict[tuple[str, ...], float]:
    """What it answers: values by the replica, or else what its labels say; empty while it can't be asked."""
    try:
        answer = json.loads(get(f"http://{address}/api/v1/query?query={quote(query)}"))
    except (OSError, HTTPException):
        return {}
    assert answer["status"] == "success", answer
    return {
        tuple(value for name, value in sorted(one["metric"].items()) if name not in ("__name__", "instance", "job")): (
            float(one["value"][1])
        )
        for one in answer["data"]["result"]
    }


def test_it_scrapes_and_sees_a_crash(hasup: Hasup, tmp_path: Path) -> None:
    port = free_port()
    hasup.start(f'[supervisor]\nmetrics = "127.0.0.1:{port}"\n{PROGRAMS}')
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with prometheus(folder, port) as address:
        # A scrape that takes too long on a busy machine leaves a gap: each question is asked until it is answered.
        def answers(query: str, expected: dict[tuple[str, ...], float]) -> None:
            until(lambda: ask(address, query) == expected, f"{query} is {expected}")

        answers("up", {(): 1.0})
        answers("hasup_replica_state == 1", {("running", "web", name): 1.0 for name in ("web.1", "web.2")})
        answers("count(hasup_replica_state)", {(): 18.0})  # nine states, and two replicas
        os.kill(hasup.replica("web.2")["pid"], signal.SIGKILL)
        answers('hasup_replica_restart_causes_total{result="signal"}', {("web", "web.2", "signal"): 1.0})
        answers("hasup_program_ready_replicas", {("web",): 2.0})
        late = "histogram_quantile(0.5, hasup_loop_lag_seconds_bucket) >= bool 0"
        answers(late, {(): 1.0})
