"""``[supervisor] metrics``: scraped while programs and the core die, and gone when it is not wanted any more."""

import contextlib
import os
import re
import signal
import socket
import urllib.error
from http.client import HTTPException
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from tests.e2e.harness import Asking, free_port, get, until

WEB = '[programs.web]\ncommand = "sleep 1000"\nready.after = "100ms"\nrestart.delay = "100ms"\n'


def scrape(url):
    """(name, label values) -> value; None while nobody answers."""
    accept = {"Accept": "application/openmetrics-text; version=1.0.0", "Connection": "close"}
    try:
        with urlopen(Request(url, headers=accept), timeout=20) as answer:
            text = answer.read().decode()
    except (OSError, HTTPException):
        return None
    return {(s.name, *sorted(s.labels.values())): s.value for family in openmetrics(text) for s in family.samples}


def test_scraped_through_deaths_and_until_it_is_not_wanted(hasup):
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    hasup.start(f'[supervisor]\nmetrics = "127.0.0.1:{port}"\n{WEB}')
    assert scrape(url)["hasup_replica_state", "running", "web", "web.1"] == 1
    assert "# TYPE hasup_replica_restarts_total counter" in get(url), "the older format, when not asked otherwise"

    os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)
    ends = ("hasup_replica_run_ends_total", "signal", "web", "web.1")
    until(lambda: (scrape(url) or {}).get(ends) == 1, "the crash is counted")
    core = hasup.status()["supervisor"]["core_pid"]
    os.kill(core, signal.SIGKILL)
    until(lambda: (scrape(url) or {}).get(("hasup_core_restarts_total",)) == 1, "the next core is asked")
    assert scrape(url)[ends] == 1

    with contextlib.ExitStack() as peers:  # that say nothing, half of something, or nonsense
        for text in (b"", b"GET /metrics HT", b"\0" * 1000, b"GET " + b"/" * 100_000) * 3:
            peer = peers.enter_context(socket.create_connection(("127.0.0.1", port)))
            with contextlib.suppress(OSError):
                peer.sendall(text)
        until(lambda: scrape(url), "it answers in spite of them")

    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"http://127.0.0.1:{port}/else")
    assert [p["name"] for p in hasup.status()["programs"]] == ["web"]

    hasup.write(WEB)
    hasup.run("reload")
    until(lambda: scrape(url) is None, "nobody listens any more")
    assert hasup.replica("web.1")["restarts"] == 1, "the program was not touched"


def test_the_load_of_a_dispatcher_and_what_is_counted_of_its_replicas(hasup):
    port = free_port()
    hasup.start(
        '[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nport = "auto"\nready.notify = true\n'
        f'listen = "127.0.0.1:{port}"\nrestart = {{ delay = "20ms", factor = 1 }}\n'
    )
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more(20)
    os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)
    hasup.wait("web.1", "back", lambda one: one["restarts"] == 1 and one["ready"])

    def shown():
        found = {
            (s.name, *sorted(s.labels.values())): s.value
            for family in openmetrics(hasup.run("metrics").stdout)
            for s in family.samples
        }
        return found if found.get(("hasup_dispatcher_connections_total", "web"), 0) >= 20 else None

    found = until(shown, "the dispatcher has told of its connections")
    assert ("hasup_backend_first_byte_seconds", "web", "web.1") in found
    assert found["hasup_replica_restart_causes_total", "signal", "web", "web.1"] == 1
    assert found["hasup_replica_state_seconds_total", "running", "web", "web.1"] > 0
    assert found["hasup_loop_lag_seconds_count",] > 0
    assert "web listens on" in hasup.run("status").stdout
    assert re.search(r"needs 1; \d+ connection", hasup.run("status").stdout)


def test_at_a_unix_socket(hasup):
    hasup.start(f'[supervisor]\nmetrics = "unix:metrics.sock"\n{WEB}')
    path = hasup.state_dir / "metrics.sock"

    def asked():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20)
            peer.connect(str(path))
            peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: peer.recv(65536), b"")).decode()

    assert 'hasup_replica_ready{program="web",replica="web.1"} 1.0' in until(asked, "an answer")
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: "hasup_core_restarts_total 1.0" in (asked() or ""), "the next core is asked")
    hasup.run("stop")
    hasup.start()
    assert "hasup_core_restarts_total 0.0" in until(asked, "an answer, over what was left of the socket")


def test_an_address_that_others_reach_is_a_fault(hasup):
    hasup.write(f'[supervisor]\nmetrics = "0.0.0.0:9464"\n{WEB}')
    assert "expected a port of the loopback" in hasup.run("check", code=2).stderr
