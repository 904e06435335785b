"""``hasup why``: the story of what went wrong, while hasup runs, and when it does not any more."""

import json
import os
import signal
import stat

from tests.e2e.harness import until

PYTHON = "${HASUP_PYTHON}"
REST = 'restart = { delay = "300s", max_delay = "300s" }\n'
WORKER = f'command = "{PYTHON} -X faulthandler -m hasup.demo.worker --hang-after 0.3"\nready.notify = true\n'


def why(hasup, name: str, code: int = 0) -> dict:
    return json.loads(hasup.run("why", name, "--json", code=code).stdout)


def test_a_hang_is_told_with_its_stack(hasup):
    hasup.start(f'[programs.w]\n{WORKER}heartbeat.timeout = "1s"\n{REST}')
    hasup.wait("w.1", "given up on", lambda r: r["state"] == "backoff")
    story = why(hasup, "w")
    assert story["replica"] == "w.1"
    assert story["what"]["symptom"] == "heartbeat"
    assert story["what"]["reason"] == "no sign of life for 1 s"
    assert story["what"]["signal"] == "SIGABRT"
    look = story["evidence"]["looks"][-1]
    assert look["state"].startswith("S")
    assert look["open_files"]["count"] >= 3
    assert story["evidence"]["samples"], "at least the one of that moment"
    assert any("hasup/demo/worker.py" in line for line in story["evidence"]["stack"])
    assert "hanging now: no heartbeat from here on" in story["evidence"]["output"]
    assert story["did"][0]["what"] == "took evidence and sent the abort signal"
    assert 200 < story["next_start_s"] <= 400
    lines = hasup.run("why", "w.1").stdout.splitlines()
    assert lines[0].startswith("w.1 is in backoff: no sign of life for 1 s; restart in ")
    assert 8 <= len(lines) <= 14
    assert any("stack" in line and "worker.py:" in line and " main" in line for line in lines)
    assert any("next" in line and "started again in" in line for line in lines)


def test_a_crash_is_told_while_hasup_is_stopped_too_and_no_secret_with_it(hasup):
    hasup.start(
        "[programs.a]\ncommand = \"sh -c 'echo cannot log in with $DB_PASSWORD; exit 7' x --password hunter2x\"\n"
        'env.DB_PASSWORD = "correct-horse"\nrestart.delay = "300s"\nrestart.max_delay = "300s"\n'
        '[programs.b]\ncommand = "sleep 1000"\n[groups.both]\nprograms = ["b", "a"]\n',
        code=1,
    )
    running = why(hasup, "a.1")
    assert running["what"]["symptom"] == "exit-code"
    assert running["what"]["exit_code"] == 7
    assert running["evidence"]["output"] == ["cannot log in with ***"]
    assert running["evidence"]["command"][-1] == "***"
    assert "DB_PASSWORD" in running["evidence"]["environment_names"]
    assert why(hasup, "b")["what"] is None
    hasup.run("stop")
    stopped = why(hasup, "a")
    assert stopped["running"] is False
    assert stopped["evidence"] == running["evidence"]
    assert stopped["next"].startswith("nothing: hasup is not running")
    assert hasup.events(replica="a.1", to="stopped"), "what led to the end is in the journal too"
    assert why(hasup, "both")["replica"] == "a.1"
    assert why(hasup, "b")["what"] is None
    assert "nothing is known of a program or replica 'nobody'" in hasup.run("why", "nobody", code=4).stderr
    kept = [os.path.join(folder, name) for folder, _, names in os.walk(hasup.state_dir) for name in names]
    evidence = [path for path in kept if "/evidence/" in path]
    assert evidence
    for path in evidence:
        with open(path) as file:
            text = file.read()
        assert "correct-horse" not in text
        assert "hunter2x" not in text
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_evidence_survives_the_core_and_is_bounded(hasup):
    hasup.start(
        "[programs.a]\ncommand = \"sh -c 'echo run $HASUP_RUN; sleep 0.05; exit 3'\"\n"
        'restart = { delay = "10ms", max_delay = "10ms" }\n',
        code=None,
    )
    hasup.wait("a.1", "failed many times", lambda r: r["restarts"] >= 8)
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "another core")
    restarts = hasup.replica("a.1")["restarts"]
    hasup.wait("a.1", "failed some more", lambda r: r["restarts"] >= restarts + 8)
    hasup.run("stop", "a")
    story = why(hasup, "a")
    assert story["what"]["exit_code"] == 3
    assert sum(story["what"]["within_an_hour"].values()) >= 16
    files = os.listdir(hasup.state_dir / "evidence" / "a.1")
    assert 1 <= len(files) <= 6, "the newest few"
    assert len(story["evidence"]["output"]) <= 1, "the last run's output, and not the ones before"


def test_a_stack_by_py_spy_where_it_is_installed(hasup):
    tools = hasup.folder / "tools"
    tools.mkdir()
    (tools / "py-spy").write_text(
        "#!/bin/sh\necho Process 1: w --password hunter2x; kill -0 $4 && echo '    acquire (locks.py:12)'\n"
    )
    (tools / "py-spy").chmod(0o755)
    hasup.env["PATH"] = f"{tools}:{hasup.env['PATH']}"
    worker = WORKER.replace("-X faulthandler ", "")
    hasup.start(f'[programs.w]\n{worker}heartbeat.timeout = "1s"\nrestart.delay = "100ms"\nrestart.factor = 1\n')

    def dumped() -> object:  # it hangs again and again; a slow machine may be too slow for py-spy at times
        known = [json.loads(file.read_bytes()) for file in (hasup.state_dir / "evidence" / "w.1").glob("*.json")]
        return [record for record in known if "py_spy" in record and "end" in record]

    until(dumped, "a stack")
    hasup.run("stop")
    record = dumped()[0]
    assert record["py_spy"] == ["    acquire (locks.py:12)"]
    assert record["end"]["signal"] == "SIGABRT", "it got its abort signal, after that"


def test_a_py_spy_that_hangs_delays_nothing_for_long(hasup):
    tools = hasup.folder / "tools"
    tools.mkdir()
    (tools / "py-spy").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tools / "py-spy").chmod(0o755)
    hasup.env["PATH"] = f"{tools}:{hasup.env['PATH']}"
    hasup.start(f'[programs.w]\n{WORKER}heartbeat.timeout = "1s"\nabort.timeout = "60s"\n{REST}')
    hasup.wait("w.1", "given up on", lambda r: r["state"] == "backoff")
    story = why(hasup, "w")
    assert story["what"]["signal"] == "SIGABRT", "not the KILL of abort.timeout"
    assert "py_spy" not in story["evidence"]
