"""When a connection that is to end is closed gently, and when it is cut."""

from types import SimpleNamespace

import pytest

from hasup.dispatch.drain import Drain
from hasup.dispatch.ends import OPEN, Flow

TIMEOUT_S = 10.0
QUIET_S = 1.0


class Wire:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def look_again(self, _end: object) -> None:
        """Nothing has come meanwhile."""

    def read_no_more(self, _end: object) -> None:
        self.did.append("gently")

    def end(self, _flow: Flow, reset: bool = False) -> None:
        self.did.append("cut" if reset else "closed")


def step(now: float, *, silent_for: float, asked: bool = False, itself: bool = False) -> list[str]:
    """What is done at ``now`` with a connection whose replica is drained since 0, or whose dispatcher is to stop."""
    flow = Flow(7, True, 0.0)
    flow.backend = SimpleNamespace(drain_at=None if itself else 0.0, open=1)
    flow.stage, flow.plain, flow.touched_at = OPEN, True, now - silent_for
    flow.asked_at = now if asked else 0.0
    wire = Wire()
    drain = Drain(SimpleNamespace(flows=[flow], wire=wire, stop=lambda: None), TIMEOUT_S, QUIET_S)
    if itself:
        drain.stop(0.001)
    drain.step(now)
    return wire.did


@pytest.mark.parametrize(
    ("now", "silent_for", "done"),
    [
        (0.1, 0.9, []),
        (0.1, 1.1, ["gently"]),
        (2.5, 0.4, []),
        (2.5, 0.6, ["gently"]),
        (5.0, 0.03, ["gently"]),
        (9.9, 0.03, ["gently"]),
        (9.9, 0.001, []),
    ],
)
def test_less_and_less_silence_is_asked_for(now, silent_for, done):
    assert step(now, silent_for=silent_for) == done


def test_an_open_question_is_not_cut_but_left_to_the_replica():
    assert step(9.9, silent_for=5.0, asked=True) == []
    assert step(11.0, silent_for=5.0, asked=True) == []


def test_a_dispatcher_that_is_to_stop_cuts_what_is_left():
    assert step(9.9, silent_for=5.0, asked=True, itself=True) == []
    assert step(10.1, silent_for=5.0, asked=True, itself=True) == ["cut"]
