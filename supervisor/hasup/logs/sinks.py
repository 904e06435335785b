"""From the pipes of children into files. A child is never blocked for the sake of its log: what can't be written is
dropped, counted, and said in the file as soon as it can be.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from hasup.logs.files import LogFile
from hasup.logs.formats import Formatter
from hasup.loop import CONTROL, Loop, Timer
from hasup.model.spec import Logs

A_TURN = 1 << 20  # bytes of one stream in one turn of the loop; a flood starves nobody
_CHUNK = 1 << 16
_RETRY_S = 1.0
_FLUSH_S = 1.0  # an unfinished line of text or json output waits so long for its rest
_MAX_LINE = 65_536


class Sinks:
    """All streams of all slots. ``on_trouble(key, text)``: a log can't be written; text None: it can again."""

    def __init__(
        self,
        loop: Loop,
        directory: str,
        *,
        on_match: Callable[[str, str], None],
        on_output: Callable[[str], None],
        on_trouble: Callable[[str, str | None], None],
    ) -> None:
        self._loop = loop
        self._directory = Path(directory)
        self._on_match = on_match
        self._on_output = on_output
        self._on_trouble = on_trouble
        self._streams: dict[str, dict[str, _Stream]] = {}  # slot -> stream's name -> stream
        self._targets: dict[str, _Target] = {}
        self.patterns: dict[str, re.Pattern[str]] = {}
        self.beating: set[str] = set()
        self._held: set[str] = set()

    def open(self, slot: str, stream: str, read_fd: int, file_name: str, spec: Logs) -> None:
        """Write what comes from ``read_fd`` to ``file_name`` ("null": nowhere); nothing when that is so already."""
        known = self._streams.get(slot, {}).get(stream)
        if known is not None and known.fd == read_fd:
            return
        target = None if file_name == "null" else self._target(file_name, spec)
        formatter = None if spec.format == "raw" else Formatter(spec.format, slot, stream)
        opened = _Stream(self, self._loop, slot, stream, read_fd, target, formatter)
        self._streams.setdefault(slot, {})[stream] = opened
        if slot not in self._held:
            self._loop.add(read_fd, opened.ready, order=CONTROL)

    def begin(self, slot: str) -> None:
        """Open the slot's files now, so that no descriptor is missing later."""
        for stream in self._of(slot):
            if stream.target is not None:
                stream.target.begin()

    def hold(self, slot: str) -> None:
        """Leave in the pipes what comes, until :meth:`release`."""
        if slot not in self._held:
            self._held.add(slot)
            for stream in self._of(slot):
                self._loop.remove(stream.fd)

    def release(self, slot: str) -> None:
        """Read on."""
        if slot in self._held:
            self._held.remove(slot)
            for stream in self._of(slot):
                self._loop.add(stream.fd, stream.ready, order=CONTROL)

    def close(self, slot: str) -> None:
        """Take what is left and stop; the descriptors stay the caller's."""
        self.drain(slot)
        for stream in self._streams.pop(slot, {}).values():
            self._loop.remove(stream.fd)
            stream.end()
        used = {id(stream.target) for streams in self._streams.values() for stream in streams.values()}
        for name in [name for name, target in self._targets.items() if id(target) not in used]:
            self._targets.pop(name).end()
        self.unexpect(slot)
        self.beating.discard(slot)
        self._held.discard(slot)

    def drain(self, slot: str) -> None:
        """Take all that is in the slot's pipes now."""
        for stream in self._of(slot):
            stream.drain()

    def flush(self, slot: str | None = None) -> None:
        """Write unfinished lines too, of this slot or of all: who would end them is gone or knows nothing of them."""
        for each in self._streams if slot is None else (slot,):
            for stream in self._of(each):
                stream.flush()

    def expect(self, slot: str, pattern: str) -> None:
        """Call ``on_match`` for the first line of output that matches, from now on."""
        self.patterns[slot] = re.compile(pattern)
        for stream in self._of(slot):
            stream.partial = b""

    def unexpect(self, slot: str) -> None:
        """No more."""
        self.patterns.pop(slot, None)

    def beat_on_output(self, slot: str, on: bool) -> None:
        """Whether output is a sign of life of this slot."""
        (self.beating.add if on else self.beating.discard)(slot)

    def mark(self, slot: str) -> None:
        """A run of this slot begins here: :meth:`tail` can tell its output from what was there before."""
        for stream in self._of(slot):
            if stream.target is not None:
                stream.began = stream.target.size()

    def tail(self, slot: str, lines: int, max_bytes: int = 8192, *, of_this_run: bool = False) -> list[str]:
        """The last lines that the slot wrote, as far as its files tell; ``of_this_run``: since the last mark."""
        found: list[str] = []
        seen: set[int] = set()
        for stream in self._of(slot):
            if stream.target is not None and id(stream.target) not in seen:
                seen.add(id(stream.target))
                found += stream.target.last_lines(lines, max_bytes, stream.began if of_this_run else 0)
        return found[-lines:]

    def matched(self, slot: str, line: str) -> None:
        """A line matched (from a stream)."""
        self.patterns.pop(slot, None)
        self._on_match(slot, line)

    def heard(self, slot: str) -> None:
        """A slot wrote something (from a stream)."""
        if slot in self.beating:
            self._on_output(slot)

    def _of(self, slot: str) -> list["_Stream"]:
        return list(self._streams.get(slot, {}).values())

    def _target(self, name: str, spec: Logs) -> "_Target":
        if name not in self._targets:
            file = LogFile(self._directory / name, spec.max_size, spec.keep, spec.compress)
            self._targets[name] = _Target(file, self._loop, self._on_trouble)
        return self._targets[name]


