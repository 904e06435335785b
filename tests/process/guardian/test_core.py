"""The core dies, hangs, talks nonsense or never comes up; what it had and what happened meanwhile is not lost."""

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hasup.protocol.guardian import MAX_FRAME
from hasup.version import __version__
from tests.process.guardian.harness import Bench, lives, state_of, wait_until

FOREVER = ["sleep", "1000"]
Start = Callable[..., Bench]


def kill_core(bench: Bench) -> None:
    os.kill(bench.core.pid, signal.SIGKILL)


def test_the_introduction(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "config").open("w") as config, (tmp_path / "control").open("w") as control:
        bench = start(store={"config": config.fileno(), "control": control.fileno()})
    hello = bench.core.events[0]
    assert {name: hello[name] for name in hello if name != "started"} == {
        "event": "hello", "instance": bench.instance, "guardian_pid": bench.process.pid, "core_restarts": 0,
        "core_died": None, "version": __version__, "protocol": 1, "upgrade": None, "upgrading": False,
    }  # fmt: skip
    assert 0 < hello["started"] <= time.monotonic()
    assert {name: os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) for name, fd in bench.core.fds.items()} == {
        "config": "config", "control": "control",
    }  # fmt: skip
    assert bench.core.instance == bench.instance


def test_a_new_core_is_told_what_happened_without_one(bench: Bench) -> None:
    bench.core.send(
        {"op": "ready"}, bench.order("bad.1", ["/no/such"]), blobs={"web.1": '"state"', "": "whole", "gone.1": "x"}
    )
    bench.core.wait("spawn-failed")
    stays, ends = bench.spawn("web.1", FOREVER), bench.spawn("web.2", FOREVER, 4)
    bench.core.send({"op": "forget", "slot": "gone.1"}, blobs={"gone.1": None})
    kill_core(bench)
    os.kill(ends, signal.SIGUSR1)
    core, slots = bench.next_core()
    assert set(slots) == {"", "web.1", "web.2", "bad.1"}
    assert (slots[""]["phase"], slots[""]["blob"], slots[""]["generation"]) == ("none", "whole", 0)
    web1, web2, bad = slots["web.1"], slots["web.2"], slots["bad.1"]
    assert (web1["phase"], web1["pid"], web1["generation"], web1["blob"]) == ("running", stays, 1, '"state"')
    assert (bad["phase"], bad["error"], bad["exit"], bad["empty"]) == ("exited", "/no/such does not exist", None, True)
    if web2["phase"] == "running":  # the guardian heard of the core's end first
        web2["exit"] = core.wait("exited", "web.2")
    assert (web2["exit"]["signal"], web2["exit"]["pid"], web2["generation"]) == (signal.SIGUSR1, ends, 4)
    hello = core.events[0]
    assert (hello["core_restarts"], hello["core_died"]) == (1, "the core ended with signal 9")
    assert lives(stays)


def test_what_a_core_ordered_before_it_died_is_done(bench: Bench) -> None:
    os.kill(bench.process.pid, signal.SIGSTOP)  # so that the order and the death come in the same turn
    bench.core.send(bench.order("web.1", FOREVER), blobs={"web.1": "spawned"})
    kill_core(bench)
    os.kill(bench.process.pid, signal.SIGCONT)
    core, slots = bench.next_core()
    assert (slots["web.1"]["generation"], slots["web.1"]["blob"]) == (1, "spawned")
    pid = slots["web.1"]["pid"]
    core.send(bench.order("web.1", FOREVER), bench.order("mark.1", ["true"]))
    core.wait("exited", "mark.1")
    assert lives(pid)


def test_a_core_that_ends_by_itself_is_replaced(bench: Bench) -> None:
    bench.core.socket.shutdown(socket.SHUT_RDWR)  # the fake core ends with 0 on that
    core, _ = bench.next_core()
    assert core.events[0]["core_died"] == "the core ended with exit code 0"


def test_a_hung_core_is_replaced_and_one_whose_guardian_was_stopped_is_not(start: Start) -> None:
    quick = {"corelink.CORE_TIMEOUT_S": 2.0, "corelink.PING_INTERVAL_S": 0.2, "corelink._STALL_S": 0.5}
    hung, stalled = start(patience=quick), start(patience=quick)
    os.kill(stalled.process.pid, signal.SIGSTOP)
    hung.core.mute = True
    os.kill(hung.core.pid, signal.SIGSTOP)
    web = hung.spawn("web.1", FOREVER)
    core, slots = hung.next_core()
    assert (core.events[0]["core_died"], slots["web.1"]["pid"]) == ("the core ended with signal 9", web)
    assert "has not answered for 2 s: killed" in hung.errors
    os.kill(stalled.process.pid, signal.SIGCONT)  # it was stopped for longer than a core has for its answer
    assert stalled.spawn("web.1", FOREVER)
    assert lives(stalled.core.pid)
    assert stalled.errors == ""


