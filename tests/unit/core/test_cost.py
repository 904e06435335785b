"""What a decision costs does not grow with the number of replicas, and stays about what it is. Counted, not timed."""

import sys

import pytest

from hasup.core import Supervisor
from hasup.model import events as ev
from hasup.model.spec import Config, Health, Heartbeat, Limit, Limits, Program, Ready, Restart, SupervisorOptions

MOST = {"beat": 15, "probe": 20, "sample": 26, "crash": 250}  # calls of Python functions


def calls(replicas: int, deed: str) -> int:
    """How many Python functions one event (of a crash: all four) calls, with so many replicas of two programs."""
    program = Program(
        name="web",
        command=("web",),
        replicas=replicas // 2,
        ready=Ready(after=0.0),
        restart=Restart(delay=0.1, jitter=0.0),
        heartbeat=Heartbeat(timeout=1e9),
        health=Health(tcp="127.0.0.1:1"),
        limits=Limits(memory=Limit(above=1e9)),
    )
    other = Program(name="db", command=("db",), replicas=replicas // 2, ready=Ready(after=0.0))
    options = SupervisorOptions(name="x", state_dir="x")
    supervisor = Supervisor(Config(file="x", supervisor=options, programs={"web": program, "db": other}), seed=1)
    now = 0.0

    def handle(event: ev.Event) -> None:
        nonlocal now
        now += 1.0
        supervisor.handle(event, now)
        supervisor.take_blobs()

    handle(ev.Start(tuple(supervisor.replicas)))
    for number, slot in enumerate(supervisor.replicas):
        handle(ev.Spawned(slot, 1, number + 1))
    handle(ev.Due())
    events: dict[str, list[ev.Event]] = {
        "beat": [ev.Beat("web.2")],
        "probe": [ev.ProbeResult("web.2", 1, "health", True)],
        "sample": [ev.Sampled("web.2", 1, 1000, 1.0, 1, 1, 1)],
        "crash": [ev.Exited("web.2", 1, exit_code=1), ev.Due(), ev.Spawned("web.2", 2, 9), ev.Due()],
    }
    count = 0

    def counting(_frame: object, what: str, _argument: object) -> None:
        nonlocal count
        count += what == "call"

    sys.setprofile(counting)
    try:
        for event in events[deed]:
            handle(event)
    finally:
        sys.setprofile(None)
    assert supervisor.replicas["web.2"].ready
    return count


@pytest.mark.parametrize("deed", list(MOST))
def test_an_event_costs_the_same_among_many(deed):
    few, many = calls(4, deed), calls(400, deed)
    assert many <= few + 4
    assert many <= MOST[deed]
