"""Programs that misuse their output: closed, flooded, without an end of line."""

import os
import time
from pathlib import Path

import pytest

from tests.chaos.hostile import assert_supervised, resident
from tests.e2e.harness import until

pytestmark = pytest.mark.chaos

QUIET = '[programs.quiet]\ncommand = "sleep 1000"\nready.after = "10ms"\nrestart.delay = "20ms"\n'
WRITER = """
[programs.writer]
command = ["python3", "-c", '''
import os, time
while not os.path.exists("go"):
    time.sleep(0.01)
line = b"x" * 65536
for _ in range(BYTES // len(line)):
    os.write(1, line)
time.sleep(1000)
''']
ready.after = "10ms"
logs = { max_size = "1MB", keep = 2, compress = false, format = "FORM" }
"""


def test_output_is_closed(hasup):
    """Nothing is restarted for it, nothing spins on it; the next run has its output again."""
    hasup.start(
        QUIET + '[programs.closer]\ncommand = ["sh", "-c", "echo begins; exec >&- 2>&-; exec sleep 1000"]\n'
        'ready.after = "10ms"\nrestart.delay = "20ms"\n'
    )
    log = hasup.state_dir / "logs" / "closer.1.log"
    until(lambda: log.read_text() == "begins\n", "written")
    core = hasup.status()["supervisor"]["core_pid"]
    began, before = time.monotonic(), _cpu(core)
    while time.monotonic() < began + 1.0:
        assert hasup.replica("closer.1")["restarts"] == 0
    busy = (_cpu(core) - before) / (time.monotonic() - began)
    assert busy < 0.5, "a closed pipe would keep the loop busy all the time"
    assert_supervised(hasup, "closer.1")
    until(lambda: log.read_text() == "begins\nbegins\n", "written again")


@pytest.mark.parametrize(
    "size", [50_000_000, pytest.param(1_000_000_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
@pytest.mark.parametrize("form", ["raw", "json"])
def test_one_endless_line(hasup, size, form):
    """It is cut for the sake of rotation; neither memory nor disk grow with it."""
    hasup.start(QUIET + WRITER.replace("BYTES", str(size)).replace("FORM", form))
    core = hasup.status()["supervisor"]["core_pid"]
    before, logs = resident(core), hasup.state_dir / "logs"
    (hasup.folder / "go").touch()
    pid = hasup.replica("writer.1")["pid"]
    until(lambda: _written(pid) >= size // 65536 * 65536, "all is taken", 300)
    assert_supervised(hasup)
    files = list(logs.glob("writer.1.log*"))
    assert len(files) <= 3
    assert sum(path.stat().st_size for path in files) < 10_000_000
    assert resident(core) < before + 20_000, "kilobytes"
    assert hasup.replica("writer.1")["pid"] == pid


def test_a_flood(hasup):
    """Many that write as fast as they can: commands are answered, crashes and heartbeats are noticed."""
    hasup.start(
        QUIET + '[programs.flood]\ncommand = "yes this is far too much"\nreplicas = 4\nready.after = "10ms"\n'
        'logs = { max_size = "1MB", keep = 1, compress = false }\n'
        '[programs.a]\ncommand = "${HASUP_PYTHON} -m hasup.demo.worker --hang-after 10000"\nready.notify = true\n'
        'heartbeat.timeout = "5s"\n'
    )
    before = hasup.replicas()
    for _ in range(3):
        assert_supervised(hasup)
    after = hasup.replicas()
    assert {n: after[n]["pid"] for n in after if n != "quiet.1"} == {
        n: before[n]["pid"] for n in before if n != "quiet.1"
    }
    assert len(list((hasup.state_dir / "logs").glob("flood.1.log*"))) <= 3


def _cpu(pid: int) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _written(pid: int) -> int:
    """Bytes that a process has written to anything."""
    return int(Path(f"/proc/{pid}/io").read_text().split("wchar: ")[1].split()[0])
