"""Groups of real processes: whom a failure takes along, that no old one meets a new one, and when a group gives up."""

import os
import signal
import sys

import pytest

from tests.e2e.harness import alive, until

# Says when it starts and when it ends, in one file for all; takes its time to end.
MEMBER = """
import os, signal, time
name, lines = os.environ["HASUP_PROGRAM"], os.open("lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
say = lambda what: os.write(lines, f"{what} {name}\\n".encode())
def end(*_):
    time.sleep({"a": 0.2, "b": 0.0, "c": 0.4}[name])
    say("end")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("start")
while True:
    signal.pause()
"""


def begin(hasup, group: str) -> dict[str, int]:
    """Three members run; their pids."""
    hasup.write(MEMBER, "member.py")
    hasup.start(
        f'[defaults]\ncommand = ["{sys.executable}", "member.py"]\nready.after = "0s"\n'
        'restart = { delay = "10ms", jitter = 0 }\n[programs.a]\n[programs.b]\n[programs.c]\n'
        f'[groups.g]\nprograms = ["a", "b", "c"]\n{group}\n'
    )
    until(lambda: len(lines(hasup)) == 3, "all have started")
    return pids(hasup)


def lines(hasup) -> list[str]:
    path = hasup.folder / "lines"
    return path.read_text().splitlines() if path.exists() else []


def pids(hasup) -> dict[str, int]:
    return {name.partition(".")[0]: replica["pid"] for name, replica in hasup.replicas().items()}


@pytest.mark.parametrize(
    ("strategy", "ended"), [("one-for-one", set()), ("one-for-all", {"a", "c"}), ("rest-for-one", {"c"})]
)
def test_whom_a_failure_takes_along(hasup, strategy, ended):
    before = begin(hasup, f'strategy = "{strategy}"')
    os.kill(before["b"], signal.SIGKILL)
    again = {"b", *ended}
    until(lambda: len(lines(hasup)) == 3 + len(ended) + len(again), "all of them have started again")
    since = lines(hasup)[3:]
    assert set(since[: len(ended)]) == {f"end {name}" for name in ended}, "no new one before all have ended"
    after = pids(hasup)
    assert {name for name in after if after[name] != before[name]} == again
    assert not any(alive(before[name]) for name in again)
    started = [e["replica"] for e in hasup.events(to="starting") if e["from"] != "stopped"]
    assert started == [f"{name}.1" for name in sorted(again)], "they start in the group's order"


@pytest.mark.parametrize("on_limit", ["fail", "shutdown"])
def test_a_group_gives_up_as_one(hasup, on_limit):
    before = begin(hasup, f'limit = 1\nwindow = "1h"\non_limit = "{on_limit}"')
    os.kill(before["a"], signal.SIGKILL)
    hasup.wait("a.1", "back", lambda r: r["pid"] not in (None, before["a"]))
    guardian = hasup.instance()["guardian_pid"]
    os.kill(before["b"], signal.SIGKILL)
    if on_limit == "shutdown":
        until(lambda: not alive(guardian), "hasup has ended")
        return
    until(lambda: {r["state"] for r in hasup.replicas().values()} == {"failed"}, "all of the group have failed")
    assert all("group g had more than 1 restarts" in r["reason"] for r in hasup.replicas().values())
    hasup.run("start", "g")
    until(lambda: {r["state"] for r in hasup.replicas().values()} == {"running"}, "whoever starts it begins anew")
