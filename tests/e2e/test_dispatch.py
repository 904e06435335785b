"""Connections to a program, spread over its replicas by the whole of hasup."""

import contextlib
import os
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.harness import PATIENCE_S, Asking, free_port, get, state_of, until


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
    kills = 0
    with Asking(f"http://127.0.0.1:{port}/") as client:
        while len(client.answers) + len(client.failures) < 1000:
            pid = hasup.replica("web.1")["pid"]
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
    assert kills > 0
    assert [failure for failure in client.failures if "refused" in failure] == []
    assert len(client.failures) <= kills, "at most the request in flight at each kill"


def test_the_dispatcher_is_killed(hasup):
    port = free_port()
    hasup.start(web(port))
    for number in range(1, 4):
        status = hasup.status()["programs"][0]["dispatcher"]
        os.kill(status["pid"], signal.SIGKILL)
        assert get(f"http://127.0.0.1:{port}/").startswith("web."), "the connection waits for the next dispatcher"
        until(lambda n=number: hasup.status()["programs"][0]["dispatcher"]["restarts"] == n, "restarted")


def test_the_dispatcher_is_killed_while_requests_flow(hasup):
    port = free_port()
    hasup.start(web(port))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        for number in range(1, 4):
            client.more()
            os.kill(hasup.status()["programs"][0]["dispatcher"]["pid"], signal.SIGKILL)
            until(lambda n=number: hasup.status()["programs"][0]["dispatcher"]["restarts"] == n, "restarted")
        client.more()
    assert [failure for failure in client.failures if "refused" in failure] == []
    assert len(client.failures) <= 3, "at most the request in flight at each kill"


def test_the_core_is_killed_while_requests_flow(hasup):
    port = free_port()
    hasup.start(web(port))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        for number in range(1, 4):
            client.more()
            os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
            until(lambda n=number: hasup.status()["supervisor"]["core_restarts"] == n, "a new core")
        client.more()
    assert client.failures == [], "nobody notices"
    assert {answer.split()[0] for answer in client.answers[-20:]} == {"web.1", "web.2", "web.3"}


def test_a_stopped_replica_gets_no_more(hasup):
    port = free_port()
    hasup.start(web(port))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        hasup.run("stop", "web.2")
        since = len(client.answers) + 1  # one may have been answered just before
        client.more()
        assert {answer.split()[0] for answer in client.answers[since:]} == {"web.1", "web.3"}
        hasup.run("start", "web.2")
        client.more()
    assert "web.2" in {answer.split()[0] for answer in client.answers[-10:]}
    assert client.failures == []


def test_scaling_loses_no_request(hasup):
    port = free_port()
    hasup.start(web(port))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        for size in (5, 1, 4, 2):
            client.more()
            hasup.run("scale", f"web={size}")
            client.more()
            assert {answer.split()[0] for answer in client.answers[-10:]} == {f"web.{n + 1}" for n in range(size)}
    assert client.failures == []


def test_a_request_that_takes_longer_than_the_drain_timeout_is_answered(hasup):
    port = free_port()
    slow = web(port).replace("hasup.demo.web", "hasup.demo.web --slow 2").replace("replicas = 3", "replicas = 2")
    hasup.start(slow.replace('"proxy"', '"proxy", drain_timeout = "100ms"'))
    with ThreadPoolExecutor() as clients:
        answers = [clients.submit(get, f"http://127.0.0.1:{port}/", PATIENCE_S) for _ in range(4)]
        until(lambda: hasup.status()["programs"][0]["load"]["accepted"] >= 4, "they are with the replicas")
        hasup.run("scale", "web=1")
        assert Counter(answer.result().split()[0] for answer in answers) == {"web.1": 2, "web.2": 2}


def test_the_dispatcher_stays_while_the_replicas_behind_it_are_restarted_or_signalled(hasup):
    port = free_port()
    hasup.start(web(port).replace('"proxy"', '"proxy", drain_timeout = "1h"'))
    dispatcher = hasup.status()["programs"][0]["dispatcher"]["pid"]
    with socket.create_connection(("127.0.0.1", port)):  # open, and never used: nothing to wait for
        hasup.run("restart", "web")
        assert hasup.run("signal", "web", "CONT").stdout == "sent SIGCONT to web.1, web.2, web.3\n"
    assert hasup.status()["programs"][0]["dispatcher"]["pid"] == dispatcher
    assert {get(f"http://127.0.0.1:{port}/").split()[0] for _ in range(9)} == {"web.1", "web.2", "web.3"}


def test_every_replica_serves_a_shared_socket(hasup):
    port = free_port()
    hasup.start(web(port, "share"))
    pids = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    for name in pids:
        others = [pid for other, pid in pids.items() if other != name]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        until(lambda o=others: [state_of(pid) for pid in o] == ["T", "T"], "the others are stopped")
        assert {get(f"http://127.0.0.1:{port}/").split()[0] for _ in range(5)} == {name}
        for pid in others:
            os.kill(pid, signal.SIGCONT)


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
