"""Rolling reloads while requests flow: a healthy version drops none, a broken one changes nothing."""

import os
import signal
import subprocess

import pytest

from tests.e2e.harness import Asking, Hasup, alive, free_port, until
from tests.e2e.test_real import GUNICORN, SERVERS


def proxied(port: int, more: str = "") -> str:
    return (
        f'[programs.web]\ncommand = "sh web.sh"\nport = "auto"\nreplicas = 3\nrestart.delay = "200ms"\n'
        f'listen = "127.0.0.1:{port}"\nready.http = "http://127.0.0.1:${{PORT}}/healthz"\n{more}'
    )


def shared(port: int, more: str = "") -> str:
    return (
        f'[programs.web]\ncommand = "sh web.sh"\nreplicas = 3\nrestart.delay = "200ms"\nready.notify = true\n'
        f'listen = {{ address = "127.0.0.1:{port}", mode = "share" }}\n{more}'
    )


def write(hasup: Hasup, script: str = 'exec "$HASUP_PYTHON" -m hasup.demo.web') -> None:
    hasup.write(f"{script}\n", "web.sh")


BROKEN = "exit 3"
MODES = pytest.mark.parametrize("mode", [proxied, shared])


def pids(hasup: Hasup) -> dict[str, int]:
    return {name: replica["pid"] for name, replica in hasup.replicas().items()}


@MODES
def test_a_healthy_version_drops_nothing(hasup, mode):
    write(hasup)
    port = free_port()
    hasup.start(mode(port))
    before = pids(hasup)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        assert "reloaded web.1, web.2, web.3" in hasup.run("reload", "web").stdout
        client.more()
    after = hasup.replicas()
    assert after.keys() == before.keys(), "who stood in has gone"
    assert all(after[name]["ready"] and after[name]["pid"] != before[name] for name in before)
    assert client.failures == []
    stood_in = [event for event in hasup.events(replica="web.4") if event["to"] == "running"]
    assert len(stood_in) == 1
    first_end = min(e["seq"] for e in hasup.events(to="stopping") if e["replica"] in before)
    assert stood_in[0]["seq"] < first_end, "the new one was ready before an old one was ended"


@MODES
def test_a_broken_version_changes_nothing(hasup, mode):
    write(hasup)
    port = free_port()
    hasup.start(mode(port))
    before = pids(hasup)
    write(hasup, BROKEN)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        done = hasup.run("reload", "web", code=1)
        client.more()
    assert "web was not reloaded: web.4 did not become ready: exited with code 3" in done.stderr
    assert pids(hasup) == before
    assert client.failures == []
    assert [event["program"] for event in hasup.events(event="reload-failed")] == ["web"]


def test_a_changed_file_that_is_broken_is_rolled_back(hasup):
    write(hasup)
    port = free_port()
    text = proxied(port)
    hasup.start(text)
    before = pids(hasup)
    hasup.write(text.replace("replicas = 3", "replicas = 4").replace("sh web.sh", "sh -c 'exit 4'"))
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        done = hasup.run("reload", code=1)
        assert "web.4 did not become ready: exited with code 4" in done.stderr
        assert pids(hasup) == before
        assert "~ web: is restarted" in hasup.run("diff").stdout, "the old configuration is in force"
        os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
        until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "a new core")
        assert "~ web: is restarted" in hasup.run("diff").stdout, "for a new core as well"
        os.kill(before["web.2"], signal.SIGKILL)
        hasup.wait("web.2", "is started again as it was", lambda r: r["ready"] and r["pid"] != before["web.2"])
        hasup.write(text.replace("replicas = 3", "replicas = 4\nenv.X = '1'"))
        hasup.run("reload")
        client.more()
    after = hasup.replicas()
    assert after.keys() == {"web.1", "web.2", "web.3", "web.4"}
    assert not set(pids(hasup).values()) & set(before.values())
    assert len(client.failures) <= 1, "at most the request that web.2 had when it was killed"
    assert hasup.run("diff").stdout == "nothing differs\n"


