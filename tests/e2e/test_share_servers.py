"""Servers of other people that share one listening socket: each serves, and a rolling reload drops nothing.

The configurations are those of docs/how-to/servers.md.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Asking, Hasup, free_port, get, needs, of_group, state_of, until
from tests.support.apps import ASGI, WSGI
from tests.support.pages import files

pytestmark = pytest.mark.e2e

CLIENTS = 3


class Server:
    """A section of the page, run on a port of its own."""

    def __init__(self, hasup: Hasup, section: str, config: str = "hasup.toml") -> None:
        if section in ("gunicorn", "uvicorn", "hypercorn", "granian"):
            pytest.importorskip(section)
        self.hasup = hasup
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/"
        hasup.write(WSGI if section == "gunicorn" else ASGI, "app.py")
        for name, text in files("how-to/servers.md", section).items():
            hasup.write(text.replace("127.0.0.1:8000", address), "hasup.toml" if name == config else name)
        hasup.env["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), hasup.env["PATH"], "/usr/sbin"))
        hasup.start()
        until(self.answers, f"{section} answers")

    def answers(self) -> str:
        with contextlib.suppress(OSError):
            return get(self.url)
        return ""

    def pids(self) -> dict[str, int]:
        return {name: replica["pid"] for name, replica in self.hasup.replicas().items()}

    def answering(self, replica: str) -> bool:
        """Whether an answer comes from a replica: it says its number, or the pid of one of its processes."""
        said = get(self.url).split()[-1]
        return f"app.{said}" == replica or int(said) in of_group(self.pids()[replica])

    def reload_under_requests(self) -> list[str]:
        """Failures of clients that ask while all replicas are replaced."""
        before = self.pids()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Asking(self.url)) for _ in range(CLIENTS)]
            clients[0].more()
            self.hasup.run("reload", next(iter(before)).partition(".")[0])
            clients[0].more()
        after = self.pids()
        assert after.keys() == before.keys()
        assert not set(after.values()) & set(before.values())
        return [failure for client in clients for failure in client.failures]


@pytest.mark.parametrize(
    ("section", "config"),
    [
        ("gunicorn", "hasup.toml"),
        ("uvicorn", "gentle.toml"),
        ("hypercorn", "gentle.toml"),
        pytest.param("nginx", "hasup.toml", marks=needs("nginx")),
        pytest.param("Node", "hasup.toml", marks=needs("node")),
        ("Python", "hasup.toml"),
    ],
)
def test_each_replica_serves_and_a_reload_drops_nothing(hasup, section, config):
    server = Server(hasup, section, config)
    pids = server.pids()
    for answering, stopped in zip(pids, reversed(pids), strict=True):
        os.killpg(pids[stopped], signal.SIGSTOP)
        until(lambda s=stopped: {state_of(pid) for pid in of_group(pids[s])} == {"T"}, "the other one is stopped")
        assert all(server.answering(answering) for _ in range(3))
        os.killpg(pids[stopped], signal.SIGCONT)
    assert server.reload_under_requests() == []
    name, pid = next(iter(server.pids().items()))
    os.kill(pid, signal.SIGKILL)  # only its main process; hasup ends the workers
    hasup.wait(name, "ready again", lambda r: r["ready"] and r["pid"] != pid)
    assert server.answers()


@pytest.mark.long
@pytest.mark.parametrize("section", ["uvicorn", "hypercorn"])
def test_what_a_server_by_itself_cuts_at_its_end(hasup, section):
    """At most connections that have just opened, as the page says: nothing is refused."""
    failures = Server(hasup, section).reload_under_requests()
    assert not [failure for failure in failures if "refused" in failure]


def test_granian_stands_behind_the_dispatcher(hasup):
    server = Server(hasup, "granian")
    assert sorted(get(server.url) for _ in range(4)) == ["1", "1", "2", "2"]
    assert server.reload_under_requests() == []
