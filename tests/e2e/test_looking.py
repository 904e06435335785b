"""The commands that show something, and those about the configuration, wherever it comes from."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.e2e.harness import Hasup, until

TALKERS = """
[supervisor]
name = "shop"
[programs.web]
command = ["sh", "-c", "for n in 1 2 3 4 5; do echo line $n of $HASUP_REPLICA; done; echo oops >&2; exec sleep 1000"]
replicas = 2
ready.log = "oops"
port = "auto"
[programs.tick]
command = ["sh", "-c", "while :; do echo tick; sleep 0.2; done"]
ready.log = "tick"
logs.format = "json"
[programs.bad]
command = "false"
restart = { delay = "1h", max_delay = "1h" }
[groups.back]
programs = ["tick", "bad"]
"""
SUPERVISOR = {"name", "version", "guardian_pid", "core_pid", "uptime_s", "core_restarts", "config"}
PROGRAM = {"name", "kind", "listen", "ready", "need", "replicas"}
REPLICA = {"name", "state", "ready", "wanted", "pid", "port", "uptime_s", "restarts", "last", "next_start_s",
           "cpu_percent", "memory_bytes"}  # fmt: skip
LAST = {"result", "exit_code", "signal", "at"}
EVENT = {"seq", "at", "event", "from", "to", "reason", "detail"}
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One that is only looked at."""
    one = Hasup(tmp_path_factory.mktemp("shop"))
    one.start(TALKERS, code=1)
    yield one
    assert one.end() == []


# --- status ----------------------------------------------------------------------------------------------------
def test_status_as_json_has_the_keys_of_the_reference(shop):
    document = shop.status()
    assert document.keys() == {"supervisor", "programs"}
    assert document["supervisor"].keys() >= SUPERVISOR
    assert document["supervisor"]["name"] == "shop"
    assert document["supervisor"]["config"] == str(shop.folder / "hasup.toml")
    assert [program["name"] for program in document["programs"]] == ["web", "tick", "bad"]
    for program in document["programs"]:
        assert program.keys() >= PROGRAM
        for replica in program["replicas"]:
            assert replica.keys() >= REPLICA
    web = document["programs"][0]["replicas"]
    assert [replica["name"] for replica in web] == ["web.1", "web.2"]
    assert all(isinstance(replica["pid"], int) and isinstance(replica["port"], int) for replica in web)
    assert web[0]["port"] != web[1]["port"]
    assert (web[0]["ready"], web[0]["wanted"], web[0]["last"], web[0]["next_start_s"]) == (True, True, None, None)
    bad = document["programs"][2]["replicas"][0]
    assert bad["last"].keys() >= LAST
    assert (bad["last"]["result"], bad["last"]["exit_code"], bad["last"]["signal"]) == ("exit-code", 1, None)
    assert re.fullmatch(UTC, bad["last"]["at"])
    assert 0 < bad["next_start_s"] <= 2 * 3600
    assert (bad["pid"], bad["uptime_s"], bad["cpu_percent"], bad["memory_bytes"]) == (None,) * 4


def test_status_for_people(shop):
    lines = shop.run("status").stdout.splitlines()
    assert lines[0].startswith("▲ shop  3 of 4 ready · up ")
    assert lines[1].split() == ["NAME", "STATE", "READY", "PID", "UPTIME", "RESTARTS", "CPU", "MEM", "LAST"]
    assert [line.split()[1] for line in lines[2:6]] == ["web.1", "web.2", "tick.1", "bad.1"]
    assert re.fullmatch(r"  └ exited with code 1; next try in [0-9.]+ s", lines[6]), (
        "when it is tried next is said once"
    )
    assert "\x1b" not in "".join(lines), "no colour where there is no terminal"
    named = shop.run("status", "back").stdout
    assert "tick.1" in named
    assert "web.1" not in named
    shop.env["COLUMNS"] = "40"
    try:
        assert max(len(line) for line in shop.run("status").stdout.splitlines()) <= 40
    finally:
        del shop.env["COLUMNS"]


# --- logs ----------------------------------------------------------------------------------------------------
def test_logs_by_name_and_number(shop):
    assert shop.run("logs", "web.1").stdout.splitlines() == [
        *(f"web.1  | line {n} of 1" for n in range(1, 6)),
        "web.1  | oops",
    ]
    assert shop.run("logs", "web", "-n", "2").stdout.splitlines() == [
        *("web.1  | line 5 of 1", "web.1  | oops"),
        *("web.2  | line 5 of 2", "web.2  | oops"),
    ]
    assert shop.run("logs", "web.2", "-n1", "--no-prefix").stdout == "oops\n"
    assert shop.run("logs", "web", "-n", "0").stdout == ""
    everything = shop.run("logs").stdout
    assert "web.2" in everything
    assert "tick.1" in everything


