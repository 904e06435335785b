"""Hard limits where hasup can set none: said in every status, and the program runs all the same."""

import os
import signal

from tests.e2e.harness import until

CONFIG = '[programs.web]\ncommand = "sleep 1000"\nready.after = "100ms"\n'
SAID = "web: limits.hard.memory, limits.hard.tasks not in force: it has no cgroup of its own (docs: how-to/systemd.md)"


def test_the_program_runs_and_the_status_says_so(hasup):
    hasup.env["HASUP_NO_CGROUP"] = "1"
    hasup.start(CONFIG + 'limits.hard = { memory = "64MiB", tasks = 100 }\n')
    before = hasup.status()
    assert hasup.replica("web.1")["state"] == "running"
    assert before["supervisor"]["degraded"] == [SAID]
    assert SAID in hasup.run("status").stdout
    os.kill(before["supervisor"]["core_pid"], signal.SIGKILL)
    until(lambda: hasup.status()["supervisor"]["core_restarts"] == 1, "another core")
    assert hasup.status()["supervisor"]["degraded"] == [SAID], "the next core knows it too"
    hasup.write(CONFIG)
    hasup.run("reload")
    until(lambda: hasup.status()["supervisor"]["degraded"] == [], "nothing is lacking any more")
