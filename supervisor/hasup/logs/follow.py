"""Reading back what the sinks wrote: the last lines, and new ones as they come, across rotations."""

import ctypes
import os
import re
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_CHUNK = 1 << 16
_POLL_S = 0.2  # where there is no inotify
_MAX_LINE = 1 << 20  # a longer line is shown in pieces
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000


class Line(NamedTuple):
    """One line of a file, without its end."""

    file: str
    text: bytes


class FileTail:
    """Yields the complete lines of one file from an offset on, and goes on with its successor after a rotation."""

    def __init__(self, path: Path, offset: int) -> None:
        self.path = path
        self._fd = -1
        self._offset = offset
        self._partial = b""
        self._open()

    def read(self) -> Iterator[bytes]:
        """What has come since the last call."""
        yield from self._read_on()
        if self._was_replaced():
            # The unfinished line moved to the new file together with its beginning (see LogFile): read it there.
            self.close()
            self._offset, self._partial = 0, b""
            self._open()
            yield from self._read_on()

    def flush(self) -> Iterator[bytes]:
        """The unfinished line, at the end."""
        line, self._partial = self._partial, b""
        if line:
            yield line

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            self._fd = -1

    def _was_replaced(self) -> bool:
        try:
            now = os.stat(self.path).st_ino
        except OSError:
            return False  # not there at this moment: in the middle of a rotation
        return self._fd < 0 or now != os.fstat(self._fd).st_ino

    def _read_on(self) -> Iterator[bytes]:
        if self._fd < 0:
            return
        if os.fstat(self._fd).st_size < self._offset:  # truncated
            self._offset, self._partial = os.fstat(self._fd).st_size, b""
        while data := os.pread(self._fd, _CHUNK, self._offset):
            self._offset += len(data)
            *lines, self._partial = (self._partial + data).split(b"\n")
            yield from lines
            if len(self._partial) > _MAX_LINE:
                yield self._partial
                self._partial = b""


class Follower:
    """All files of a folder that ``wanted`` names, also those that appear later."""

    def __init__(self, folder: Path, wanted: Callable[[str], bool], offsets: dict[str, int] | None = None) -> None:
        self._folder = folder
        self._wanted = wanted
        self._offsets = offsets  # where to begin in files that are there; None: at their ends
        self._tails: dict[str, FileTail] = {}
        self._watch = _Inotify(folder)
        self._look(first=True)

    def lines(self) -> Iterator[Line]:
        """What has come since the last call, file by file."""
        self._look(first=False)
        for name, tail in self._tails.items():
            for text in tail.read():
                yield Line(name, text)

    def rest(self) -> Iterator[Line]:
        """At the end: what is left, unfinished lines too."""
        yield from self.lines()
        for name, tail in self._tails.items():
            for text in tail.flush():
                yield Line(name, text)

    def wait(self, seconds: float | None) -> None:
        """Until something has changed, or so long at most; a signal may end it earlier."""
        self._watch.wait(seconds)

    def close(self) -> None:
        """Give all descriptors back."""
        for tail in self._tails.values():
            tail.close()
        self._watch.close()

    def _look(self, *, first: bool) -> None:
        for name in sorted(os.listdir(self._folder)):
            if name in self._tails or not self._wanted(name):
                continue
            path = self._folder / name
            start = 0
            if self._offsets is not None:
                start = self._offsets.get(name, 0)
            elif first:
                start = path.stat().st_size
            self._tails[name] = FileTail(path, start)


class _Inotify:
    """Wakes up when something in a folder changes; polls where the kernel can't tell."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        if hasattr(libc, "inotify_init1"):
            self._fd = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if self._fd >= 0 and libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            self.close()

    def wait(self, seconds: float | None) -> None:
        if self._fd < 0:
            select.select([], [], [], _POLL_S if seconds is None else min(_POLL_S, seconds))
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(None if seconds is None else int(seconds * 1000))
        try:
            while os.read(self._fd, _CHUNK):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def last_lines(path: Path, count: int, grep: re.Pattern[str] | None = None) -> list[bytes]:
    """The last ``count`` lines of a file and, where it has fewer, of its predecessor, that match ``grep``."""
    lines = list(_backwards(path, count, grep))
    older = path.with_name(path.name + ".1")
    if len(lines) < count and older.exists():
        lines += _backwards(older, count - len(lines), grep)
    return lines[::-1]


def _backwards(path: Path, count: int, grep: re.Pattern[str] | None) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from _from_the_end(file, count, grep)
    except FileNotFoundError:
        return


def _from_the_end(file: BinaryIO, count: int, grep: re.Pattern[str] | None) -> Iterator[bytes]:
    position, rest, found = file.seek(0, os.SEEK_END), b"", 0
    at_end = True
    while position > 0 and found < count:
        step = min(_CHUNK, position)
        position -= step
        file.seek(position)
        data = file.read(step) + rest
        if at_end:
            data, at_end = data.removesuffix(b"\n"), False
        rest, *lines = data.split(b"\n")
        for line in reversed(lines):
            if grep is None or grep.search(line.decode("utf-8", "replace")):
                yield line
                found += 1
                if found == count:
                    return
    if not at_end and found < count and (grep is None or grep.search(rest.decode("utf-8", "replace"))):
        yield rest