@pytest.mark.parametrize(
    "orders",
    [
        [{"op": "nonsense"}],
        [{}],
        ["text"],
        [None],
        "text",
        7,
        [{"op": "spawn"}],
        [{"op": "spawn", "slot": "web.9", "generation": "x"}],
        [{"op": "spawn", "slot": ["web.9"], "generation": 1, "argv": ["true"], "fds": []}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": [], "fds": [[0, "null"]]}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": 5, "fds": [[0, "null"]]}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": ["true"], "fds": [["x", "null"]]}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": ["true"], "fds": [], "env": 5}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": ["true"], "fds": [], "env": {"A": 5}}],
        [{"op": "spawn", "slot": "web.9", "generation": 1, "argv": ["true"], "fds": [], "uid": "root"}],
        [{"op": "signal", "slot": "web.1", "generation": 1, "signal": 4000}],
        [{"op": "signal", "slot": "web.1", "generation": 1, "signal": "TERM"}],
        [{"op": "clear", "slot": "web.1"}],
        [{"op": "forget", "slot": "web.1"}],
        [{"op": "keep", "names": ["a", "b"]}],
        [{"op": "drop", "names": 3}],
        [{"op": "notify"}],
        [{"op": "exit", "code": "x"}],
    ],
)
def test_nonsense_is_reported_and_the_rest_is_done(bench: Bench, orders: Any) -> None:
    web = bench.spawn("web.1", FOREVER)
    rest = [bench.order("mark.1", ["true"])]
    bench.core.send(*(orders if isinstance(orders, list) else []), *rest)
    if not isinstance(orders, list):
        bench.core.socket.send(f'{{"blobs": 5, "do": {orders!r}}}'.replace("'", '"').encode())
    bench.core.wait("exited", "mark.1")
    bench.core.send(bench.order("mark.2", ["true"]))
    bench.core.wait("exited", "mark.2")
    assert lives(web)
    failed = any(event["event"] == "spawn-failed" for event in bench.core.events)
    if not failed and "failed: " not in bench.errors:
        bench.core.wait("spawn-failed")  # said by the child, which may take longer than the others' whole lives


@pytest.mark.parametrize("packet", [b"{", b"[]", b"\xff\xfe", b"x" * (MAX_FRAME + 500), b'{"do": null}'])
def test_packets_that_are_no_frames(bench: Bench, packet: bytes) -> None:
    bench.core.socket.send(packet)
    assert bench.spawn("web.1", FOREVER)


