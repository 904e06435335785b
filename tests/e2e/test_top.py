"""``hasup top`` in a terminal, by its keys; ``hasup run``."""

import os
import sys

import pytest

from tests.e2e.harness import Hasup
from tests.support.screen import Screen

DOWN = "\x1b[B"


@pytest.fixture
def top(hasup: Hasup):
    hasup.start(
        "[programs.web]\ncommand = \"sh -c 'echo hello from $HASUP_REPLICA; exec sleep 1000'\"\nreplicas = 2\n"
        'ready.after = "0s"\nshell = false\n'
    )
    screen = Screen(hasup.argv("top"), hasup.folder, hasup.env, (12, 100))
    yield screen
    screen.close()


def test_keys_choose_and_act(hasup, top):
    top.see("web.2")
    top.see("q quit")
    before = {name: replica["pid"] for name, replica in hasup.replicas().items()}
    top.type(DOWN + "r")
    top.see("restart web.2: asked for")
    hasup.wait("web.2", "another process", lambda r: r["ready"] and r["pid"] not in (None, before["web.2"]))
    assert hasup.replica("web.1")["pid"] == before["web.1"]
    top.type("k" + "s")
    top.see("stop web.1: asked for")
    hasup.wait("web.1", "is stopped", lambda r: r["state"] == "stopped")
    top.see("stopped")
    top.type("s")
    top.see("start web.1: asked for")
    hasup.wait("web.1", "runs again", lambda r: r["ready"])
    top.type("\r")
    top.see("web.1")
    top.see("[any key: back]")
    top.type("x")
    top.see("q quit")
    top.type("l")
    top.see("hello from 1")
    top.type("\x03")
    top.see("q quit")
    assert top.settings() != top.before
    top.type("q")
    assert top.end() == 0
    assert top.settings() == top.before


def test_it_ends_with_hasup(hasup, top):
    top.see("q quit")
    hasup.run("stop")
    assert top.end() == 3
    assert "not running" in top.text
    assert top.settings() == top.before


def test_ctrl_c_ends_it(top):
    top.see("q quit")
    top.type("\x03")
    assert top.end() == 130
    assert top.settings() == top.before


def test_it_needs_a_terminal(hasup):
    hasup.write('[programs.web]\ncommand = "true"\n')
    assert "needs a terminal" in hasup.run("top", code=1).stderr


def test_run_gives_a_command_the_environment(hasup):
    (hasup.folder / "sub").mkdir()
    hasup.write("FROM_FILE=1\n", "some.env")
    hasup.write(
        '[supervisor]\nenv_files = ["some.env"]\n'
        '[programs.web]\ncommand = "true"\ndirectory = "sub"\nport = 4321\nenv = { URL = "http://x:${PORT}/" }\n'
        '[programs.any]\ncommand = "true"\nport = "auto"\n'
    )
    show = "import os; print(os.environ.get('FROM_FILE'), os.environ.get('URL'), os.environ.get('HASUP_INSTANCE'))"
    python = [sys.executable, "-c", show]
    assert hasup.run("run", "--", *python).stdout == "1 None None\n"
    assert hasup.run("run", "-p", "web", "--", *python).stdout == "1 http://x:4321/ None\n"
    assert hasup.run("run", "-p", "web", "pwd").stdout.strip() == os.path.realpath(hasup.folder / "sub")
    assert int(hasup.run("run", "-p", "any", "--", "sh", "-c", "echo $PORT").stdout) > 0
    assert hasup.run("run", "--", "sh", "-c", "exit 42", code=42).stderr == ""
    assert "there is no such command" in hasup.run("run", "no-such-command", code=127).stderr
    assert "did you mean web?" in hasup.run("run", "-p", "wep", "true", code=4).stderr
