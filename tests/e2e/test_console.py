"""hasup in the foreground, on a terminal: what it prints, and how Ctrl-C and signals end it."""

import os
import pty
import re
import select
import signal
import subprocess
import threading

import pytest

from tests.e2e.harness import Hasup, alive, until

PROGRAMS = """
[programs.web]
command = ["sh", "-c", "echo hello from $HASUP_REPLICA; exec sleep 1000"]
replicas = 2
[programs.longer-name]
command = ["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"]
"""
STUBBORN = """
[programs.stubborn]
command = ["sh", "-c", "trap 'echo no' TERM; echo up; while :; do sleep 0.1; done"]
stop.timeout = "1h"
"""


class Terminal:
    """``hasup start`` on a terminal of its own."""

    def __init__(self, hasup: Hasup, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            hasup.argv("start", *arguments),
            cwd=hasup.folder,
            env=hasup.env | {"TERM": "xterm"} | (env or {}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=control_terminal,
        )
        os.close(slave)
        hasup.foreground.append(self.process)
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        while not self._closing.is_set():
            if not poll.poll(100):
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                return
            self.text += data.decode(errors="replace").replace("\r\n", "\n")

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def until(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.text), f"the terminal shows {pattern!r}")

    def hang_up(self) -> None:
        """The window is closed."""
        self._closing.set()
        self._reader.join(60)
        os.close(self._master)

    def end(self) -> int:
        """Its exit code, once it has ended and all is read."""
        code = self.process.wait(60)
        self._reader.join(60)
        os.close(self._master)
        assert "Traceback" not in self.text
        return code


def control_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_what_programs_write_has_their_names_before_it(hasup):
    hasup.write(PROGRAMS)
    terminal = Terminal(hasup)
    terminal.until("hello from 1")
    terminal.until("hello from 2")
    terminal.until("longer-name.1 running: ready: alive for 1 s")
    lines = terminal.text.splitlines()
    clock = r"\d\d:\d\d:\d\d"
    assert any(re.fullmatch(rf"{clock} web\.1         \| hello from 1", line) for line in lines), lines
    assert any(re.fullmatch(rf"{clock} web\.2         \| hello from 2", line) for line in lines), "aligned"
    assert any(re.fullmatch(rf"{clock} longer-name\.1 \| up", line) for line in lines)
    assert any(re.match(rf"{clock} hasup         \| ", line) for line in lines), "and what hasup has to say"
    assert ":console" not in terminal.text, "hasup's own printer is no news"
    assert "longer-name.1" in hasup.run("status").stdout, "commands work meanwhile"
    terminal.press(b"\x03")
    assert terminal.end() == 0


def test_interrupted_once_it_stops_in_order(hasup):
    hasup.write(PROGRAMS)
    terminal = Terminal(hasup)
    terminal.until("up")
    until(lambda: all(replica["ready"] for replica in hasup.replicas().values()), "all are ready")
    running = [replica["pid"] for replica in hasup.replicas().values()]
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert "SIGINT" in terminal.text
    assert re.search(r"longer-name\.1 \| bye", terminal.text), "its last words are shown"
    assert not any(map(alive, running))
    assert {event["to"] for event in hasup.events(event="state") if event.get("replica") == "web.1"} >= {"stopped"}


def test_interrupted_twice_it_kills_at_once(hasup):
    hasup.write(STUBBORN)
    terminal = Terminal(hasup)
    terminal.until("stubborn.1 .*up")
    pid = until(lambda: hasup.replica("stubborn.1")["pid"], "it runs")
    terminal.press(b"\x03")
    terminal.until(r"\| no\n")
    assert alive(pid)
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert not alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(hasup, number):
    hasup.write(PROGRAMS)
    terminal = Terminal(hasup)
    terminal.until("up")
    terminal.process.send_signal(number)
    assert terminal.end() == 0
    assert re.search(r"longer-name\.1 \| bye", terminal.text)
    assert number.name in terminal.text


def test_colour_on_a_terminal_and_json_for_machines(hasup):
    del hasup.env["NO_COLOR"]
    hasup.write(PROGRAMS)
    terminal = Terminal(hasup)
    terminal.until("hello from 2")
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert "\x1b[" in terminal.text


def test_a_terminal_that_goes_away(hasup):
    hasup.write(PROGRAMS)
    terminal = Terminal(hasup)
    terminal.until("up")
    pid = until(lambda: hasup.replica("web.1")["pid"], "it runs")
    terminal.hang_up()
    until(lambda: hasup.events(replica=":console.1", to="completed"), "the printer has nobody to print for")
    assert alive(pid), "programs go on"
    assert hasup.run("stop").returncode == 0
    assert terminal.process.wait(60) == 0
