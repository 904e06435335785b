"""One log file: written at its own offset, rotated at line ends, safe against SIGKILL at every step.

Bytes come straight from a pipe by ``splice``: they are in the pipe or in the file, never in our hands. The offset is
the file's size, so whoever opens it next goes on where it ends.
"""

import errno
import gzip
import os
import stat
import threading
import time
from pathlib import Path

_TAIL = 65_536  # how far back a line's beginning is looked for
_HARD_CAP = 2  # a line that never ends is cut at so many times max_size
_RECHECK_S = 1.0


class LogFile:
    """A file that grows, and its rotated predecessors ``NAME.1`` (``NAME.1.gz``), ``NAME.2`` …

    Methods raise OSError when the disk is full, read-only or gone; nothing is lost by that but what the caller drops.
    """

    def __init__(self, path: Path, max_size: int, keep: int, compress: bool) -> None:
        self.path = path
        self._max_size = max_size
        self._keep = keep
        self._compress = compress
        self._fd = -1
        self._inode = 0
        self._checked = 0.0
        self.size = 0

    def open(self) -> None:
        """Open it (again) if it is not open, or is not the file of that name any more."""
        now = time.monotonic()
        if self._fd >= 0 and now - self._checked < _RECHECK_S:
            return
        self._checked = now
        if self._fd >= 0 and self._is_current():
            return
        self.close()
        self._reconcile()
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have cleaned up
        fd = _open(self.path, os.O_RDWR | os.O_CREAT)
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        self._fd, self._inode, self.size = fd, facts.st_ino, facts.st_size

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def splice(self, pipe: int, most: int) -> int:
        """Move up to ``most`` bytes from a pipe; how many. BlockingIOError when there are none."""
        self.open()
        self._follow_truncation()
        moved = os.splice(pipe, self._fd, most, offset_dst=self.size, flags=os.SPLICE_F_NONBLOCK)
        self.size += moved
        return moved

    def write(self, data: bytes) -> None:
        """Append bytes that went through our hands: all of them, or none when there is no room."""
        self.open()
        self._follow_truncation()
        view, at = memoryview(data), self.size
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                at += written
                view = view[written:]
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size = at

    def read(self, start: int, length: int) -> bytes:
        """Bytes of the file, fewer where it ends."""
        return os.pread(self._fd, length, max(0, start)) if self._fd >= 0 else b""

    def rotate_if_due(self) -> bool:
        """Begin a new file when this one is large enough and a line's end has come; true when it did."""
        if not self._max_size or self.size < self._max_size:
            return False
        tail = self.read(self.size - _TAIL, _TAIL)
        partial = tail[tail.rfind(b"\n") + 1 :]
        if len(partial) == len(tail):  # no line ends anywhere near
            if self.size < _HARD_CAP * self._max_size:
                return False
            partial = b""
        self._rotate(partial)
        return True

    # --- rotation ---------------------------------------------------------------------------------------------------
    def _rotate(self, partial: bytes) -> None:
        """The unfinished last line moves to the new file. Killed anywhere in between, :meth:`_reconcile` ends it."""
        waiting = self._beside("new")
        try:
            if partial:
                _write_new(waiting, partial)
                os.ftruncate(self._fd, self.size - len(partial))
            with _names:
                self._shift()
            if partial:
                waiting.rename(self.path)
        finally:
            self.close()
        self.open_now()
        if self._compress and self._keep:
            _compressor.wake(self.path, self._keep)

    def open_now(self) -> None:
        """Open without trusting what was seen a moment ago."""
        self._checked = float("-inf")
        self.open()

    def _shift(self) -> None:
        if not self._keep:
            self.path.unlink(missing_ok=True)
            return
        for number in range(self._keep, 0, -1):
            for suffix in ("", ".gz"):
                old = self._beside(f"{number}{suffix}")
                if not old.exists():
                    continue
                if number == self._keep:
                    old.unlink()
                else:
                    old.rename(self._beside(f"{number + 1}{suffix}"))
        self.path.rename(self._beside("1"))

    def _reconcile(self) -> None:
        """End a rotation that was killed half-way: the moved line is in one of the two files, and stays in one."""
        waiting = self._beside("new")
        try:
            with open(_open(waiting, os.O_RDONLY), "rb") as file:
                partial = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            waiting.unlink()  # a link is none of ours
            return
        try:
            with open(_open(self.path, os.O_RDWR), "r+b") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - len(partial)))
                if file.read() != partial:  # it had been cut off already
                    file.seek(0, os.SEEK_END)
                    file.write(partial)
        except FileNotFoundError:
            waiting.rename(self.path)
            return
        waiting.unlink()

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    # --- others who touch it ----------------------------------------------------------------------------------------
    def _is_current(self) -> bool:
        try:
            return os.lstat(self.path).st_ino == self._inode
        except OSError:
            return False

    def _follow_truncation(self) -> None:
        """Somebody cut it (copytruncate): go on at its end, and leave no hole."""
        self.size = min(self.size, os.fstat(self._fd).st_size)


def _open(path: Path, flags: int) -> int:
    """Open without following a link: where hasup writes, a link leads to something that is not hasup's."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)


def _write_new(path: Path, data: bytes) -> None:
    """Make a file anew, whatever was there; there is none when that fails."""
    path.unlink(missing_ok=True)
    try:
        with open(_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


_names = threading.Lock()  # held while rotated files change their names


class _Compressor:
    """One thread for all files, at the lowest priority, there only while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[Path, int] = {}
        self._running = False

    def wake(self, path: Path, keep: int) -> None:
        """Compress the rotated files of ``path``."""
        with self._lock:
            self._wanted[path] = keep
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._work, name="hasup-gzip", daemon=True).start()

    def _work(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        except OSError:
            pass
        while True:
            with self._lock:
                if not self._wanted:
                    self._running = False
                    return
                path, keep = self._wanted.popitem()
            for number in range(keep, 0, -1):
                try:
                    _compress(path, number)
                except OSError:  # full disk: it stays as it is, and its turn comes again at the next rotation
                    break


def _compress(path: Path, number: int) -> None:
    """``NAME.2`` to ``NAME.2.gz``; its name may change meanwhile, as newer files push it on."""
    source = path.with_name(f"{path.name}.{number}")
    unfinished = path.with_name(f"{path.name}.gz.tmp")
    unfinished.unlink(missing_ok=True)
    try:
        with (
            open(_open(source, os.O_RDONLY), "rb") as file,
            open(_open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as raw,
            gzip.open(raw, "wb", compresslevel=6) as packed,
        ):
            inode = os.fstat(file.fileno()).st_ino
            while piece := file.read(1 << 18):
                packed.write(piece)
    except FileNotFoundError:
        return
    with _names:
        for candidate in path.parent.glob(f"{path.name}.*"):
            if candidate.suffix[1:].isdigit() and candidate.stat().st_ino == inode:
                unfinished.rename(candidate.with_name(candidate.name + ".gz"))
                candidate.unlink()
                return
    unfinished.unlink(missing_ok=True)  # it was the oldest, and is gone


_compressor = _Compressor()
