"""hasup as a service of a real systemd, booted in namespaces: the unit that ``hasup export systemd`` writes."""

import http.client
import json
import os
import re
import threading
import urllib.request

import pytest

from tests.chaos.systemd_machine import why_not
from tests.chaos.systemd_service import UNIT, Service
from tests.e2e.harness import free_port, until

REASON = why_not()
if REASON and os.environ.get("CI"):
    raise RuntimeError(f"CI must be able to boot systemd: {REASON}")
pytestmark = [pytest.mark.systemd, pytest.mark.skipif(REASON is not None, reason=str(REASON))]


@pytest.fixture
def service(tmp_path):
    made = []

    def make(config: str, **options: object) -> Service:
        made.append(Service(tmp_path, config, **options))
        return made[-1]

    yield make
    for one in made:
        one.machine.close()


def web(port: int, mode: str = "proxy") -> str:
    return (
        '[supervisor]\nname = "shop"\n'
        '[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nport = "auto"\nreplicas = 2\n'
        f'listen = {{ address = "127.0.0.1:{port}", mode = "{mode}" }}\nready.notify = true\nstop.timeout = "3s"\n'
    )


def answer(port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Connection": "close"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read().decode()


def test_start_status_reload_and_stop(service):
    port = free_port()
    shop = service(web(port))
    shop.ctl("start", UNIT)  # returns when READY=1 was sent
    assert all(replica["ready"] for program in shop.status()["programs"] for replica in program["replicas"])
    assert answer(port).startswith("web.")
    assert shop.machine.show(UNIT, "MainPID") == str(shop.status()["supervisor"]["guardian_pid"])
    assert "2 of 2 replicas ready" in until(lambda: shop.machine.show(UNIT, "StatusText"), "a status text")
    folders = shop.machine.path(f"sys/fs/cgroup/system.slice/{UNIT}")
    assert list(folders.glob("hasup-*/web*1")), "each replica has a cgroup of its own"
    shop.config.write_text(web(port).replace("replicas = 2", "replicas = 3"))
    shop.ctl("reload", UNIT)
    assert shop.pids().keys() == {"web.1", "web.2", "web.3"}
    shop.ctl("stop", UNIT)
    assert shop.machine.show(UNIT, "Result") == "success"
    assert shop.cgroup_is_empty()


def test_the_socket_outlives_a_restart_of_the_unit(service):
    port = free_port()
    shop = service(web(port, "share"))
    shop.ctl("start", UNIT)
    stop, answers, failures = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(answer(port))
            except ConnectionRefusedError as error:
                failures.append(repr(error))
            except (OSError, http.client.HTTPException) as error:  # cut in the middle: stopped while it answered
                if "refused" in str(error):
                    failures.append(str(error))

    client = threading.Thread(target=ask)
    client.start()
    try:
        until(lambda: len(answers) > 10, "requests flow")
        before = shop.pids()
        shop.ctl("restart", UNIT)
        after = shop.pids()
        assert not set(before.values()) & set(after.values())
        count = len(answers)
        until(lambda: len(answers) > count + 10, "requests flow again")
        shop.ctl("kill", "-s", "KILL", UNIT)
        until(lambda: shop.machine.show(UNIT, "NRestarts") == "1", "systemd started it again")
        count = len(answers)
        until(lambda: len(answers) > count + 10, "requests flow again")
    finally:
        stop.set()
        client.join()
    assert failures == [], "no connection was refused"


def test_a_hasup_that_is_stopped_is_killed_by_the_watchdog(service):
    shop = service(web(free_port()), unit_changes={"WatchdogSec=30": "WatchdogSec=2"})
    shop.ctl("start", UNIT)
    pid = shop.machine.show(UNIT, "MainPID")
    shop.machine.run("kill", "-STOP", pid)
    until(lambda: shop.machine.show(UNIT, "NRestarts") == "1", "killed and started again")
    until(lambda: shop.machine.show(UNIT, "ActiveState") == "active", "up again")
    assert shop.machine.show(UNIT, "MainPID") != pid


def test_a_stop_leaves_nothing_of_what_tries_to_stay(service):
    shop = service(
        '[supervisor]\nname = "shop"\n[programs.stay]\nready.after = "300ms"\nstop.timeout = "1s"\n'
        'command = ["sh", "-c", "trap \'\' TERM; (setsid sh -c \'trap \\"\\" TERM; sleep 1000 & sleep 1001\' &) ; '
        'while :; do sleep 1; done"]\n'
    )
    shop.ctl("start", UNIT)
    assert not shop.cgroup_is_empty()
    shop.ctl("stop", UNIT)
    assert shop.cgroup_is_empty()


def test_a_socket_that_systemd_opened(service):
    port = free_port()
    config = web(port, "share").replace(f"127.0.0.1:{port}", "systemd:front")
    shop = service(config)
    shop.machine.add_unit(
        "hasup-shop.socket",
        f"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName=front\n",
    )
    shop.ctl("start", "hasup-shop.socket")
    assert answer(port).startswith("web."), "the first connection starts it"


def test_the_unit_is_well_formed(service):
    shop = service(web(free_port()))
    verified = shop.machine.run("systemd-analyze", "verify", f"/run/systemd/system/{UNIT}", check=False)
    complaints = [line for line in verified.stderr.splitlines() if UNIT in line or "hasup" in line]
    assert complaints == []
    rated = shop.machine.run("systemd-analyze", "security", "--no-pager", UNIT, check=False).stdout
    assert re.search(r"Overall exposure level for .*: \d", rated)


def test_the_journal_gets_fields(service):
    port = free_port()
    shop = service(web(port))
    shop.ctl("start", UNIT)
    os_pid = shop.pids()["web.1"]
    shop.machine.run("kill", "-KILL", str(os_pid))

    def entries(*matches: str) -> list[dict]:
        done = shop.machine.run("journalctl", "-o", "json", "-u", UNIT, *matches)
        return [json.loads(line) for line in done.stdout.splitlines()]

    found = until(lambda: entries("HASUP_REPLICA=web.1", "HASUP_TO=backoff"), "the crash in the journal")[0]
    assert found["PRIORITY"] == "4"
    assert found["SYSLOG_IDENTIFIER"] == "hasup"
    assert found["MESSAGE"] == f"web.1: backoff: {found['HASUP_REASON']}"
    assert "SIGKILL" in found["HASUP_REASON"]
    answer(port)
    printed = until(lambda: [e for e in entries() if "GET /" in e["MESSAGE"]], "what a program wrote")[0]
    assert "web." in printed["MESSAGE"]
    assert [e for e in entries() if "SIGKILL" in e["MESSAGE"] and "HASUP_EVENT" not in e] == [], "said once only"
