"""``hasup simulate``, as a user runs it."""

import json


def test_what_if(hasup):
    hasup.write(
        '[programs.db]\ncommand = "true"\n[programs.web]\ncommand = "true"\nheartbeat.timeout = "40s"\nreplicas = 2\n'
    )
    few = ("simulate", "--events", "3000", "--mtbf", "1h", "--mtbf", "db=10h", "--hangs", "web=100%")
    page = hasup.run(*few).stdout
    assert "web: heartbeat.timeout is 9" in page
    assert "all together" in page
    slow = json.loads(hasup.run(*few, "--json").stdout)
    quick = json.loads(hasup.run(*few, "--json", "--set", "programs.web.heartbeat.timeout=2s").stdout)
    more = json.loads(hasup.run(*few, "--json", "--replicas", "web=1").stdout)

    def web(document: dict) -> dict:
        return next(program for program in document["programs"] if program["name"] == "web")

    assert web(quick)["formula"] > web(slow)["formula"] > web(more)["formula"]
    assert web(quick)["simulated"]["value"] > web(more)["simulated"]["value"]
    assert web(slow)["assumed"] == {
        "mtbf_s": 3600.0, "measured": False, "guessed": False, "start_s": 1.0, "hangs": 1.0, "detect_s": 30.0,
    }  # fmt: skip


def test_what_the_journal_has_seen_is_used(hasup):
    hasup.start('[programs.web]\ncommand = "sh -c \'sleep 0.3; exit 1\'"\nready.after = "0s"\nrestart.delay = "50ms"\n')
    hasup.wait("web.1", "four restarts", lambda replica: replica["restarts"] >= 4)
    hasup.run("stop")
    found = json.loads(hasup.run("simulate", "--events", "2000", "--json").stdout)
    assumed = found["programs"][0]["assumed"]
    assert assumed["measured"]
    assert 0.1 < assumed["mtbf_s"] < 20


def test_mistakes(hasup):
    hasup.write('[programs.web]\ncommand = "true"\n')
    assert "expected something like" in hasup.run("simulate", "--mtbf", "soon", code=2).stderr
    assert "did you mean web?" in hasup.run("simulate", "--mtbf", "wep=1h", code=4).stderr
    assert "expected PROGRAM=N" in hasup.run("simulate", "--replicas", "3", code=2).stderr
    assert "there is no such option" in hasup.run("simulate", "--set", "programs.web.x=1", code=2).stderr
    hasup.write('[programs.web]\ncommand = "true"\nkind = "task"\n')
    assert "no service" in hasup.run("simulate", code=1).stderr