class _Target:
    """A file that several streams may write to, and what is lost while it can't be written."""

    def __init__(self, file: LogFile, loop: Loop, on_trouble: Callable[[str, str | None], None]) -> None:
        self.file = file
        self._loop = loop
        self._on_trouble = on_trouble
        self._retry: Timer | None = None
        self._fault = ""
        self._lost = 0
        self._rotate_again = 0.0

    @property
    def failing(self) -> bool:
        """Whether it can't be written now. It is tried again every second, also when there is nothing to write."""
        return self._retry is not None

    def begin(self) -> None:
        """Open it."""
        try:
            self.file.open()
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError) -> None:
        """It could not be written just now."""
        if self._retry is None:
            self._retry = self._loop.call_later(_RETRY_S, self._try_again)
        fault = _fault(error)
        if fault != self._fault:
            self._fault = fault
            self._on_trouble(f"log:{self.file.path.name}", f"{self.file.path.name} cannot be written: {fault}")

    def end(self) -> None:
        """Nobody writes to it any more."""
        if self._retry is not None:
            self._retry.cancel()
        self.file.close()

    def lost(self, count: int) -> None:
        """So many bytes were dropped."""
        self._lost += count

    def write(self, data: bytes, output: int) -> None:
        """Append ``data``, which so many bytes of output became; these are lost when it raises OSError."""
        try:
            self.file.write(data)
        except OSError:
            self.lost(output)
            raise

    def rotate(self) -> None:
        """Begin a new file if it is time. Where that can't be done, the old one is written on."""
        if self._loop.now() < self._rotate_again:
            return
        key = f"rotation:{self.file.path.name}"
        try:
            if self.file.rotate_if_due() and self._rotate_again > 0:
                self._rotate_again = 0.0
                self._on_trouble(key, None)
        except OSError as error:
            self._rotate_again = self._loop.now() + _RETRY_S
            self._on_trouble(key, f"{self.file.path.name} cannot be rotated, and grows: {_fault(error)}")

    def _try_again(self) -> None:
        self._retry = None
        try:
            self._recover()
        except OSError as error:
            self.failed(error)

    def _recover(self) -> None:
        """Say in the file what is missing; raises OSError while it still can't be written."""
        self.file.open_now()
        last = self.file.read(self.file.size - 1, 1)
        line_end = b"\n" if last not in (b"", b"\n") else b""
        said = f"[hasup: {self._lost} bytes of output were lost here: {self._fault}]\n" if self._lost else ""
        self.file.write(line_end + said.encode())
        name = self.file.path.name
        if self._lost:
            self._on_trouble(f"log:{name}", f"{name} could not be written: {self._lost} bytes were lost")
        self._fault, self._lost = "", 0
        self._on_trouble(f"log:{name}", None)

    def size(self) -> int:
        """Where the file ends; 0 while it can't be opened."""
        try:
            self.file.open()
        except OSError:
            return 0
        return self.file.size

    def last_lines(self, lines: int, max_bytes: int, since: int = 0) -> list[str]:
        """The last lines that are in the file from ``since`` on; all there are where it was rotated meanwhile."""
        begin = since if since <= self.file.size else 0
        start = max(begin, self.file.size - max_bytes)
        data = self.file.read(start, self.file.size - start)
        return data.decode("utf-8", "replace").splitlines()[-lines:]