def test_logs_that_match(shop):
    done = shop.run("logs", "web", "--grep", "line [34] of 2")
    assert done.stdout.splitlines() == ["web.2  | line 3 of 2", "web.2  | line 4 of 2"]


def test_logs_as_json(shop):
    lines = [json.loads(line) for line in shop.run("logs", "web.1", "--json").stdout.splitlines()]
    assert lines[0] == {"replica": "web.1", "stream": "stdout", "line": "line 1 of 1"}
    assert len(lines) == 6


def test_logs_since(shop):
    assert shop.run("logs", "web", "--since", "1h").stdout.count("line 1") == 2
    old = time.time() - 7200
    os.utime(shop.state_dir / "logs" / "web.1.log", (old, old))
    assert shop.run("logs", "web", "--since", "1h").stdout.count("line 1") == 1
    assert shop.run("logs", "web", "--since", "2001-01-01").stdout.count("line 1") == 2


def test_logs_that_are_followed(shop):
    follower = shop.popen("logs", "-f", "tick", "-n", "1", "--no-prefix")
    for _ in range(4):
        assert json.loads(follower.stdout.readline())["line"] == "tick"
    follower.send_signal(signal.SIGINT)
    assert follower.wait(60) == 130
    assert "Traceback" not in follower.stdout.read()


def test_logs_and_events_of_a_hasup_that_is_stopped(hasup):
    hasup.start(TALKERS, code=1)
    hasup.run("stop")
    assert hasup.run("logs", "web.1", "-n", "1").stdout == "web.1  | oops\n"
    assert "hasup stop by operator" in hasup.run("events").stdout


# --- events ----------------------------------------------------------------------------------------------------
def test_events_as_json_have_the_keys_of_the_reference(shop):
    events = shop.events()
    assert all(event.keys() >= EVENT for event in events)
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert all(re.fullmatch(UTC, event["at"]) and event["reason"] for event in events)
    states = [(event["from"], event["to"]) for event in events if event.get("replica") == "web.1"]
    assert states == [("stopped", "starting"), ("starting", "running")]


def test_events_are_selected(shop):
    assert {event["replica"] for event in shop_events(shop, "web")} == {"web.1", "web.2"}
    assert {event["replica"] for event in shop_events(shop, "back")} == {"tick.1", "bad.1"}, "a group's programs"
    assert len(shop_events(shop, "-n", "2")) == 2
    assert {event["event"] for event in shop_events(shop, "--kind", "state")} == {"state"}
    assert shop_events(shop, "--since", "1h") == shop.events()
    assert shop_events(shop, "--since", "2099-01-01") == []


def shop_events(shop, *arguments: str) -> list[dict]:
    return [json.loads(line) for line in shop.run("events", "--json", *arguments).stdout.splitlines()]


def test_events_that_are_followed(hasup):
    hasup.start(TALKERS, code=1)
    follower = hasup.popen("events", "-f", "--json", "web")
    seen = [json.loads(follower.stdout.readline()) for _ in range(4)]
    assert [event["to"] for event in seen].count("running") == 2, "what was is shown first"
    os.kill(hasup.replica("web.1")["pid"], signal.SIGKILL)
    seen = [json.loads(follower.stdout.readline()) for _ in range(3)]
    assert [event["to"] for event in seen] == ["backoff", "starting", "running"]
    assert "killed by SIGKILL" in seen[0]["reason"]
    hasup.run("stop")
    rest = follower.stdout.read()
    assert '"to":"stopped"' in rest
    assert rest.endswith("hasup: hasup has ended\n")
    assert follower.wait(60) == 0


# --- configuration --------------------------------------------------------------------------------------------------
BROKEN = """[supervisor]
nam = "shop"
[programs.web]
comand = "sleep 1"
replicas = "three"
depends_on = ["dbb"]
[programs.db]
command = "sleep 1"
stop.timeout = "10 parsecs"
restart = { policy = "allways" }
"""


