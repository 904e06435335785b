"""How clients are told apart and counted."""

import pytest

from hasup.dispatch.ends import Flow
from hasup.dispatch.limits import Clients, client_of


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::1", "::ffff:0.0.0.1", False),
    ],
)
def test_who_is_one_client(one, other, same):
    assert (client_of(one) == client_of(other)) is same


def test_counting():
    clients = Clients(2)
    flows = [Flow(number, True, 0.0) for number in range(4)]
    assert [clients.admit(flow, "10.0.0.1") for flow in flows[:3]] == [True, True, False]
    clients.leave(flows[2])  # was never counted
    assert not clients.admit(flows[2], "10.0.0.1")
    assert clients.admit(flows[3], "10.0.0.2")
    for flow in flows:
        clients.leave(flow)
        clients.leave(flow)
    assert not clients._open, "nothing is kept of clients that have gone"
    assert [clients.admit(flow, "10.0.0.1") for flow in flows[:3]] == [True, True, False]
