"""What a replica has hasup keep for its next run: FDSTORE, FDNAME, FDPOLL, FDSTOREREMOVE."""

import os
import signal
import sys

import pytest

from tests.e2e.harness import Hasup, until

# Does what the lines of the file "deeds" say, then waits; writes what it was given to "given", one line a run.
KEEPER = """
import os, signal, socket, hasup
def tell(text, *fds):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
        socket.send_fds(notify, [text.encode()], fds)
given = []
if os.environ.get("LISTEN_PID") == str(os.getpid()):
    names = os.environ["LISTEN_FDNAMES"].split(":")
    given = [(name, os.readlink(f"/proc/self/fd/{3 + n}").partition(":")[0]) for n, name in enumerate(names)]
    assert len(names) == int(os.environ["LISTEN_FDS"])
with open("given", "a") as file:
    print(given, file=file)
deeds = open("deeds").read()
open("deeds", "w").close()
exec(deeds)
hasup.ready()
signal.pause()
"""


@pytest.fixture
def keeper(hasup: Hasup) -> Hasup:
    hasup.write(KEEPER, "keeper.py")
    hasup.write("", "deeds")
    hasup.write(f"""
[programs.keeper]
command = ["{sys.executable}", "keeper.py"]
ready.notify = true
restart.delay = "20ms"
""")
    return hasup


def begin(hasup: Hasup, deeds: str) -> None:
    hasup.write(deeds, "deeds")
    hasup.start()


def again(hasup: Hasup, deeds: str = "") -> str:
    """Kill it; what its next run was given. That run does ``deeds``."""
    hasup.write(deeds, "deeds")
    pid = hasup.replica("keeper.1")["pid"]
    os.kill(pid, signal.SIGKILL)
    hasup.wait("keeper.1", "back", lambda replica: replica["ready"] and replica["pid"] not in (None, pid))
    return given(hasup)


def given(hasup: Hasup) -> str:
    return (hasup.folder / "given").read_text().splitlines()[-1]


LISTEN = "s = socket.create_server(('127.0.0.1', 0)); "


def test_descriptors_come_back_after_a_crash_and_a_death_of_the_core(keeper):
    begin(
        keeper,
        LISTEN + "tell('FDSTORE=1\\nFDNAME=web', s.fileno()); f = open('deeds'); tell('FDSTORE=1', f.fileno()); "
        "tell('FDSTORE=1\\nFDNAME=a:b', f.fileno())",
    )
    kept = f"[('web', 'socket'), ('stored', '{keeper.folder}/deeds'), ('stored', '{keeper.folder}/deeds')]"
    assert again(keeper) == kept
    core = keeper.status()["supervisor"]["core_pid"]
    os.kill(core, signal.SIGKILL)
    until(lambda: keeper.status()["supervisor"]["core_pid"] != core, "another core")
    assert again(keeper) == kept
    keeper.run("restart", "keeper")
    assert given(keeper) == kept


def test_a_stop_lets_them_go(keeper):
    begin(keeper, LISTEN + "tell('FDSTORE=1', s.fileno())")
    assert again(keeper) == "[('stored', 'socket')]"
    keeper.run("stop", "keeper")
    keeper.run("start", "keeper")
    assert given(keeper) == "[]"


def test_they_are_removed_by_name_and_when_their_far_end_hangs_up(keeper):
    begin(
        keeper,
        LISTEN + "tell('FDSTORE=1\\nFDNAME=out', s.fileno()); tell('FDSTORE=1\\nFDNAME=stays', s.fileno()); "
        "tell('FDSTOREREMOVE=1\\nFDNAME=out'); "
        "a, b = socket.socketpair(); tell('FDSTORE=1\\nFDNAME=dead', a.fileno()); "
        "c, d = socket.socketpair(); tell('FDSTORE=1\\nFDPOLL=0\\nFDNAME=unpolled', c.fileno())",
    )  # its end closes b and d
    assert again(keeper) in (  # the hang-up may be noticed just after it has been started
        "[('stays', 'socket'), ('unpolled', 'socket')]",
        "[('stays', 'socket'), ('dead', 'socket'), ('unpolled', 'socket')]",
    )
    assert again(keeper) == "[('stays', 'socket'), ('unpolled', 'socket')]"


def test_there_is_a_bound(keeper):
    begin(keeper, LISTEN + "[tell('FDSTORE=1', *[s.fileno()] * 100) for _ in range(3)]")
    assert len(eval(again(keeper))) == 100
    assert "descriptors were not kept" in "".join(event["reason"] for event in keeper.events(event="trouble"))


def test_an_error_is_shown(keeper):
    begin(keeper, "tell('STATUS=no luck\\nERRNO=2\\nEXIT_STATUS=3')")
    keeper.run("status")
    shown = keeper.run("status").stdout
    assert "no luck; error 2: no such file or directory; exit status 3" in shown