@pytest.mark.parametrize("healthy", [True, False])
def test_the_core_is_killed_in_the_middle(hasup, healthy):
    """The command asks the next core again, which goes on or goes back."""
    write(hasup)
    port = free_port()
    hasup.start(proxied(port, "stop.timeout = '5s'\n"))
    before = pids(hasup)
    slow = 'sleep 1; exec "$HASUP_PYTHON" -m hasup.demo.web' if healthy else "sleep 2; exit 3"
    write(hasup, slow)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        reload = hasup.popen("reload", "web", stderr=subprocess.STDOUT)
        for killed in range(1, 4 if healthy else 2):
            name = f"web.{4 if killed == 1 else killed - 1}"
            until(
                lambda name=name: (r := hasup.replicas().get(name)) and r["state"] == "starting" and r["pid"],
                f"{name} starts",
            )
            os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
            until(lambda n=killed: hasup.status()["supervisor"]["core_restarts"] == n, "a new core")
        said = reload.communicate(timeout=60)[0]
        client.more()
    assert reload.returncode == (0 if healthy else 1), said
    after = pids(hasup)
    assert after.keys() == before.keys()
    assert all((after[name] != before[name]) == healthy for name in before)
    assert client.failures == []


def test_so_many_at_a_time(hasup):
    write(hasup)
    port = free_port()
    hasup.start(proxied(port, "reload.max_unavailable = 2\n"))
    before = pids(hasup)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        hasup.run("reload", "web")
    assert all(pid != before[name] for name, pid in pids(hasup).items())
    assert client.failures == []
    ends = [event["replica"] for event in hasup.events(to="stopping") if event["replica"] in before]
    first_back = min(e["seq"] for e in hasup.events(to="running") if e["seq"] > hasup.events(to="stopping")[0]["seq"])
    at_once = [e for e in hasup.events(to="stopping") if e["replica"] in before and e["seq"] < first_back]
    assert len(ends) == 3
    assert len(at_once) == 2
    assert hasup.events(replica="web.4") == [], "nobody stands in"


def test_without_rollback_it_goes_on_trying(hasup):
    write(hasup)
    port = free_port()
    hasup.start(proxied(port, "reload.rollback = false\n"))
    before = pids(hasup)
    write(hasup, BROKEN)
    done = hasup.run("reload", "web", code=1)
    assert "did not become ready: exited with code 3" in done.stderr
    assert {name: pid for name, pid in pids(hasup).items() if name in before} == before
    write(hasup)
    until(lambda: hasup.events(event="reloaded"), "the version is mended, and taken over")
    until(lambda: hasup.replicas().keys() == before.keys(), "who stood in has gone")
    assert not any(alive(pid) for pid in before.values())


def test_stopped_in_the_middle(hasup):
    write(hasup)
    hasup.start(proxied(free_port()))
    write(hasup, "exec sleep 1000")
    reload = hasup.popen("reload", "web")
    until(lambda: "web.4" in hasup.replicas(), "one stands in")
    hasup.run("stop", "web")
    assert reload.wait(60) is not None
    until(lambda: hasup.replicas().keys() == {"web.1", "web.2", "web.3"}, "who stood in has gone")
    assert {r["state"] for r in hasup.replicas().values()} == {"stopped"}


# --- programs of other people ---------------------------------------------------------------------------------------
REAL = {  # server -> the command, and the line by which it is ready: gunicorn loads the program before that
    "gunicorn": (f"{GUNICORN} --preload --bind 127.0.0.1:${{PORT}} app:app", "Booting worker"),
    "uvicorn": (SERVERS["uvicorn"][1], "running on"),
}


@pytest.mark.e2e
@pytest.mark.parametrize("server", REAL)
def test_real_servers(hasup, server):
    pytest.importorskip(server)
    app, (command, says) = SERVERS[server][0], REAL[server]
    hasup.write(app, "app.py")
    port = free_port()
    hasup.start(
        f'[programs.app]\ncommand = "{command}"\nreplicas = 2\nready.log = "{says}"\nrestart.delay = "2s"\n'
        f'port = "auto"\nlisten = "127.0.0.1:{port}"\n'
    )
    before = pids(hasup)
    with Asking(f"http://127.0.0.1:{port}/") as client:
        client.more()
        hasup.run("reload", "app")
        client.more()
        after = pids(hasup)
        hasup.write("raise SystemExit(3)\n", "app.py")
        assert "app.3 did not become ready" in hasup.run("reload", "app", code=1).stderr
        client.more()
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert pids(hasup) == after
    assert client.failures == []
