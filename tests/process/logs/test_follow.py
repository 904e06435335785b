"""Reading back: the last lines, and following across rotation, truncation and new files."""

import re

import pytest

from hasup.logs import naming
from hasup.logs.files import LogFile
from hasup.logs.follow import Follower, last_lines
from hasup.logs.paint import clean, prefix
from hasup.model.spec import Logs, Program


@pytest.fixture
def followed(tmp_path):
    (tmp_path / "a.log").write_bytes(b"old\n")
    follower = Follower(tmp_path, lambda name: name.endswith(".log"))
    yield tmp_path, follower
    follower.close()


def texts(follower):
    return [(line.file, line.text) for line in follower.lines()]


def test_from_the_end_on_and_whole_lines_only(followed):
    folder, follower = followed
    with open(folder / "a.log", "ab") as file:
        file.write(b"new\nhalf")
    assert texts(follower) == [("a.log", b"new")]
    with open(folder / "a.log", "ab") as file:
        file.write(b" whole\n")
    follower.wait(10)
    assert texts(follower) == [("a.log", b"half whole")]


def test_new_files_are_read_from_their_beginning(followed):
    folder, follower = followed
    (folder / "b.log").write_bytes(b"first\nlast")
    follower.wait(10)
    assert texts(follower) == [("b.log", b"first")]
    assert [line.text for line in follower.rest()] == [b"last"]


def test_across_a_rotation_with_an_unfinished_line(followed):
    folder, follower = followed
    log = LogFile(folder / "a.log", 20, 3, compress=False)
    seen = []
    for piece in (b"one\ntwo\n", b"three\nfour\nfi", b"ve\n", b"six\n" * 10, b"sev", b"en\n"):
        log.write(piece)
        log.rotate_if_due()
        seen += [text for _, text in texts(follower)]
    log.close()
    assert seen == [b"one", b"two", b"three", b"four", b"five", *[b"six"] * 10, b"seven"]


def test_truncation(followed):
    folder, follower = followed
    (folder / "a.log").write_bytes(b"")
    assert texts(follower) == []
    with open(folder / "a.log", "ab") as file:
        file.write(b"again\n")
    assert texts(follower) == [("a.log", b"again")]


def test_last_lines(tmp_path):
    path = tmp_path / "a.log"
    assert last_lines(path, 3) == []
    path.with_name("a.log.1").write_bytes(b"".join(b"%d\n" % n for n in range(100)))
    path.write_bytes(b"100\n101\nunfinished")
    assert last_lines(path, 2) == [b"101", b"unfinished"]
    assert last_lines(path, 5) == [b"98", b"99", b"100", b"101", b"unfinished"]
    assert last_lines(path, 3, re.compile("^1.$")) == [b"17", b"18", b"19"]
    path.write_bytes(b"x" * 200_000 + b"\nend\n")
    assert last_lines(path, 2)[0] == b"x" * 200_000


def test_whose_file_it_is():
    programs = [
        Program(name="web", command=("x",)),
        Program(name="db", command=("x",), logs=Logs(stdout="db.out", stderr="{program}-{replica}.err")),
        Program(name="quiet", command=("x",), logs=Logs(stdout="null", stderr="inherit")),
    ]
    known = naming.sources(programs)
    assert naming.owner("web.12.log", known) == ("web.12", "stdout")
    assert naming.owner("db.out", known) == ("db", "stdout")
    assert naming.owner("db-3.err", known) == ("db.3", "stderr")
    assert naming.owner("web.1.log.1", known) is None
    assert naming.chosen("web.1", ["web"], {})
    assert naming.chosen("web.1", ["all"], {"all": ["web"]})
    assert not naming.chosen("web.1", ["web.2"], {})


def test_what_reaches_the_terminal():
    assert clean(b"\x1b[31mred\x1b[2J\x1b]0;title\x07!\x08", True) == "\x1b[31mred!\x1b[0m"
    assert clean(b"\x1b[31mred\x1b[0m \x1bc\xff", False) == "red \ufffd"
    assert prefix("web.1", 8, False) == "web.1    |"
    assert prefix("web.1", 8, True) == prefix("web.1", 8, True)
