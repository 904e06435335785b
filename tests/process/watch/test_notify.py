"""Notify sockets with real senders: who is heard, who is not, and what becomes of descriptors."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys

import pytest

from hasup.guardian import cgroups
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
    def __init__(self, loop, belongs=lambda *_: True, instance=None):
        self.loop = loop
        self.instance = instance or os.urandom(16).hex()  # abstract addresses are the whole machine's
        self.events = []
        self.troubles = []
        self.sockets = NotifySockets(
            loop, self.instance, self.events.append, belongs, lambda *told: self.troubles.append(told)
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


def test_what_is_held_waits_in_the_socket(site, loop):
    site.sockets.hold("web.1")
    with site.sender() as sender:
        sender.send(b"READY=1")
        loop.turn(0.0)
        assert site.events == []
        site.sockets.release("web.1")
        loop.until(lambda: site.events == [Notified("web.1", ready=True)], "it is heard then")


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


def test_a_flood_holds_up_nobody_else(site, loop):
    _, address = site.sockets.open("web.2")
    with site.sender() as flooder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        flooder.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flooder.send(b"WATCHDOG=1")
        other.connect("\0" + address[1:])
        other.send(b"READY=1")
        loop.turn(1)
    site.sockets.close("web.2")
    assert Notified("web.2", ready=True) in site.events


def test_a_flood_that_goes_on_while_it_is_read_has_its_turn_and_no_more(loop):
    site = Site(loop)
    with site.sender() as sender:

        def heard_and_sent_more(event):
            site.events.append(event)
            if len(site.events) < 1000:
                sender.send(b"STATUS=more")

        site.sockets._emit = heard_and_sent_more
        sender.send(b"STATUS=first")
        loop.turn(1)
    site.sockets.close("web.1")
    assert 1 <= len(site.events) < 1000


def test_a_stranger_who_floods_is_looked_up_once_a_turn_and_reported_once(loop):
    looked_up = []

    def belongs(*who):
        looked_up.append(who)
        return False

    site = Site(loop, belongs)
    with site.sender() as sender:
        for _ in range(5):
            sender.send(b"READY=1")
        loop.turn(1)
    site.sockets.close("web.1")
    assert looked_up == [("web.1", os.getpid(), os.getuid(), os.getgid())]
    assert len(site.troubles) == 1
    assert site.events == []


def test_what_was_not_understood_is_reported(site, loop):
    with site.sender() as sender:
        sender.send(b"READY=1\nnonsense\nMAINPID=me")
        loop.until(lambda: site.events, "heard")
    assert site.events == [Notified("web.1", ready=True)]
    assert site.troubles == [("web.1", "2 lines of a message to its NOTIFY_SOCKET were not understood")]


def test_a_name_that_somebody_took_before_is_no_obstacle(loop):
    """Anyone on the machine can read the instance's name from the sockets that there are, and take the next one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as squatter:
        instance = os.urandom(16).hex()
        squatter.bind(f"\0hasup/{instance}/web.1")
        site = Site(loop, instance=instance)
        kept = os.dup(site.fd)
        with site.sender() as sender:
            sender.send(b"READY=1")
        loop.until(lambda: site.events, "heard")
        site.sockets.close("web.1")
        site.sockets.adopt("web.1", kept)
        assert site.sockets.open("web.1")[1] == site.address, "also for the next core"
        site.sockets.close("web.1")


def test_out_of_descriptors(loop, no_room):
    """Where the senders can't be looked up, those of the replica's user are believed, and nothing raises."""
    site = Site(loop, lambda _slot, pid, uid, _gid: proc.belongs(1, pid, "tree", cgroup="/nowhere", uid=uid))
    owner = os.stat("/proc/1").st_uid
    with site.sender() as sender, no_room():
        socket.send_fds(sender, [b"READY=1"], [0])
        loop.turn(1)
    site.sockets.close("web.1")
    assert bool(site.events) == (owner == os.getuid())


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


def test_a_barrier_opens_after_the_decisions_of_its_turn(site, loop):
    """They are taken at the end of a turn."""
    decided = []
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)

    def decide():
        with contextlib.suppress(BlockingIOError):
            decided.append((len(site.events), os.read(read_end, 1)))
        if site.events and not decided:
            decided.append("before")

    with site.sender() as sender:
        sender.send(b"READY=1")
        socket.send_fds(sender, [b"BARRIER=1"], [write_end])
    os.close(write_end)
    loop.before_sleep = decide
    loop.until(lambda: (1, b"") in decided, "it opens")
    os.close(read_end)
    assert decided[0] == "before"


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


def test_an_orphan_belongs_by_what_it_was_started_with(loop):
    """A daemon that forked twice: no session, group or parent ties it to the replica any more."""
    script = 'sh -c \'setsid "$PYTHON" -c "$SEND" "$ADDRESS" READY=1 stay <&3 & :\' 3<&0; exec sleep 1000'
    heard = []
    for slot in ("web.1", "other"):
        site = Site(loop)
        env = os.environ | {"PYTHON": sys.executable, "SEND": SEND, "ADDRESS": site.address}
        mine = env | {"HASUP_INSTANCE": "f" * 32, "HASUP_SLOT": slot}
        daemon = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, env=mine, start_new_session=True)
        replica = subprocess.Popen(["sleep", "1000"], env=mine | {"HASUP_SLOT": "web.1"}, start_new_session=True)

        def belongs(_slot, pid, uid, _gid, main=replica.pid):
            heard.append(proc.belongs(main, pid, "tree", cgroup=None, uid=uid))
            assert not proc.belongs(main, pid, "tree", cgroup=None, uid=uid + 1)
            return heard[-1]

        site.sockets._belongs = belongs
        try:
            loop.until(lambda: len(heard) == (1 if slot == "web.1" else 2), "the message came")  # noqa: B023
        finally:
            for process in (daemon, replica):
                process.kill()
                process.wait()
            daemon.stdin.close()
            site.sockets.close("web.1")
    assert heard == [True, False]


def test_whoever_is_in_the_cgroup_or_below_it_belongs():
    own = cgroups.own_folder()
    if own is None:
        pytest.skip("needs cgroups v2")
    assert proc._is_within(os.getpid(), own)
    assert proc._is_within(os.getpid(), own.rpartition("/")[0])
    assert not proc._is_within(os.getpid(), own + "x")
    assert not proc._is_within(os.getpid(), own[:-1])
    assert not proc._is_within(os.getpid(), own + "/below")


def test_a_process_outside_of_the_pid_namespace_does_not_belong():
    assert not proc.belongs(os.getpid(), 0, "tree", cgroup=None, uid=os.getuid())


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
