"""Peers that mean harm, on the notify and control sockets of a real hasup."""

import contextlib
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.hostile import STRANGER, assert_supervised, root_only
from tests.e2e.harness import until

pytestmark = pytest.mark.chaos

QUIET = '[programs.quiet]\ncommand = "sleep 1000"\nready.after = "10ms"\nrestart.delay = "20ms"\n'
SILENT = QUIET + '[programs.silent]\ncommand = "sleep 1000"\nready = { notify = true, timeout = "60s" }\n'


def notify_socket(pid: int) -> str:
    """The address that a program was told, ready to be sent to."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return "\0" + next(e.partition(b"=")[2] for e in entries if e.startswith(b"NOTIFY_SOCKET=")).decode()[1:]


def reasons(hasup, event="trouble"):
    return [one["reason"] for one in hasup.events(event=event)]


# --- notify -----------------------------------------------------------------------------------------------------------
def test_heartbeats_and_readiness_of_a_wrong_process_do_not_count(hasup):
    """This process is none of the replica's: it can neither make it ready nor keep it from being called hung."""
    hasup.write(SILENT)
    start = hasup.popen("start", "-d")
    until(lambda: hasup.run("status", code=None).returncode == 0, "it is up")
    pid = hasup.wait("silent.1", "starting", lambda r: r["pid"])["pid"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect(notify_socket(pid))
        for _ in range(10):
            stranger.send(b"READY=1\nSTATUS=all is well\nWATCHDOG=1\n")
    until(lambda: any("was refused: it is none of this replica" in text for text in reasons(hasup)), "it is told")
    replica = hasup.replica("silent.1")
    assert (replica["state"], replica["ready"], replica["status_text"]) == ("starting", False, "")
    start.kill()


@pytest.mark.parametrize("message", ["nonsense", "giant", "descriptors", "flood"])
def test_datagrams_that_mean_harm(hasup, message):
    """From the replica itself: nothing is kept open, nobody else is held up, and it may still say that it is ready."""
    (hasup.folder / "evil.py").write_text(EVIL)
    hasup.start(QUIET + f'[programs.evil]\ncommand = ["python3", "evil.py", "{message}"]\nready.notify = true\n')
    core = hasup.status()["supervisor"]["core_pid"]
    before = len(os.listdir(f"/proc/{core}/fd"))
    hasup.run("signal", "evil", "USR1")
    hasup.wait("evil.1", "it has sent all", lambda r: r["status_text"] == "done")
    assert_supervised(hasup)
    assert hasup.status()["supervisor"]["core_pid"] == core
    until(lambda: len(os.listdir(f"/proc/{core}/fd")) <= before + 4, "no descriptor stays open")
    assert hasup.replica("evil.1")["restarts"] == 0
    if message in ("nonsense", "giant"):
        said = {"nonsense": "were not understood", "giant": "of more than 65536 bytes was refused"}[message]
        assert any(said in text for text in reasons(hasup))


EVIL = """
import array, os, signal, socket, sys, time
address = "\\0" + os.environ["NOTIFY_SOCKET"][1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
s.connect(address)
s.send(b"READY=1")
signal.sigwait([signal.SIGUSR1]) if signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]) is not None else None
kind = sys.argv[1]
if kind == "nonsense":
    for data in (b"", b"\\0" * 1000, b"=" * 1000, os.urandom(5000), b"WATCHDOG_USEC=-1",
                 b"MAINPID=99999999999999999999", b"EXTEND_TIMEOUT_USEC=" + b"9" * 5000,
                 b"STATUS=" + b"\\xff" * 5000, b"\\n" * 60000):
        s.send(data)
elif kind == "giant":
    for size in (65_537, 100_000, 200_000):
        s.send(b"STATUS=" + b"x" * size)
elif kind == "descriptors":
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    for text in (b"STATUS=x", b"nonsense", b"READY=1", b"STATUS=" + b"y" * 100_000):
        s.sendmsg([text], rights)
elif kind == "flood":
    for number in range(20_000):
        s.send(b"STATUS=%d\\nWATCHDOG=1" % number)
s.send(b"STATUS=done")
time.sleep(1000)
"""


def test_time_is_not_extended_without_end(hasup):
    """EXTEND_TIMEOUT_USEC helps for ten times the timeout, then its start has failed."""
    (hasup.folder / "late.py").write_text(
        "import os, socket, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        's.connect("\\0" + os.environ["NOTIFY_SOCKET"][1:])\n'
        'while True:\n    s.send(b"EXTEND_TIMEOUT_USEC=3600000000")\n    time.sleep(0.05)\n'
    )
    hasup.start(
        QUIET + '[programs.late]\ncommand = "python3 late.py"\nready = { notify = true, timeout = "200ms" }\n'
        'restart.delay = "60s"\nabort.timeout = "100ms"\n',
        code=1,
    )
    assert hasup.replica("late.1")["last"]["result"] == "start-timeout"


# --- control ----------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def connection(hasup):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.connect(str(hasup.state_dir / "control.sock"))  # a full queue is waited for
        one.settimeout(60)
        yield one


def error_line(one) -> dict:
    """The error that comes before the end of a connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(65536):
            data += piece
    return json.loads(data.splitlines()[-1])["error"]


def test_a_request_that_does_not_end(hasup):
    """Two megabytes without an end of line, of the hundred that were to come: refused at the limit, with the reason."""
    hasup.start(QUIET)
    with connection(hasup) as one:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            while sent < 100_000_000:
                sent += one.send(b"x" * 65536)
                if sent > 2_000_000:
                    one.settimeout(1)  # what is refused is not read any more
        assert sent < 10_000_000
        one.settimeout(60)
        assert "at most" in error_line(one)["message"]
    hasup.run("status")


def test_a_client_that_sends_a_byte_at_a_time_and_one_that_never_reads(hasup):
    hasup.start(QUIET)
    with connection(hasup) as slow, connection(hasup) as deaf:
        deaf.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for number in range(100_000):
                deaf.send(b'{"jsonrpc": "2.0", "id": %d, "method": "status", "params": {}}\n' % number)
        for byte in b'{"jsonrpc": "2.0", "id": 1, "method": "version", "params": {}}\n':
            slow.send(bytes([byte]))
            if byte == ord(","):
                hasup.run("status")
        assert json.loads(slow.recv(65536))["result"]["core_pid"]
        assert_supervised(hasup)


def said_to(one) -> bytes:
    """What a connection was told so far."""
    one.setblocking(False)
    try:
        return one.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections(hasup, many_descriptors):
    """64 have a seat, the others are told so. Who only sits there gives it up to an operator, who waits for it."""
    hasup.start(QUIET)
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(connection(hasup)) for _ in range(1000)]
        hasup.run("status")
        assert_supervised(hasup)
        assert sum(b"seats at the control socket are taken" in said_to(one) for one in crowd) > 100


@root_only
def test_another_user_reaches_nothing(hasup):
    """Neither the socket nor the files; and were the folder open, the kernel's word on who it is would still count."""
    hasup.start(QUIET)
    script = (
        "import os, socket, sys\nos.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)\n"
        "try:\n    s.connect(sys.argv[1])\n    print(s.makefile().readline())\n"
        "except OSError as error:\n    print(type(error).__name__)\n"
    )

    def attempt() -> str:
        argv = [sys.executable, "-c", script, str(hasup.state_dir / "control.sock"), str(STRANGER)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    above = [hasup.folder, hasup.folder.parent, hasup.folder.parent.parent]
    modes = {folder: stat.S_IMODE(folder.stat().st_mode) for folder in above}
    try:
        for folder in above:
            folder.chmod(0o755)
        assert attempt() == "PermissionError"
        hasup.state_dir.chmod(0o755)
        assert attempt() == "PermissionError", "the socket's own mode"
        (hasup.state_dir / "control.sock").chmod(0o666)
        answer = json.loads(attempt())
        assert answer["error"]["message"] == f"user {STRANGER} may not control this hasup"
        hasup.run("status")
    finally:
        hasup.state_dir.chmod(0o700)
        for folder, mode in modes.items():
            folder.chmod(mode)


def test_modes_of_files_are_as_the_page_on_security_says(hasup):
    """Whatever the umask of who starts it."""
    before = os.umask(0)
    try:
        hasup.start(
            QUIET + '[programs.talker]\ncommand = ["sh", "-c", "echo hello; sleep 1000"]\nready.after = "10ms"\n'
        )
    finally:
        os.umask(before)
    assert_supervised(hasup)
    found = {str(p.relative_to(hasup.state_dir)): stat.S_IMODE(p.lstat().st_mode) for p in hasup.state_dir.rglob("*")}
    assert stat.S_IMODE(hasup.state_dir.stat().st_mode) == 0o700
    assert found["control.sock"] == 0o600
    assert found["logs"] == 0o700
    assert found["logs/talker.1.log"] & ~0o640 == 0
    for name, mode in found.items():
        assert mode & 0o027 == 0, f"{name} has mode {mode:o}"
        if not name.startswith("logs/") and not (hasup.state_dir / name).is_dir():
            assert mode & 0o077 == 0, f"{name} has mode {mode:o}"


def test_a_program_has_no_descriptor_of_hasups(hasup):
    """Standard streams, and nothing else: no control socket, no journal, no way to the guardian."""
    hasup.start(QUIET)
    pid = hasup.replica("quiet.1")["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
