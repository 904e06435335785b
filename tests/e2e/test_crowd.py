"""Three hundred programs at once: started, killed all at once again and again, stopped. Figures are printed (-rP)."""

import os
import signal
import time
from collections import Counter

from tests.e2e.harness import of_instance, until

COUNT = 300
ROUNDS = 3
# Each writes down that it was started, in one write.
PROGRAM = "echo $HASUP_PROGRAM >> born; exec sleep 1000"


def test_three_hundred_programs_come_back_each_time(hasup):
    defaults = (
        "[defaults]\nready.after = '50ms'\nrestart = { delay = '100ms', max_delay = '1s' }\nlogs.stdout = 'null'\n"
    )
    hasup.write(defaults + "".join(f'[programs.p{i}]\ncommand = ["sh", "-c", "{PROGRAM}"]\n' for i in range(COUNT)))
    names = {f"p{i}.1" for i in range(COUNT)}
    begin = time.monotonic()
    hasup.run("start", "-d")
    figures = [f"start -d of {COUNT}: {time.monotonic() - begin:.2f} s"]
    for number in range(1, ROUNDS + 1):
        before = pids(hasup)
        assert before.keys() == names
        assert len(set(before.values())) == COUNT
        until(lambda done=number: len(born(hasup)) >= COUNT * done, "each has come to its first line")
        begin = time.monotonic()
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda done=number: is_back(hasup, done), "all are ready again")
        figures.append(f"all back after SIGKILL of all, round {number}: {time.monotonic() - begin:.2f} s")
        assert sorted(sleepers(hasup)) == sorted(pids(hasup).values()), "none is doubled and none is missing"
    until(lambda: len(born(hasup)) >= COUNT * (ROUNDS + 1), "each has come to its first line")
    assert Counter(born(hasup)) == {name.removesuffix(".1"): ROUNDS + 1 for name in names}, (
        "each was started once a round"
    )
    assert all(replica["last"]["signal"] == "SIGKILL" for replica in hasup.replicas().values())
    begin = time.monotonic()
    hasup.run("stop")
    figures.append(f"stop: {time.monotonic() - begin:.2f} s")
    assert of_instance(next(iter(hasup.instances))) == []
    print("\n".join(figures))


def pids(hasup) -> dict[str, int]:
    return {name: replica["pid"] for name, replica in hasup.replicas().items()}


def born(hasup) -> list[str]:
    return (hasup.folder / "born").read_text().split()


def is_back(hasup, restarts: int) -> bool:
    return all(replica["ready"] and replica["restarts"] == restarts for replica in hasup.replicas().values())


def sleepers(hasup) -> list[int]:
    """The programs that live, as the kernel knows them: whoever has a slot's name in its environment."""
    found = []
    for pid in of_instance(hasup.instance()["instance"]):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if b"HASUP_PROGRAM=p" in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found
