"""What is measured of each supervisor. Times come from the children: CLOCK_MONOTONIC at the start of main()."""

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from peers import PATIENCE_S, Hasup, Peer, cpu_seconds, own_processes, pss_bytes, wait_for

Numbers = dict[str, list[float]]


class Stage:
    """A supervisor with ``count`` children, and the file in which they write down their starts."""

    def __init__(self, kind: type[Peer], child: str, count: int, extra: tuple[str, ...] = ()) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="beside-", ignore_cleanup_errors=True)
        folder = Path(self._temporary.name)
        self.log = folder / "starts"
        self.log.touch()
        self.slots = ["a"] if count == 1 else [f"p{n}" for n in range(count)]
        self.peer = kind(folder, {slot: [child, str(self.log), slot, *extra] for slot in self.slots})
        self._read = 0
        self.pids: dict[str, int] = {}
        self.ages: dict[str, float] = {}

    def __enter__(self) -> "Stage":
        self.running = True
        self.peer.boot()
        time.sleep(1.1)  # runsvdir does not look at a folder that has changed within the second
        self.begun = time.monotonic()
        self.peer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.starts()
        own = own_processes(self.peer, set(self.pids.values())) if self.running else []
        try:
            if self.running:
                self.stop()
        finally:
            self.starts()
            for pid in self.pids.values():
                _kill(pid)
            self.peer.close()
            wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in own), "its own end", pause=0.05)
            self._temporary.cleanup()

    def stop(self) -> None:
        self.running = False
        self.peer.stop()

    def starts(self) -> list[tuple[str, int, float]]:
        """Slot, pid and time of the starts that were not read before."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        found = []
        for line in whole.decode().splitlines():
            slot, pid, at = line.split()
            found.append((slot, int(pid), int(at) / 1e9))
            self.pids[slot], self.ages[slot] = self.peer.host_pid(int(pid)), int(at) / 1e9
        return found

    def wait_for_starts(self, count: int) -> list[tuple[str, int, float]]:
        """So many starts, as they come."""
        found: list[tuple[str, int, float]] = []

        def enough() -> bool:
            found.extend(self.starts())
            return len(found) >= count

        wait_for(enough, f"{count} starts")
        return found


def crash(kind: type[Peer], child: str, count: int, tries: int, age_s: float, seed: int) -> list[float]:
    """Seconds from SIGKILL of a child of at least this age, at a random moment, to its successor's main()."""
    chance = random.Random(seed)
    with Stage(kind, child, count) as stage:
        stage.wait_for_starts(count)
        time.sleep(1.5)  # the supervisor comes to rest
        taken = []
        for _ in range(tries):
            slot = chance.choice(stage.slots)
            time.sleep(max(0.0, age_s - (time.monotonic() - stage.ages[slot])) + chance.uniform(0.05, 0.25))
            killed = time.monotonic()
            _kill(stage.pids[slot])
            [(_, _, at)] = stage.wait_for_starts(1)
            taken.append(at - killed)
    return taken


def mass(kind: type[Peer], child: str, count: int, times: int) -> list[float]:
    """Seconds from the SIGKILL of the first of all children to the start of the last successor."""
    with Stage(kind, child, count) as stage:
        stage.wait_for_starts(count)
        time.sleep(2.0)  # the supervisor comes to rest
        taken = []
        for _ in range(times):
            killed = time.monotonic()
            for pid in list(stage.pids.values()):
                _kill(pid)
            starts = stage.wait_for_starts(count)
            assert len(starts) == count, "one was doubled"
            assert {slot for slot, _, _ in starts} == set(stage.slots), "one is missing"
            taken.append(max(at for _, _, at in starts) - killed)
            time.sleep(1.5)  # each time anew
    return taken


def start_and_stop(kind: type[Peer], child: str, count: int) -> tuple[float, float]:
    """Seconds from the command to the last child's main(); and from the order to stop to the last child's end."""
    with Stage(kind, child, count) as stage:
        last = max(at for _, _, at in stage.wait_for_starts(count))
        started = last - stage.begun
        time.sleep(1.0)  # the supervisor comes to rest
        before = time.monotonic()
        stage.stop()
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in stage.pids.values()), "the last one's end")
        stopped = time.monotonic() - before
    return started, stopped


