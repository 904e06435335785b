"""Real programs that are scaled by their load."""

import os
import signal
import socket
from contextlib import ExitStack

from tests.e2e.harness import Asking, Hasup, free_port, until

WEB = """
[programs.web]
command = "${HASUP_PYTHON} -m hasup.demo.web"
listen = "127.0.0.1:PORT"
ready.notify = true
replicas = { max = 4, target_connections = 10, smoothing = "500ms", cooldown = "2s" }
"""

# Uses a processor as long as there is a file "busy".
WORKER = """
import os, time, hasup
hasup.ready()
while True:
    while os.path.exists("busy"):
        pass
    time.sleep(0.5)  # nothing to do
"""


def scaled(hasup: Hasup) -> dict:
    return hasup.status()["programs"][0]["autoscale"]


def ready(hasup: Hasup) -> list[str]:
    return [name for name, known in hasup.replicas().items() if known["ready"]]


def changes(hasup: Hasup) -> list[str]:
    return [event["reason"] for event in hasup.events(event="scale")]


def test_open_connections_scale_up_and_down_again_and_no_request_is_lost(hasup):
    port = free_port()
    hasup.start(WEB.replace("PORT", str(port)))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        with ExitStack() as held:
            for _ in range(25):
                held.enter_context(socket.create_connection(("127.0.0.1", port)))
            until(lambda: ready(hasup) == ["web.1", "web.2", "web.3"], "three replicas")
            assert changes(hasup)[-1].endswith(" to 3")
            assert "connections per replica, over the target of 10: " in changes(hasup)[0]

            os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
            until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
            until(lambda: scaled(hasup)["connections"], "it has seen the load itself")
            assert scaled(hasup)["replicas"] == 3
            until(lambda: {text.split()[0] for text in client.answers[-9:]} == {"web.1", "web.2", "web.3"}, "all serve")
        until(lambda: list(hasup.replicas()) == ["web.1"], "one replica")
        client.more()
    assert client.failures == [], "those that went had drained"
    assert changes(hasup)[-1].endswith(" to 1")
    assert "under the target of 10 for 2 s: " in changes(hasup)[-1]
    assert {event["program"] for event in hasup.events(event="scale")} == {"web"}
    assert "web: replicas 1 (1..4)" in hasup.run("status").stdout


def test_an_operator_holds_the_number_and_lets_go(hasup):
    port = free_port()
    hasup.start(WEB.replace("PORT", str(port)))
    hasup.run("scale", "web=5")
    assert len(ready(hasup)) == 5, "also beyond max"
    assert (scaled(hasup)["held"], scaled(hasup)["replicas"]) == (True, 5)
    assert changes(hasup) == ["scaled from 1 to 5 by operator; held there until: hasup scale web=auto"]
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
    assert (scaled(hasup)["held"], scaled(hasup)["replicas"]) == (True, 5)
    until(lambda: hasup.status()["programs"][0]["load"], "it is told of the load, though nothing moves")
    hasup.run("scale", "web=auto")
    until(lambda: list(hasup.replicas()) == ["web.1"], "as the load needs")
    assert hasup.run("scale", "web=aut", code=2).stderr.startswith("hasup: 'web=aut' is no NAME=N")


def test_a_number_cannot_be_left_to_the_load(hasup):
    hasup.start('[programs.web]\ncommand = "sleep 1000"\nready.after = 0\n')
    told = hasup.run("scale", "web=auto", code=2).stderr
    assert told == "hasup: web is not scaled by its load: write replicas as a table first\n"
    hasup.write(
        '[programs.web]\ncommand = "sleep 1000"\nready.after = 0\nreplicas = { min = 2, max = 3, target_cpu = "60%" }\n'
    )
    assert 'replicas: 1 → {"min":2,"max":3,"target_cpu":60.0}' in hasup.run("diff").stdout
    hasup.run("reload")
    assert ready(hasup) == ["web.1", "web.2"]
    hasup.run("scale", "web=auto")


def test_processor_time_scales_up_and_down_again(hasup):
    hasup.write(WORKER, "worker.py")
    busy = hasup.write("", "busy")
    hasup.start(
        '[programs.worker]\ncommand = "${HASUP_PYTHON} worker.py"\nready.notify = true\n'
        'replicas = { max = 2, target_cpu = "2%", smoothing = "500ms", cooldown = "2s" }\n'
    )
    until(lambda: ready(hasup) == ["worker.1", "worker.2"], "two replicas")
    limited = until(lambda: hasup.events(event="scale-limited"), "max is too few")
    assert limited[0]["reason"].endswith(" would be needed, and max is 2")
    busy.unlink()
    until(lambda: list(hasup.replicas()) == ["worker.1"], "one replica")
    first, *_, last = changes(hasup)
    assert first.startswith("cpu ")
    assert first.endswith("% of a core per replica, over the target of 2%: 1 to 2, its max")
    assert last.endswith("% of a core per replica, under the target of 2% for 2 s: 2 to 1")
