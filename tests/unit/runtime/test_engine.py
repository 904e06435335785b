"""Orders leave in batches, and a slot's state never travels without its orders."""

import json

import pytest

from hasup.core import Supervisor
from hasup.loop import Loop
from hasup.model import events as ev
from hasup.model.actions import Changed, Spawn
from hasup.model.spec import Config, Program, Restart, SupervisorOptions
from hasup.runtime.engine import BATCH, Engine

MANY = 5 * BATCH


class Link:
    """Keeps what is sent: of each packet the state and the orders."""

    def __init__(self):
        self.packets = []

    def send(self, frame, blobs):
        self.packets += [json.loads(data) for data, _ in frame.packets(blobs)]

    def states(self):
        """Slot to number of the packet and state, as sent last."""
        return {
            slot: (number, json.loads(blob))
            for number, packet in enumerate(self.packets)
            for slot, blob in packet["blobs"].items()
            if slot
        }

    def orders(self):
        return [(number, order["slot"]) for number, packet in enumerate(self.packets) for order in packet["do"]]


@pytest.fixture
def engine():
    programs = {
        name: Program(name=name, command=("x",), restart=Restart(delay=0.0)) for name in (f"p{n}" for n in range(MANY))
    }
    loop = Loop()
    one = Engine(
        loop,
        Link(),
        Supervisor(Config(file="x", supervisor=SupervisorOptions(name="x", state_dir="x"), programs=programs), seed=1),
    )

    def perform(action):
        if isinstance(action, Spawn):
            one.order(action.slot, {"op": "pipe", "slot": action.slot})
            one.order(action.slot, {"op": "spawn", "slot": action.slot})
        elif isinstance(action, Changed):
            one.after_frame(lambda: told.append((action.slot, len(one._link.packets))))

    told = one.told = []
    one.perform = perform
    yield one
    loop.close()


def test_many_are_started_in_batches_each_slot_in_one_piece(engine):
    slots = tuple(engine.supervisor.replicas)
    engine.feed(ev.Start(slots))
    engine.flush()
    link = engine._link
    assert len(link.packets) >= MANY // BATCH
    assert [slot for _, slot in link.orders()] == [slot for slot in slots for _ in range(2)]
    for number, slot in link.orders():
        assert link.states()[slot][0] == number, f"the state of {slot} and its orders went apart"
        assert link.states()[slot][1]["spawning"]
    assert {count for _, count in engine.told} == {len(link.packets)}, "journal and log wait until all is ordered"


def test_where_many_end_at_once_the_first_are_started_again_while_the_rest_is_decided_on(engine):
    slots = tuple(engine.supervisor.replicas)
    engine.feed(ev.Start(slots))
    for number, slot in enumerate(slots):
        engine.feed(ev.Spawned(slot, 1, 1000 + number))
    engine.flush()
    before = len(engine._link.packets)
    for slot in slots:
        engine.feed(ev.Exited(slot, 1, exit_code=1, empty=True))
    engine.flush()
    link = engine._link
    assert len(link.packets) - before >= MANY // BATCH
    again = [(number, slot) for number, slot in link.orders() if number >= before]
    assert [slot for _, slot in again] == [slot for slot in slots for _ in range(2)]
    assert all(link.states()[slot][0] == number for number, slot in again)