def test_descriptors_that_nobody_names_are_closed(bench: Bench, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        bench.core.send({"op": "keep", "names": ["a"]}, fds=[file.fileno()] * 5)
        bench.core.send(fds=[file.fileno()] * 3)
        bench.core.send({"op": "nonsense"}, fds=[file.fileno()])
        bench.core.send({"op": "keep", "names": ["a"]}, bench.order("mark.1", ["true"]), fds=[file.fileno()])
    bench.core.wait("exited")
    held = [os.readlink(f"/proc/{bench.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{bench.process.pid}/fd")]
    assert held.count(str(tmp_path / "file")) == 1


def test_a_slow_core_loses_nothing(bench: Bench) -> None:
    """Far more than fits into the socket before the first is read."""
    for number in range(300):
        bench.core.send(bench.order(f"web.{number}", ["true"]))
    kinds: dict[str, list[str]] = {f"web.{number}": [] for number in range(300)}
    for _ in range(600):
        event = bench.core.read()
        kinds[event["slot"]].append(event["event"])
    assert all(told == ["spawned", "exited"] for told in kinds.values())


def test_a_large_state_is_told_whole(bench: Bench, tmp_path: Path) -> None:
    """More packets than fit into the socket, more descriptors than fit into a packet."""
    for part in range(4):
        names = [f"fd:{part}:{number}" for number in range(150)]
        with (tmp_path / f"file{part}").open("w") as file:
            bench.core.send({"op": "keep", "names": names}, fds=[file.fileno()] * 150)
        for number in range(60):
            bench.core.send(blobs={f"web.{part}.{number}": f'"{number}"' * 3000})
    bench.core.send(bench.order("mark.1", ["true"]))
    bench.core.wait("exited")
    kill_core(bench)
    core, slots = bench.next_core()
    assert len(slots) == 241
    assert slots["web.3.59"]["blob"] == '"59"' * 3000
    assert len(core.fds) == 600
    assert os.readlink(f"/proc/self/fd/{core.fds['fd:2:149']}") == str(tmp_path / "file2")


def test_a_core_that_never_comes_up(start: Start) -> None:
    bench = start(attend=False, core=["/no/such/core"])
    wait_until(lambda: bench.errors.count("/no/such/core does not exist") >= 3, "several tries")
    assert "another core is started now" in bench.errors
    assert "another core is started in 0.2 s" in bench.errors
    end_by_force(bench)


def test_a_core_that_can_come_up_comes_back_soon(start: Start) -> None:
    bench = start(patience={"corelink._PROVEN_S": 1000.0})
    for _ in range(6):
        kill_core(bench)
        bench.next_core()
    delays = [line.rpartition(" started ")[2] for line in bench.errors.splitlines()]
    assert delays == ["now", "in 0.1 s", "in 0.2 s", "in 0.4 s", "in 0.5 s", "in 0.5 s"]


def test_a_core_that_has_proved_itself_comes_back_at_once(start: Start) -> None:
    bench = start(patience={"corelink._PROVEN_S": 0.0})
    for _ in range(3):
        kill_core(bench)
        bench.next_core()
    assert "started in" not in bench.errors


def end_by_force(bench: Bench) -> None:
    for _ in range(3):
        bench.process.send_signal(signal.SIGTERM)
        time.sleep(0.02)  # signals of one number do not queue
    assert bench.process.wait(30) == 1
    assert "asked to end three times" in bench.errors


def test_asked_three_times_it_ends_whatever_the_core_does(bench: Bench) -> None:
    web, core = bench.spawn("web.1", FOREVER), bench.core.pid
    os.kill(core, signal.SIGSTOP)
    end_by_force(bench)
    assert not lives(web)
    assert not lives(core)


def test_asked_to_end_without_a_core_it_ends_after_a_while(start: Start) -> None:
    bench = start(attend=False, core=["/no/such/core"], patience={"ending._PATIENCE_S": 0.5})
    wait_until(lambda: "does not exist" in bench.errors, "the first try")
    bench.process.send_signal(signal.SIGINT)
    assert bench.process.wait(30) == 1
    assert "no core comes up" in bench.errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT])
def test_signals_are_the_cores_to_judge(bench: Bench, number: int) -> None:
    web = bench.spawn("web.1", FOREVER)
    bench.process.send_signal(number)
    assert bench.core.wait("signal")["signal"] == number
    assert lives(web)


def test_a_signal_that_a_core_took_with_it_is_told_to_the_next(bench: Bench) -> None:
    os.kill(bench.core.pid, signal.SIGSTOP)
    bench.process.send_signal(signal.SIGTERM)
    kill_core(bench)
    core, _ = bench.next_core()
    assert core.wait("signal")["signal"] == signal.SIGTERM
    core.send(bench.order("mark.1", ["true"]))
    core.wait("exited")  # and the ping after the signal was answered on the way
    kill_core(bench)
    core, _ = bench.next_core()
    core.send(bench.order("mark.2", ["true"]))
    core.wait("exited")
    assert not [event for event in core.events if event["event"] == "signal"]


def test_the_end_in_order(either: Bench) -> None:
    pids = [either.spawn(f"web.{number}", FOREVER) for number in range(3)]
    core = either.core.pid
    either.core.send({"op": "exit", "code": 42}, either.order("web.9", FOREVER))
    assert either.core.wait("spawn-failed")["cause"] == "hasup is ending"
    assert either.process.wait(30) == 42
    assert not [pid for pid in (*pids, core) if lives(pid)]
    assert either.errors == ""


def test_a_core_that_does_not_end_is_killed_in_the_end(start: Start) -> None:
    bench = start(patience={"ending._LAST_WORDS_S": 0.2})
    os.kill(bench.core.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(bench.core.pid) == "T", "the stop")
    bench.core.send({"op": "exit", "code": 0})
    assert bench.process.wait(30) == 0
    assert not lives(bench.core.pid)


def test_strangers_are_reaped(bench: Bench, tmp_path: Path) -> None:
    """A daemon of a replica comes to the guardian, and leaves no zombie when it ends."""
    path = tmp_path / "pid"
    code = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    open({str(path)!r}, "w").write(f"{{os.getpid()}}\\n")
    time.sleep(0.2)
"""
    bench.core.send(bench.order("web.1", bench.python(code)))
    pid = int(wait_until(lambda: path.exists() and path.read_text().endswith("\n") and path.read_text(), "its pid"))
    wait_until(lambda: state_of(pid) is None, "its end")
