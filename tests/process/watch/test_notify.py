"""Notify sockets with real senders: who is heard, who is not, and what becomes of descriptors."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from hasup.model.events import Beat, Notified
from hasup.runtime import proc
from hasup.runtime.notify import NotifySockets

SEND = """
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(chr(0) + sys.argv[1][1:])
s.send(sys.argv[2].encode())
if len(sys.argv) > 3: sys.stdin.read()
"""


class Site:
    def __init__(self, loop, belongs=lambda *_: True):
        self.loop = loop
        self.events = []
        self.troubles = []
        self.sockets = NotifySockets(
            loop, "f" * 32, self.events.append, belongs, lambda *told: self.troubles.append(told)
        )
        self.fd, self.address = self.sockets.open("web.1")

    def sender(self):
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        one.connect("\0" + self.address[1:])
        return one


@pytest.fixture
def site(loop):
    one = Site(loop)
    yield one
    one.sockets.close("web.1")


def open_files():
    return len(os.listdir("/proc/self/fd"))


def test_messages_become_events(site, loop):
    with site.sender() as sender:
        sender.send(b"WATCHDOG=1")
        sender.send(b"READY=1\nSTATUS=fine\nEXTEND_TIMEOUT_USEC=7")
        loop.until(lambda: len(site.events) == 2, "both are heard")
    assert Beat("web.1") in site.events
    assert Notified("web.1", ready=True, status="fine", extend_timeout_usec=7) in site.events


def test_a_flood_is_one_sign_of_life_a_turn(site, loop):
    with site.sender() as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.send(b"WATCHDOG=1")
        loop.turn(1)
    assert site.events == [Beat("web.1")]


def test_descriptors_are_closed(site, loop):
    before = open_files()
    with site.sender() as sender:
        socket.send_fds(sender, [b"READY=1"], [0, 1, 2])
        loop.until(lambda: site.events, "heard")
    assert open_files() == before


def test_a_barrier_opens_after_what_came_before(site, loop):
    read_end, write_end = os.pipe()
    with site.sender() as sender, os.fdopen(read_end, "rb") as reader:
        sender.send(b"READY=1")
        socket.send_fds(sender, [b"BARRIER=1"], [write_end])
        os.close(write_end)
        os.set_blocking(read_end, False)
        loop.until(lambda: reader.read() == b"", "the other end is closed")
    assert [type(event) for event in site.events] == [Notified]


def test_giants_and_nonsense(site, loop):
    with site.sender() as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with contextlib.suppress(OSError):  # the kernel may refuse it already
            sender.send(b"READY=1\n" + b"x" * 150_000)
        sender.send(b"\xff\x00=\n\n==")
        sender.send(b"READY=1")
        loop.until(lambda: site.events, "the good one is heard")
    assert site.events == [Notified("web.1", ready=True)]


def test_it_outlives_the_one_who_reads(site, loop):
    """What is sent while nobody reads waits in the kernel for the next core, which adopts the socket."""
    kept = os.dup(site.fd)
    site.sockets.close("web.1")
    with site.sender() as sender:
        sender.send(b"READY=1")
    site.sockets.adopt("web.1", kept)
    loop.until(lambda: site.events, "heard")
    assert site.sockets.open("web.1")[1] == site.address


def test_senders_are_checked_by_the_kernels_word(loop):
    replica = subprocess.Popen(["sleep", "100"], start_new_session=True)
    site = Site(loop, lambda _slot, pid, uid, _gid: proc.belongs(replica.pid, pid, "tree", cgroup=None, uid=uid))
    try:
        stranger = subprocess.Popen(
            [sys.executable, "-c", SEND, site.address, "READY=1", "stay"], stdin=subprocess.PIPE, start_new_session=True
        )
        loop.until(lambda: site.troubles, "the stranger is refused")
        assert f"process {stranger.pid}" in site.troubles[0][1]
        assert site.events == []
        stranger.communicate()
    finally:
        replica.kill()
        replica.wait()
        site.sockets.close("web.1")


@pytest.mark.parametrize("access", ["tree", "main"])
def test_children_and_grandchildren_belong(loop, access):
    """A replica that makes a session of its own for a child: the child still descends from it."""
    script = 'setsid "$PYTHON" -c "$SEND" "$ADDRESS" READY=1 stay <&0 & wait'
    site = Site(loop)
    env = os.environ | {"PYTHON": sys.executable, "SEND": SEND, "ADDRESS": site.address}
    replica = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, env=env, start_new_session=True)
    heard = []

    def belongs(_slot, pid, uid, _gid):
        heard.append(proc.belongs(replica.pid, pid, access, cgroup=None, uid=uid))
        return heard[-1]

    site.sockets._belongs = belongs
    try:
        loop.until(lambda: heard, "the message came")
        assert heard == [access == "tree"]
    finally:
        replica.communicate()
        site.sockets.close("web.1")


def test_a_sender_that_has_gone_is_believed_if_its_user_is_the_replicas():
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    pid = int(gone.stdout)
    assert proc.belongs(os.getpid(), pid, "tree", cgroup=None, uid=os.getuid())
    assert not proc.belongs(os.getpid(), pid, "tree", cgroup=None, uid=os.getuid() + 1)


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="needs systemd-notify")
def test_systemds_own_client(site, loop):
    client = subprocess.Popen(
        ["systemd-notify", "--ready", "--status=hello"], env=os.environ | {"NOTIFY_SOCKET": site.address}
    )
    loop.until(lambda: client.poll() is not None, "it ends, since its barrier opens")
    assert client.returncode == 0
    assert site.events == [Notified("web.1", ready=True, status="hello")]


def test_our_own_client(site, loop):
    code = "import hasup; print(hasup.ready(), hasup.heartbeat(), hasup.status('a\\nb'), hasup.watchdog_interval())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NOTIFY_SOCKET": site.address, "WATCHDOG_USEC": "3000000"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True True True 1.5\n"
    loop.until(lambda: len(site.events) == 3, "heard")
    assert Notified("web.1", status="a b") in site.events


def test_our_own_client_outside_of_any_supervisor():
    code = "import hasup; print(hasup.ready(), hasup.watchdog_interval(), hasup.listen_sockets())"
    env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "WATCHDOG_USEC")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "False None []\n"
