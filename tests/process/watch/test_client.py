"""What programs call, against real sockets: a supervisor that is slow, gone or replaced never hurts them."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from hasup import client


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    """Makes a NOTIFY_SOCKET at a path, as systemd's is."""
    opened = []

    def make():
        path = tmp_path / "notify"
        path.unlink(missing_ok=True)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.append(one)
        one.bind(str(path))
        one.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        return one

    yield make
    client._forget()
    for one in opened:
        one.close()


def test_a_path(supervisor):
    one = supervisor()
    assert client.reloading()
    assert one.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert client.stopping()
    assert one.recv(100) == b"STOPPING=1"


def test_a_socket_that_nobody_reads_blocks_nobody(supervisor):
    one = supervisor()
    sent = 0
    while client.heartbeat():
        sent += 1
    assert sent > 0
    one.recv(100)
    assert client.heartbeat()


def test_a_supervisor_that_was_replaced_is_found_again(supervisor):
    one = supervisor()
    assert client.heartbeat()
    one.close()
    assert not client.heartbeat()
    two = supervisor()
    assert client.heartbeat()
    assert two.recv(100) == b"WATCHDOG=1"


def test_nothing_is_written_to_a_file_that_has_the_sockets_number_now(supervisor):
    """Daemons close all their descriptors, and open others."""
    one = supervisor()
    assert client.ready()
    number = client._kept[1].fileno()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        os.dup2(ours.fileno(), number)
        assert client.heartbeat()
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        os.close(number)
    assert [one.recv(100), one.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_no_descriptor_left_is_still_a_heartbeat(supervisor, no_room):
    one = supervisor()
    assert client.ready()
    with no_room():
        alive = client.heartbeat()
    assert alive
    assert [one.recv(100), one.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


@pytest.mark.parametrize(
    "address", ["", "relative", "@nobody-is-there", "/nobody/is/there", "/" + "x" * 200, "vsock:2:3"]
)
def test_nobody_to_tell(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not client.ready()


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        ("3000000", "", 1.5),
        ("3000000", str(os.getpid()), 1.5),
        ("3000000", "1", None),
        ("0", "", None),
        ("x", "", None),
        ("\u00b2", "", None),
        ("9" * 5000, "", None),
    ],
)
def test_watchdog_interval(monkeypatch, usec, pid, interval):
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert client.watchdog_interval() == interval


LISTEN = """
import os, hasup
os.closerange(6, 256)
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.pop("OTHER", "0")))
sockets = hasup.listen_sockets(), hasup.listen_sockets("b")
print(*([one.getsockname()[1] for one in part] for part in sockets), flush=True)
os._exit(0)  # two objects for one descriptor: not to be closed twice
"""


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({"LISTEN_FDS": "3", "LISTEN_FDNAMES": "a:file:b"}, ([0, 1], [1])),
        ({"LISTEN_FDS": "3"}, ([0, 1], [])),
        ({"LISTEN_FDS": "9" * 12, "LISTEN_FDNAMES": "b:file:b"}, ([0, 1], [0, 1])),
        ({"LISTEN_FDS": "3", "OTHER": "1"}, ([], [])),
        ({"LISTEN_FDS": "some"}, ([], [])),
    ],
)
def test_listen_sockets(env, wanted):
    """Descriptors 3 and 5 are sockets, 4 is a file."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        file = stack.enter_context(open(os.devnull, "rb"))
        first, second = (server.fileno() for server in servers)
        shell = f'exec 30<&{first} 31<&{file.fileno()} 32<&{second} 3<&30 4<&31 5<&32; exec "$0" -c "$1"'
        done = subprocess.run(
            ["bash", "-c", shell, sys.executable, LISTEN],
            env=os.environ | env, pass_fds=(first, file.fileno(), second), capture_output=True, text=True, check=False,
        )  # fmt: skip
        ports = [server.getsockname()[1] for server in servers]
    assert done.stderr == ""
    assert done.stdout == " ".join(str([ports[index] for index in part]) for part in wanted) + "\n"


def run_notify(*arguments, **env):
    """``hasup notify`` as a child of this process."""
    return subprocess.run(
        [sys.executable, "-m", "hasup", "notify", *arguments], env=os.environ | env, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ready", "--status=a\nb", "X_OWN=1"], "READY=1\nSTATUS=a b\nX_OWN=1"),
        (["--stopping", "--heartbeat"], "STOPPING=1\nWATCHDOG=1"),
        (["--pid=4711"], "MAINPID=4711"),
        (["--ready", "--pid"], f"READY=1\nMAINPID={os.getpid()}"),
    ],
)
def test_hasup_notify(supervisor, arguments, message):
    one = supervisor()
    done = run_notify(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert one.recv(1000).decode() == message


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        ([], {}, 2, "nothing to tell"),
        (["ready"], {}, 2, "NAME=VALUE"),
        (["--pid", "READY=1"], {}, 2, "'READY=1' is no process id"),
        (["--ready"], {"NOTIFY_SOCKET": ""}, 1, "NOTIFY_SOCKET is not set"),
        (["--ready"], {"NOTIFY_SOCKET": "@nobody-is-there"}, 1, "could not be sent"),
    ],
)
def test_hasup_notify_says_what_is_wrong(arguments, env, code, words):
    done = run_notify(*arguments, **env)
    assert done.returncode == code
    assert done.stderr.startswith("hasup: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_import_costs_next_to_nothing():
    code = "import sys; before = set(sys.modules); import hasup; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['hasup', 'hasup.version']\n"
