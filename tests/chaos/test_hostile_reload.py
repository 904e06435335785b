"""The configuration changes while hasup is in the middle of going over to another one."""

import os
import signal

import pytest

from tests.chaos.hostile import command_of
from tests.e2e.harness import of_instance, until

pytestmark = pytest.mark.chaos

TEXT = '[programs.web]\ncommand = "sleep 1000"\nreplicas = 3\nready.after = "200ms"\nstop.timeout = "2s"\n'


@pytest.mark.parametrize("kind", [["reload"], ["reload", "web"]], ids=["file", "rolling"])
def test_it_is_replaced_in_the_middle_of_a_reload(hasup, kind):
    """The last one counts; what was under way neither lives on nor is doubled, whatever happens to the core."""
    hasup.start(TEXT)
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    second = TEXT.replace("1000", "1001") if kind == ["reload"] else TEXT
    hasup.write(second)
    under_way = hasup.popen(*kind)
    until(lambda: any(r["pid"] != before.get(n) for n, r in hasup.replicas().items()), "it is under way")
    hasup.write(second[: len(second) // 2])  # somebody is writing the next one
    assert "nothing was changed" in hasup.run("reload", code=2).stderr
    os.kill(hasup.status()["supervisor"]["core_pid"], signal.SIGKILL)
    hasup.write(TEXT.replace("1000", "1002").replace("replicas = 3", "replicas = 2"))
    until(lambda: hasup.run("reload", code=None).returncode == 0, "the last one is applied")

    def commands() -> list[str]:
        found = [command_of(pid) for pid in of_instance(hasup.instance()["instance"])]
        return sorted(command for command in found if command.startswith("sleep"))

    until(lambda: commands() == ["sleep 1002 "] * 2, "two of the last one and nothing else")
    until(lambda: [r["ready"] for r in hasup.replicas().values()] == [True] * 2, "all ready")
    assert hasup.run("diff").stdout == "nothing differs\n"
    under_way.wait(60)
