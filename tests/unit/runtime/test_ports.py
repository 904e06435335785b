"""Ports: fixed rows, free ones, and what is kept."""

import socket

import pytest

from hasup.model.spec import Program
from hasup.runtime.ports import Ports


def program(port):
    return Program(name="web", command=("x",), port=port)


def test_a_number_is_the_first_of_a_row():
    ports = Ports()
    assert [ports.assign(program(8100), index) for index in (1, 2, 3)] == [8100, 8101, 8102]
    assert ports.of(program(8100), 2) == 8101
    assert not ports.changed


def test_none_is_none():
    assert Ports().assign(program(None), 1) is None


def test_free_ones_differ_stay_and_survive_a_new_core():
    ports = Ports()
    first = [ports.assign(program("auto"), index) for index in range(1, 20)]
    assert len(set(first)) == 19
    assert ports.changed
    assert [ports.assign(program("auto"), index) for index in range(1, 20)] == first
    successor = Ports()
    successor.restore(ports.blob())
    assert not ports.changed
    assert [successor.of(program("auto"), index) for index in range(1, 20)] == first


def test_a_port_that_somebody_took_is_replaced():
    ports = Ports()
    port = ports.assign(program("auto"), 1)
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", port))
        thief.listen()
        assert ports.assign(program("auto"), 1) != port


def test_below_the_ephemeral_range():
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low = int(file.read().split()[0])
    if low < 12_000:
        pytest.skip("this machine's ephemeral range leaves no room below it")
    assert Ports().assign(program("auto"), 1) < low


def test_a_forgotten_slot_gives_its_port_back():
    ports = Ports()
    ports.assign(program("auto"), 1)
    ports.blob()
    ports.forget("web.1")
    assert ports.changed
    assert ports.of(program("auto"), 1) is None
