"""Connections to a program, spread over its replicas by the whole of hasup."""

import contextlib
import os
import signal
import threading
import urllib.error
from collections import Counter

import pytest

from tests.e2e.harness import free_port, get, until


def web(port: int, mode: str = "proxy") -> str:
    return (
        '[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nport = "auto"\nreplicas = 3\n'
        f'listen = {{ address = "127.0.0.1:{port}", mode = "{mode}" }}\nready.notify = true\n'
        'restart = { delay = "20ms", factor = 1 }\n'
    )


def test_a_thousand_requests_are_spread_evenly(hasup):
    port = free_port()
    hasup.start(web(port))
    spread = Counter(get(f"http://127.0.0.1:{port}/").split()[0] for _ in range(1000))
    assert sorted(spread.values()) == [333, 333, 334]


@pytest.mark.parametrize("mode", ["proxy", "share"])
def test_a_thousand_requests_while_a_replica_is_killed_again_and_again(hasup, mode):
    port = free_port()
    hasup.start(web(port, mode))
    stop, kills = threading.Event(), [0]

    def kill() -> None:
        while not stop.is_set():
            pid = hasup.replica("web.1")["pid"]
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills[0] += 1

    killer = threading.Thread(target=kill)
    killer.start()
    failures = []
    try:
        for _ in range(1000):
            try:
                get(f"http://127.0.0.1:{port}/")
            except (OSError, urllib.error.URLError) as error:
                failures.append(repr(error))
    finally:
        stop.set()
        killer.join()
    assert kills[0] > 0
    assert [failure for failure in failures if "refused" in failure] == []
    assert len(failures) <= kills[0], "at most the request in flight at each kill"


def test_the_dispatcher_is_killed(hasup):
    port = free_port()
    hasup.start(web(port))
    for number in range(1, 4):
        status = hasup.status()["programs"][0]["dispatcher"]
        os.kill(status["pid"], signal.SIGKILL)
        assert get(f"http://127.0.0.1:{port}/").startswith("web."), "the connection waits for the next dispatcher"
        until(lambda n=number: hasup.status()["programs"][0]["dispatcher"]["restarts"] == n, "restarted")


def test_an_address_that_is_taken(hasup):
    port = free_port()
    hasup.start(web(port))
    (hasup.folder / "other").mkdir()
    (hasup.folder / "other" / "hasup.toml").write_text(web(port))
    done = hasup.run("start", "-d", "-c", "other/hasup.toml", code=1)
    try:
        assert f"cannot listen on 127.0.0.1:{port}: the address is in use" in done.stderr
    finally:
        hasup.run("stop", "-c", "other/hasup.toml")
