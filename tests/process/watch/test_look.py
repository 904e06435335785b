"""What is seen of real processes."""

import os
import socket
import subprocess
import sys

import pytest

from hasup.runtime.look import _in_words, _v4, is_python, look, zombies_of
from tests.e2e.harness import state_of, until

PARENT = """
import os, socket, subprocess, sys, threading, time
ended = subprocess.Popen(["true"])
os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
child = subprocess.Popen(["sleep", "1000"])
listener = socket.create_server(("127.0.0.1", 0))
other = socket.create_connection(listener.getsockname())
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print(listener.getsockname()[1], child.pid, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def parent():
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def test_a_process_with_all_that_there_is(parent):
    port, child = map(int, parent.stdout.readline().split())
    until(lambda: state_of(parent.pid) == "S", "it sleeps")
    found = look(parent.pid, within=60.0)
    assert found["pid"] == parent.pid
    assert found["state"].startswith("S")
    assert found["threads"] == 2
    assert sum(found["threads_wait_in"].values()) == 2
    assert found["memory_kib"] > 1000
    assert found["open_files"]["kinds"]["socket"] == 2
    assert found["open_files"]["count"] >= 5
    assert found["sockets"][0] == f"127.0.0.1:{port} listening, 1 connections wait to be accepted"
    assert [text.split(",")[0] for text in found["children"]] == [f"{child} sleep"]
    assert found["zombies"] == 1
    assert zombies_of([parent.pid, child]) == 1
    assert is_python(parent.pid)
    assert not is_python(child)


def test_a_socket_in_words():
    row = [
        "3:",
        "0100007F:1F90",
        "0200007F:9C40",
        "01",
        "00000000:00000010",
        "00:00000000",
        "00000000",
        "0",
        "0",
        "4711",
    ]
    assert _in_words(row, _v4) == "127.0.0.1:8080 with 127.0.0.2:40000, established, 16 bytes it has not read"


def test_what_takes_too_long_is_cut_short(parent):
    parent.stdout.readline()
    found = look(parent.pid, within=-1.0)
    assert found["cut_short"] is True
    assert found["threads"] == 2, "the most important is seen nevertheless"
    assert not {"open_files", "children", "threads_wait_in"} & set(found)


def test_a_process_that_is_gone():
    assert look(2**22 + 1) == {"pid": 2**22 + 1}


def test_version_six():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        sockets = look(os.getpid(), within=60.0)["sockets"]
        assert f"[::1]:{listener.getsockname()[1]} listening" in sockets
