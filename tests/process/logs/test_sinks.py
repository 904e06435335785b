"""Output into files: nothing lost, torn or doubled, whatever happens to the file, the disk or the writer."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hasup.logs.pipes import make_pipe
from hasup.logs.sinks import Sinks
from hasup.loop import Loop
from hasup.model.spec import Logs

PATIENCE_S = 60.0


class Site:
    """Sinks on a loop, and one pipe into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        self.matches: list[tuple[str, str]] = []
        self.outputs: list[str] = []
        self.troubles: list[tuple[str, str | None]] = []
        self.sinks = Sinks(
            self.loop,
            str(folder),
            on_match=lambda slot, line: self.matches.append((slot, line)),
            on_output=self.outputs.append,
            on_trouble=lambda key, text: self.troubles.append((key, text)),
        )
        self.fds: list[int] = []

    def open(self, slot: str = "web.1", stream: str = "stdout", file: str = "web.1.log", **spec: object) -> int:
        read_end, write_end = make_pipe()
        self.fds += [read_end, write_end]
        self.sinks.open(slot, stream, read_end, file, Logs(**spec))
        return write_end

    def turn_until(self, condition, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, what
            self.loop.turn(0.05)

    def text(self, name: str = "web.1.log") -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.exists() else b""

    def all_text(self, name: str = "web.1.log") -> bytes:
        """All that was kept, the oldest first."""
        older = [path for path in self.folder.glob(f"{name}.*") if path.suffix == ".gz" or path.suffix[1:].isdigit()]
        older.sort(key=lambda path: int(path.name.removesuffix(".gz").rpartition(".")[2]), reverse=True)
        data = b""
        for path in older:
            data += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return data + self.text(name)

    def close(self) -> None:
        for slot in {"web.1", "web.2"}:
            self.sinks.close(slot)
        for fd in self.fds:
            os.close(fd)
        self.loop.close()


@pytest.fixture
def site(tmp_path):
    one = Site(tmp_path)
    yield one
    one.close()


def numbered(first: int, count: int) -> bytes:
    return b"".join(b"line %08d\n" % number for number in range(first, first + count))


def test_raw_bytes_arrive_as_they_were_written(site):
    write_end = site.open()
    data = bytes(range(256)) * 40 + b"no end"
    os.write(write_end, data)
    site.turn_until(lambda: site.text() == data, "written")
    assert (site.folder / "web.1.log").stat().st_mode & 0o777 == 0o640


def test_two_streams_share_a_file(site):
    out, err = site.open(), site.open(stream="stderr")
    os.write(out, b"one\n")
    site.turn_until(lambda: site.text() == b"one\n", "stdout")
    os.write(err, b"two\n")
    site.turn_until(lambda: site.text() == b"one\ntwo\n", "stderr")


def test_rotation_cuts_no_line_and_loses_none(site):
    write_end = site.open(max_size=10_000, keep=1000, compress=False)
    os.set_blocking(write_end, False)
    sent = b""
    data = numbered(0, 30_000)
    while len(sent) < len(data):
        try:
            count = os.write(write_end, data[len(sent) : len(sent) + 7777])  # pieces that end inside lines
            sent += data[len(sent) : len(sent) + count]
        except BlockingIOError:
            pass
        site.loop.turn(0)
    site.sinks.drain("web.1")
    assert site.all_text() == data
    rotated = list(site.folder.glob("web.1.log.*"))
    assert len(rotated) > 5
    assert all(path.read_bytes().endswith(b"\n") for path in rotated), "every file ends with a line's end"


def test_old_files_are_compressed_and_dropped(site):
    write_end = site.open(max_size=1000, keep=2, compress=True)
    for number in range(10):
        os.write(write_end, numbered(number * 100, 100))
        site.sinks.drain("web.1")

    def settled() -> bool:
        names = sorted(path.name for path in site.folder.iterdir())
        return names == ["web.1.log", "web.1.log.1.gz", "web.1.log.2.gz"]

    site.turn_until(settled, "two compressed files")
    assert gzip.decompress((site.folder / "web.1.log.1.gz").read_bytes()) == numbered(900, 100)


def test_a_line_without_an_end_does_not_grow_for_ever(site):
    write_end = site.open(max_size=100_000, keep=1, compress=False)
    for _ in range(20):
        os.write(write_end, b"x" * 50_000)
        site.sinks.drain("web.1")
    sizes = [path.stat().st_size for path in site.folder.iterdir()]
    assert max(sizes) <= 300_000


def test_a_file_that_was_deleted_or_truncated(site):
    write_end = site.open()
    os.write(write_end, b"one\n")
    site.sinks.drain("web.1")
    os.truncate(site.folder / "web.1.log", 0)
    os.write(write_end, b"two\n")
    site.sinks.drain("web.1")
    assert site.text() == b"two\n", "no hole where the old text was"
    (site.folder / "web.1.log").unlink()

    def again() -> bool:
        os.write(write_end, b"three\n")
        site.sinks.drain("web.1")
        return (site.folder / "web.1.log").exists()

    site.turn_until(again, "made anew")
    assert site.text().endswith(b"three\n")


def test_a_link_is_not_written_through(site):
    victim = site.folder / "victim"
    victim.write_text("precious")
    (site.folder / "web.1.log").symlink_to(victim)
    write_end = site.open()
    os.write(write_end, b"evil\n")
    site.sinks.drain("web.1")
    assert victim.read_text() == "precious"
    assert site.troubles[0][0] == "log:web.1.log"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_blocks_nobody_and_says_what_is_missing(site):
    disk = site.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    try:
        small = Site(disk)
        try:
            write_end = small.open(max_size=0)
            os.set_blocking(write_end, False)
            written = 0
            while written < 1_000_000:
                try:
                    written += os.write(write_end, b"y" * 49 + b"\n")
                except BlockingIOError:
                    small.loop.turn(0)
            small.sinks.drain("web.1")
            assert "no space left" in (small.troubles[0][1] or "")
            os.truncate(disk / "web.1.log", 0)

            def over() -> bool:
                os.write(write_end, b"after\n")
                small.sinks.drain("web.1")
                return small.troubles[-1][1] is None

            small.turn_until(over, "it writes again")
            assert b"bytes of output were lost here: no space left on device]\n" in small.text()
            assert small.text().endswith(b"after\n")
        finally:
            small.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_text_and_json(site):
    text, json_ = site.open(format="text"), site.open("web.2", file="web.2.log", format="json")
    os.write(text, b"plain \xff\n")
    os.write(json_, b"half a ")
    site.sinks.drain("web.1")
    site.sinks.drain("web.2")
    os.write(json_, b"line \xff\nunfinished")
    site.sinks.drain("web.2")
    assert site.text().endswith(b"Z stdout plain \xff\n")
    entry = json.loads(site.text("web.2.log"))
    assert (entry["replica"], entry["stream"], entry["line"]) == ("web.2", "stdout", "half a line \ufffd")
    site.turn_until(lambda: site.text("web.2.log").count(b"\n") == 2, "an unfinished line is not held back for ever")


def test_an_unfinished_line_is_written_when_another_reads_on(site):
    """Who stands by for an upgrade has it in memory, and may never be asked again."""
    pipe = site.open(format="text")
    os.write(pipe, b"whole\nhalf")
    site.turn_until(lambda: b"whole" in site.text(), "the whole line")
    assert b"half" not in site.text()
    other = site.open("web.2", file="web.2.log", format="text")
    os.write(other, b"whole\nhalf")
    site.turn_until(lambda: b"whole" in site.text("web.2.log"), "the other's whole line")
    site.sinks.flush("web.1")
    assert site.text().endswith(b"half\n")
    assert b"half" not in site.text("web.2.log")
    site.sinks.flush()
    assert site.text("web.2.log").endswith(b"half\n")


def test_the_line_that_says_ready_is_seen_even_in_pieces(site):
    write_end = site.open()
    site.sinks.expect("web.1", r"listening on .*:\d+$")
    os.write(write_end, b"starting\nlistening ")
    site.sinks.drain("web.1")
    os.write(write_end, b"on :8000\nlistening on :9000\n")
    site.sinks.drain("web.1")
    assert site.matches == [("web.1", "listening on :8000")]


def test_what_is_held_waits_in_the_pipe(site):
    site.sinks.hold("web.1")
    before, after = site.open(), site.open(stream="stderr")
    os.write(before, b"up\n")
    os.write(after, b"up too\n")
    site.loop.turn(0.0)
    assert site.text() == b""
    site.sinks.expect("web.1", "up")
    site.sinks.release("web.1")
    site.turn_until(lambda: site.text() == b"up\nup too\n", "both are written")
    assert site.matches == [("web.1", "up")], "what came before it was listened for is heard"
    site.sinks.hold("web.1")
    os.write(before, b"more\n")
    site.loop.turn(0.0)
    assert site.text() == b"up\nup too\n"
    site.sinks.close("web.1")
    assert site.text().endswith(b"more\n"), "what is left is taken at the end"


def test_output_as_a_sign_of_life(site):
    write_end = site.open()
    site.sinks.beat_on_output("web.1", True)
    os.write(write_end, b".")
    site.sinks.drain("web.1")
    site.sinks.beat_on_output("web.1", False)
    os.write(write_end, b".")
    site.sinks.drain("web.1")
    assert site.outputs == ["web.1"]


def test_the_last_lines(site):
    write_end = site.open()
    os.write(write_end, numbered(0, 50))
    site.sinks.drain("web.1")
    assert site.sinks.tail("web.1", 2) == ["line 00000048", "line 00000049"]


WRITER = """
import os, sys
from hasup.loop import Loop
from hasup.logs.sinks import Sinks
from hasup.model.spec import Logs
loop = Loop()
sinks = Sinks(loop, sys.argv[2], on_match=print, on_output=print, on_trouble=print)
sinks.open("web.1", "stdout", int(sys.argv[1]), "web.1.log", Logs(max_size=50_000, keep=10_000, compress=False))
os.write(1, b"up")
loop.run()
"""


def test_killed_at_any_moment_it_loses_and_doubles_nothing(site):
    """The core is killed again and again while a child writes and files are rotated."""
    read_end, write_end = make_pipe()
    site.fds += [read_end, write_end]
    os.set_blocking(write_end, False)
    count, kills = 0, 0
    while kills < 25:
        core = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(read_end), str(site.folder)], stdout=subprocess.PIPE, pass_fds=[read_end]
        )
        assert core.stdout is not None
        core.stdout.read(2)
        goal = count + 3_000 + 171 * kills
        while count < goal:
            try:
                os.write(write_end, b"line %08d\n" % count)
                count += 1
            except BlockingIOError:
                os.sched_yield()
        core.send_signal(signal.SIGKILL)
        core.wait()
        core.stdout.close()
        kills += 1
    site.sinks.open("web.1", "stdout", read_end, "web.1.log", Logs(max_size=50_000, keep=10_000, compress=False))
    site.sinks.drain("web.1")
    assert site.all_text() == numbered(0, count)
