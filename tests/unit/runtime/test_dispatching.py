"""What the core tells dispatchers, and when a replica counts as drained."""

import json
import socket

import pytest

from hasup.loop import Loop
from hasup.model.spec import Listen, Program
from hasup.model.state import Replica, State
from hasup.runtime.dispatching import Dispatching
from hasup.runtime.endpoints import Endpoints
from hasup.runtime.ports import Ports

WEB = Program(name="web", command=("x",), port=8000, replicas=2, listen=Listen(address="a:1", dispatchers=2))


def replica(index: int, **more) -> Replica:
    return Replica(f"web.{index}", "web", index, **({"state": State.RUNNING, "ready": True, "pid": 1} | more))


@pytest.fixture
def two():
    """The core's side, and the far ends of two dispatchers."""
    pairs = {slot: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for slot in SLOTS}
    for core, far in pairs.values():
        core.setblocking(False)
        far.setblocking(False)
    store = {f"dispatch:{slot}:core": core.fileno() for slot, (core, _) in pairs.items()}
    loop = Loop()
    try:
        dispatching = Dispatching(loop, store, Endpoints(Ports(), "/nowhere"), lambda text: pytest.fail(text))
        drained = []
        dispatching.on_drained = drained.append

        def tell(*replicas: Replica) -> dict[str, dict]:
            for slot in SLOTS:
                dispatching.update(WEB, slot, lambda: [(one, WEB) for one in replicas])
            return {slot: json.loads(far.recv(65536)) for slot, (_, far) in pairs.items()}

        def say(slot: str, **message: object) -> None:
            pairs[slot][1].send(json.dumps(message).encode())
            dispatching._hear(slot)

        yield tell, say, drained, dispatching
    finally:
        loop.close()
    for pair in pairs.values():
        for one in pair:
            one.close()


SLOTS = ("web:dispatcher.1", "web:dispatcher.2")
LEAVING = {"state": State.STOPPING, "ready": False}


def test_both_are_told_the_same(two):
    tell, *_ = two
    told = tell(replica(1), replica(2, **LEAVING))
    assert [[(row["name"], row["state"]) for row in message["backends"]] for message in told.values()] == [
        [("web.1", "ready"), ("web.2", "draining")]
    ] * 2


def test_a_replica_is_drained_when_both_say_so(two):
    tell, say, drained, _ = two
    told = tell(replica(1), replica(2, **LEAVING))
    for slot in SLOTS:
        assert drained == []
        say(slot, drained={"revision": told[slot]["revision"], "names": ["web.2"]})
    assert drained == ["web.2"]


def test_what_was_said_of_an_earlier_table_does_not_count(two):
    tell, say, drained, _ = two
    told = tell(replica(1), replica(2, **LEAVING))
    for slot in SLOTS:
        say(slot, drained={"revision": told[slot]["revision"] - 2, "names": ["web.2"]})
    assert drained == []


def test_one_that_is_gone_for_good_is_not_waited_for(two):
    tell, say, drained, dispatching = two
    told = tell(replica(1), replica(2, **LEAVING))
    dispatching.forget(SLOTS[1])
    say(SLOTS[0], drained={"revision": told[SLOTS[0]]["revision"], "names": ["web.2"]})
    assert drained == ["web.2"]


def test_one_that_comes_back_and_leaves_again_is_asked_for_anew(two):
    tell, say, drained, _ = two
    told = tell(replica(1), replica(2, **LEAVING))
    say(SLOTS[0], drained={"revision": told[SLOTS[0]]["revision"], "names": ["web.2"]})
    tell(replica(1), replica(2))
    told = tell(replica(1), replica(2, **LEAVING))
    say(SLOTS[1], drained={"revision": told[SLOTS[1]]["revision"], "names": ["web.2"]})
    assert drained == [], "the first has said so of the time before"
    say(SLOTS[0], drained={"revision": told[SLOTS[0]]["revision"], "names": ["web.2"]})
    assert drained == ["web.2"]