def core_death(child: str, count: int, tries: int) -> list[float]:
    """Seconds from the SIGKILL of hasup's core, and of a child with it, to the child's successor's main()."""
    with Stage(Hasup, child, count) as stage:
        stage.wait_for_starts(count)
        taken = []
        for slot in stage.slots[:tries]:
            time.sleep(11.0)  # so long a core has to live that the next one follows it at once
            root = stage.peer.root() if isinstance(stage.peer, Hasup) else 0
            [core] = [pid for pid in own_processes(stage.peer, set(stage.pids.values())) if pid != root]
            killed = time.monotonic()
            _kill(core)
            _kill(stage.pids[slot])
            [(_, _, at)] = stage.wait_for_starts(1)
            taken.append(at - killed)
    return taken


def idle(
    kind: type[Peer], child: str, count: int, seconds: float, extra: tuple[str, ...] = (), rest: float = 3.0
) -> tuple[float, float]:
    """CPU seconds a minute of the supervisor, and its proportional memory in MiB, with nothing to do."""
    with Stage(kind, child, count, extra) as stage:
        stage.wait_for_starts(count)
        time.sleep(rest)
        own = own_processes(stage.peer, set(stage.pids.values()))
        before = cpu_seconds(own)
        time.sleep(seconds)
        spent = (cpu_seconds(own) - before) * 60 / seconds
        return spent, pss_bytes(own) / 2**20


def status(kind: type[Peer], child: str, count: int, tries: int) -> list[float]:
    """Seconds that its status command takes, process start included."""
    with Stage(kind, child, count) as stage:
        stage.wait_for_starts(count)
        time.sleep(1.0)  # the supervisor comes to rest
        argv = stage.peer.status_argv()
        if argv is None:
            return []
        return [timed(lambda: stage.peer.run(argv)) for _ in range(tries)]


def logs(kind: type[Peer], child: str, lines: int, size: int) -> tuple[float, float, int]:
    """Seconds to write lines of so many bytes, CPU seconds of the supervisor for it, and lines lost or cut."""
    with Stage(kind, child, 1, (str(lines), str(size))) as stage:
        [(_, pid, first)] = stage.wait_for_starts(1)
        [(_, _, last)] = stage.wait_for_starts(1)
        folder = stage.peer.folder / kind.log_of
        wait_for(lambda: _kept_bytes(folder) >= lines * size * 0.5, "the output", pause=0.01)
        _until_still(folder)
        spent = cpu_seconds(own_processes(stage.peer, {pid}))
        whole = sum(1 for line in _kept_lines(folder) if len(line) == size - 1 and line[:12].isdigit())
        return last - first, spent, lines - whole


def interpreter(tries: int) -> list[float]:
    """Seconds that a bare interpreter of the same Python takes."""
    argv = Hasup.status_argv(Hasup.__new__(Hasup))
    return [timed(lambda: subprocess.run([argv[0], "-c", "pass"], check=True)) for _ in range(tries)]


def timed(deed: Callable[[], object]) -> float:
    """Seconds that it takes."""
    before = time.monotonic()
    deed()
    return time.monotonic() - before


def _kept(path: Path) -> list[Path]:
    """The log, and what was rotated away from it."""
    beside = [*path.parent.glob("@*"), *path.parent.glob(f"{path.name}.*"), *path.parent.glob(f"{path.stem}.[0-9]*")]
    return [file for file in {path, *beside} if file.exists()]


def _kept_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _kept(path))


def _until_still(path: Path) -> None:
    before = -1
    deadline = time.monotonic() + PATIENCE_S
    while (now := _kept_bytes(path)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(0.5)  # nothing tells us that nothing more will come


def _kept_lines(path: Path) -> list[bytes]:
    found: list[bytes] = []
    for file in _kept(path):
        found += file.read_bytes().split(b"\n")
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
