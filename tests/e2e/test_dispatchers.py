"""Several dispatchers on one listening socket: killed in turn, drained together, counted as one."""

import contextlib
import os
import signal
import socket

import pytest

from tests.e2e.harness import Asking, Hasup, free_port, get, until


def web(port: int, dispatchers: int = 2, more: str = "") -> str:
    return (
        '[programs.web]\ncommand = "${HASUP_PYTHON} -m hasup.demo.web"\nreplicas = 2\nready.notify = true\n'
        f'listen = {{ address = "127.0.0.1:{port}", dispatchers = {dispatchers}{more} }}\n'
        'restart = { delay = "20ms", factor = 1 }\n'
    )


def dispatchers(hasup: Hasup) -> dict[str, dict]:
    return {one["name"]: one for one in hasup.status()["programs"][0]["dispatchers"]}


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.long)])
def test_killed_in_turn_under_load_they_refuse_nobody(hasup, kills):
    port = free_port()
    hasup.start(web(port))
    clients = [Asking(f"http://127.0.0.1:{port}/") for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for client in clients:
            stack.enter_context(client)
        for number in range(kills):
            clients[number % 3].more(5)
            name = f"web:dispatcher.{number % 2 + 1}"
            known = dispatchers(hasup)[name]
            os.kill(known["pid"], signal.SIGKILL)
            until(lambda n=name, k=known: dispatchers(hasup)[n]["restarts"] > k["restarts"], "restarted")
        for client in clients:
            client.more(5)
    failures = [failure for client in clients for failure in client.failures]
    assert not [failure for failure in failures if "refused" in failure]
    assert len(failures) <= kills * len(clients), "at most the request of each client in flight at each kill"
    assert sum(len(client.answers) for client in clients) > 5 * kills


def test_both_serve_and_are_counted_as_one(hasup):
    port = free_port()
    hasup.start(web(port))
    known = dispatchers(hasup)
    assert known.keys() == {"web:dispatcher.1", "web:dispatcher.2"}
    for one in known.values():  # stopped, so that the other one has all; as when it hangs
        os.kill(one["pid"], signal.SIGSTOP)
        assert {get(f"http://127.0.0.1:{port}/").split()[0] for _ in range(8)} == {"web.1", "web.2"}
        with contextlib.suppress(ProcessLookupError):  # replaced meanwhile, on a machine that is slow beyond measure
            os.kill(one["pid"], signal.SIGCONT)

    def total() -> int:
        return sum(one["total"] for one in hasup.status()["programs"][0]["load"]["backends"].values())

    until(lambda: total() >= 16, "all of both are counted")


def test_a_replica_is_stopped_when_neither_has_a_connection_to_it(hasup):
    """Connections that each of the two has open, in the midst of a request, are waited for."""
    port = free_port()
    hasup.start(web(port, more=', drain_timeout = "10m"').replace("replicas = 2", "replicas = 1"))
    known = dispatchers(hasup)
    with contextlib.ExitStack() as stack:
        clients = []
        for before, stopped in enumerate(known.values()):  # so that the other one accepts
            os.kill(stopped["pid"], signal.SIGSTOP)
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            client.sendall(b"GET / HTTP/1.1\r\n")
            until(lambda n=before: open_connections(hasup) > n, "it is open")
            os.kill(stopped["pid"], signal.SIGCONT)
            clients.append(client)
        hasup.run("scale", "web=2")
        reload = hasup.popen("reload", "web")
        for client in clients:
            hasup.wait("web.1", "drained", lambda replica: replica["state"] == "stopping")
            client.sendall(b"Host: web\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda c=client: c.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200 OK"), answer
            client.close()
        assert reload.wait(120) == 0, "long before the time for draining is over"


def open_connections(hasup: Hasup) -> int:
    load = hasup.status()["programs"][0]["load"]
    return load["open"] if load else 0


def test_another_number_of_them(hasup):
    port = free_port()
    hasup.start(web(port))
    for number in (1, 3):
        hasup.write(web(port, number))
        hasup.run("reload")
        names = {f"web:dispatcher.{index + 1}" for index in range(number)}
        until(lambda n=names: {d for d, one in dispatchers(hasup).items() if one["ready"]} == n, f"{number} of them")
        assert get(f"http://127.0.0.1:{port}/").startswith("web.")