@pytest.mark.parametrize("command", ["check", "start", "start -d", "config"])
def test_all_faults_at_once(hasup, command):
    hasup.write(BROKEN)
    done = hasup.run(*command.split(), code=2)
    *faults, last = done.stderr.splitlines()
    places = [re.fullmatch(r"hasup\.toml:(\d+): (\S+): (.+)", fault) for fault in faults]
    assert all(places), faults
    found = {(int(place[1]), place[2]) for place in places if place}
    assert found >= {
        (2, "supervisor.nam"),
        (4, "programs.web.comand"),
        (5, "programs.web.replicas"),
        (9, "programs.db.stop.timeout"),
        (10, "programs.db.restart.policy"),
    }
    assert "(did you mean name?)" in faults[0]
    assert any("(did you mean command?)" in fault for fault in faults)
    assert any('(did you mean "always"?)' in fault for fault in faults)
    assert last == f"hasup: {len(faults)} faults in hasup.toml; nothing was changed"
    assert not hasup.state_dir.exists()


def test_a_file_that_is_no_toml(hasup):
    hasup.write("[programs.web\ncommand = 1\n")
    done = hasup.run("check", code=2)
    assert re.search(r"hasup\.toml:1: ", done.stderr)


def test_check_and_config(hasup):
    hasup.write(TALKERS)
    assert hasup.run("check").stdout == f"{hasup.folder}/hasup.toml: 3 programs, 4 replicas: ok\n"
    assert json.loads(hasup.run("check", "--json").stdout)["ok"]
    resolved = hasup.run("config").stdout
    assert 'max_delay = "1m"' in resolved or "max_delay = 60" in resolved, "with every default"
    assert json.loads(hasup.run("config", "--json").stdout)["programs"]["web"]["replicas"] == 2
    hasup.write(resolved, "resolved.toml")
    assert (
        json.loads(hasup.run("config", "--json", "-c", "resolved.toml").stdout)["programs"]
        == (json.loads(hasup.run("config", "--json").stdout)["programs"])
    ), "the resolved configuration means the same"


def test_no_configuration(hasup):
    for command in ("status", "start", "check", "stop"):
        done = hasup.run(command, code=2)
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith(f"hasup: {hasup.folder}: no hasup.toml")
        assert "`hasup init` writes one" in done.stderr
    assert "nope.toml" in hasup.run("start", "-c", "nope.toml", code=2).stderr


def test_init_writes_a_file_that_works(hasup):
    done = hasup.run("init")
    assert "hasup.toml written" in done.stdout
    hasup.run("check")
    hasup.run("start", "-d")
    assert all(replica["ready"] or replica["state"] == "completed" for replica in hasup.replicas().values())
    assert "is left as it is" in hasup.run("init", code=1).stderr


def test_a_plain_procfile(hasup):
    hasup.write(
        "web: sh -c 'echo port $PORT $GREETING; exec sleep 1000'\nworker: echo $PORT; exec sleep 1000\n", "Procfile"
    )
    hasup.write("GREETING=hello\n", ".env")
    hasup.run("start", "-d")
    until(lambda: hasup.run("logs", "--no-prefix").stdout.splitlines() == ["port 5000 hello", "5100"], "both said it")
    assert {name: replica["port"] for name, replica in hasup.replicas().items()} == {"web.1": 5000, "worker.1": 5100}
    assert "from Procfile" in hasup.run("init").stdout
    assert hasup.run("check").stdout.startswith(f"{hasup.folder}/hasup.toml: 2 programs")


def test_pyproject(hasup):
    hasup.write('[project]\nname = "x"\n[tool.hasup.programs.web]\ncommand = "sleep 1000"\n', "pyproject.toml")
    hasup.run("start", "-d")
    assert hasup.replica("web.1")["ready"]
    assert hasup.status()["supervisor"]["config"] == f"{hasup.folder}/pyproject.toml"
    hasup.write('[project]\nname = "x"\n[tool.hasup.programs.web]\ncomand = "sleep 1000"\n', "pyproject.toml")
    assert re.search(r"pyproject\.toml:4: programs\.web\.comand: ", hasup.run("check", code=2).stderr)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shop, shell):
    script = shop.run("completion", shell).stdout
    assert "_HASUP_COMPLETE" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "offered"), [("hasup sta", {"start", "status"}), ("hasup stop we", {"web", "web.1", "web.2"})]
)
def test_what_is_completed(shop, words, offered):
    env = shop.env | {"_HASUP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(shop.argv(), cwd=shop.folder, env=env, capture_output=True, text=True, timeout=90)
    assert {line.removeprefix("plain,") for line in done.stdout.split()} == offered, done.stderr
