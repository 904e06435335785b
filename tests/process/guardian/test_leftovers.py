"""The guardian and the core are killed at once; the next start ends what they left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from hasup.guardian import cgroups
from hasup.guardian.leftovers import end_leftovers
from tests.process.guardian.harness import SOURCE, Bench, lives, pids_in


def kill_both(bench: Bench) -> None:
    os.kill(bench.core.pid, signal.SIGSTOP)
    bench.process.kill()
    bench.process.wait()
    os.kill(bench.core.pid, signal.SIGKILL)


def test_everything_of_the_instance_is_ended_and_nothing_else(either: Bench, start: object, tmp_path: Path) -> None:
    other: Bench = start()  # type: ignore[operator]
    stranger = other.spawn("web.1", ["sleep", "1000"])
    path = tmp_path / "pids"
    code = (
        f"import os, time\nfd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT)\nos.fork() or os.setsid()\n"
        "os.write(fd, b'%d\\n' % os.getpid())\ntime.sleep(1000)"
    )
    either.core.send(either.order("web.1", either.python(code)))
    folder = either.core.wait("spawned")["cgroup"]
    pids = pids_in(path, 2)
    kill_both(either)
    ended = end_leftovers(either.instance)
    assert set(pids) <= set(ended)
    assert not [pid for pid in pids if lives(pid)]
    assert lives(stranger)
    assert folder is None or not os.path.exists(os.path.dirname(folder))
    assert end_leftovers(either.instance) == []


def test_who_asks_is_spared_with_its_ancestors() -> None:
    """A start from within a replica of the hasup that died."""
    instance = "f" * 32
    ask = f"from hasup.guardian.leftovers import end_leftovers; print(end_leftovers('{instance}'))"
    shell = subprocess.run(
        ["sh", "-c", '"$0" -c "$1"; echo "still here"', sys.executable, ask],
        env={**os.environ, "PYTHONPATH": SOURCE, "HASUP_INSTANCE": instance},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.splitlines() == ["[]", "still here"]


def test_folder_names_are_safe_and_distinct() -> None:
    names = ["web.1", "web:1", "web-1", "web_1", "a/b", "..", "ä", "web..1"]
    safe = [cgroups.safe_name(name) for name in names]
    assert len(set(safe)) == len(names)
    assert not [name for name in safe if "/" in name or name in (".", "..")]