class _Stream:
    """One pipe. ``partial`` is the unfinished line that is being matched."""

    def __init__(
        self,
        sinks: Sinks,
        loop: Loop,
        slot: str,
        name: str,
        fd: int,
        target: _Target | None,
        formatter: Formatter | None,
    ) -> None:
        self._sinks = sinks
        self._loop = loop
        self._slot = slot
        self._name = name
        self._formatter = formatter
        self._flush_timer: Timer | None = None
        self._splices = True
        self.began = 0  # where in the file the output of this run begins
        self.fd = fd
        self.target = target
        self.partial = b""

    def ready(self, _mask: int) -> None:
        """Take a fair share of what is there."""
        self._take(A_TURN)

    def drain(self) -> None:
        """Take all that is there now, within reason."""
        for _ in range(64):
            if not self._take(A_TURN):
                return

    def end(self) -> None:
        """No more will come."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        self.flush()

    def _take(self, most: int) -> bool:
        """Take up to ``most`` bytes; true when there may be more."""
        taken = 0
        try:
            while taken < most:
                count = self._some(most - taken)
                if count == 0:
                    break
                taken += count
        except BlockingIOError:
            pass
        if taken:
            self._sinks.heard(self._slot)
        return taken >= most

    def _some(self, most: int) -> int:
        target = self.target
        if target is None:
            data = os.read(self.fd, min(most, _CHUNK))
            self._match(data)
            return len(data)
        if target.failing:
            return self._drop()
        try:
            count = self._format(target) if self._formatter is not None else self._raw(target, most)
        except BlockingIOError:
            raise
        except OSError as error:
            target.failed(error)
            return self._drop()
        target.rotate()
        return count

    def _raw(self, target: _Target, most: int) -> int:
        count = self._splice(target, most) if self._splices else self._copy(target)
        if count and self._slot in self._sinks.patterns:
            self._match(target.file.read(target.file.size - count, count))
        return count

    def _splice(self, target: _Target, most: int) -> int:
        try:
            return target.file.splice(self.fd, most)
        except OSError as error:
            if error.errno != 22:  # EINVAL: this file system can't
                raise
            self._splices = False
            return self._copy(target)

    def _copy(self, target: _Target) -> int:
        data = os.read(self.fd, _CHUNK)
        target.write(data, len(data))
        return len(data)

    def _format(self, target: _Target) -> int:
        assert self._formatter is not None
        data = os.read(self.fd, _CHUNK)
        self._match(data)
        target.write(self._formatter.feed(data), len(data))
        if self._formatter.waiting and self._flush_timer is None:
            self._flush_timer = self._loop.call_later(_FLUSH_S, self.flush)
        return len(data)

    def flush(self) -> None:
        """An unfinished line has waited long enough for its rest."""
        self._flush_timer = None
        if self._formatter is not None and self._formatter.waiting and self.target is not None:
            line = self._formatter.flush()
            try:
                self.target.write(line, len(line))
            except OSError as error:
                self.target.failed(error)

    def _drop(self) -> int:
        assert self.target is not None
        data = os.read(self.fd, _CHUNK)
        self.target.lost(len(data))
        self._match(data)
        return len(data)

    def _match(self, data: bytes) -> None:
        """Look for the line that says "ready"."""
        pattern = self._sinks.patterns.get(self._slot)
        if pattern is None:
            return
        *lines, rest = (self.partial + data).split(b"\n")
        self.partial = rest[-_MAX_LINE:]
        for line in (*lines, rest):  # a prompt without an end of line counts too
            text = line.decode("utf-8", "replace").rstrip("\r")
            if pattern.search(text):
                self.partial = b""
                self._sinks.matched(self._slot, text)
                return


def _fault(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
