"""The supervisors that are measured: how each is configured, started, asked and stopped."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

from tests.chaos.systemd_machine import Machine, why_not

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0
Command = list[str]


class Missing(Exception):
    """A peer is not installed here."""


def found(*places: str) -> str:
    """The first of these programs that is there; raises :class:`Missing`."""
    for place in places:
        path = shutil.which(place)
        if path is not None:
            return path
    raise Missing(" or ".join(places))


class Peer:
    """One supervisor, set up in ``folder`` to run ``commands`` (slot to words) at once and for ever."""

    name: ClassVar[str]
    log_of: ClassVar[str] = ""  # where the output of slot "a" is, below the folder

    def __init__(self, folder: Path, commands: dict[str, Command]) -> None:
        self.folder = folder
        self.commands = commands
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self) -> None:
        """Write its files."""

    def boot(self) -> None:
        """What has to be there before its start, and is not measured."""

    def close(self) -> None:
        """What is to be undone after its end."""

    def host_pid(self, pid: int) -> int:
        """A child's pid as seen from here, from what the child takes it for."""
        return pid

    def argv(self) -> Command:
        """What starts it, in the foreground."""
        raise NotImplementedError

    def stop_argv(self) -> Command | None:
        """What stops everything and returns when it is so; None: TERM to the root."""
        return None

    def status_argv(self) -> Command | None:
        """What shows its state; None: there is no such command for all at once."""
        return None

    def version(self) -> str:
        """As it says."""
        return ""

    def env(self) -> dict[str, str]:
        """The environment of all its commands."""
        return dict(os.environ)

    def start(self) -> None:
        """Start it; returns at once."""
        out = (self.folder / "supervisor.out").open("ab")
        self.process = subprocess.Popen(
            self.argv(), cwd=self.folder, env=self.env(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
        out.close()

    def run(self, argv: Command) -> subprocess.CompletedProcess[str]:
        """One of its commands, to its end."""
        return subprocess.run(
            argv, cwd=self.folder, env=self.env(), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )

    def stop(self) -> None:
        """Stop everything, and wait for the root's end."""
        assert self.process is not None
        argv = self.stop_argv()
        if argv is None:
            self.process.send_signal(signal.SIGTERM)
        else:
            self.run(argv)
        self.process.wait(PATIENCE_S)


class Hasup(Peer):
    name = "hasup"
    defaults: ClassVar[str] = ""
    log_of = ".hasup/logs/a.1.log"

    def configure(self) -> None:
        lines = [
            '[defaults]\nready.after = "0s"\nrestart.delay = "0s"\n',
            "logs = { keep = 10, compress = false }\n",
            self.defaults,
            "[supervisor]\nrestart_rate = 100000\n",
        ]
        lines += [f"[programs.{slot}]\ncommand = {json.dumps(words)}\n" for slot, words in self.commands.items()]
        (self.folder / "hasup.toml").write_text("\n".join(lines))

    def env(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT / "supervisor"), "PYTHONDONTWRITEBYTECODE": ""}

    def argv(self) -> Command:
        return [sys.executable, "-m", "hasup", "start"]

    def start(self) -> None:
        self.process = None
        self.starter = subprocess.Popen(
            [*self.argv(), "-d"], cwd=self.folder, env=self.env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def root(self) -> int:
        self.starter.wait(PATIENCE_S)
        return int(json.loads((self.folder / ".hasup" / "instance.json").read_text())["guardian_pid"])

    def stop_argv(self) -> Command:
        return [sys.executable, "-m", "hasup", "stop"]

    def stop(self) -> None:
        self.starter.wait(PATIENCE_S)
        self.run(self.stop_argv())

    def status_argv(self) -> Command:
        return [sys.executable, "-m", "hasup", "status"]

    def version(self) -> str:
        return self.run([sys.executable, "-m", "hasup", "--version"]).stdout.split()[-1]


class WatchedHasup(Hasup):
    """Each program beats each second, and its tree is measured every five."""

    defaults = 'heartbeat.timeout = "10s"\nlimits.memory = { above = "1GB", for = "15s" }\n'


class Supervisord(Peer):
    name = "supervisord"
    log_of = "a.log"

    def configure(self) -> None:
        self._d, self._ctl = found("supervisord"), found("supervisorctl")
        head = (
            f"[supervisord]\nnodaemon=true\nlogfile={self.folder}/own.log\npidfile={self.folder}/pid\nminfds=8192\n"
            f"[unix_http_server]\nfile={self.folder}/s.sock\n[supervisorctl]\nserverurl=unix://{self.folder}/s.sock\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
        )
        parts = [
            f"[program:{slot}]\ncommand={shlex.join(words)}\nautorestart=true\nstartsecs=0\nstartretries=1000000\n"
            f"redirect_stderr=true\nstdout_logfile={self.folder}/{slot}.log\nstdout_logfile_maxbytes=10MB\n"
            for slot, words in self.commands.items()
        ]
        (self.folder / "supervisord.conf").write_text(head + "".join(parts))

    def argv(self) -> Command:
        return [self._d, "-c", "supervisord.conf"]

    def stop_argv(self) -> Command:
        return [self._ctl, "-c", "supervisord.conf", "shutdown"]

    def status_argv(self) -> Command:
        return [self._ctl, "-c", "supervisord.conf", "status"]

    def version(self) -> str:
        return self.run([self._d, "--version"]).stdout.strip()


class Circus(Peer):
    name = "circus"
    log_of = "a.log"

    def configure(self) -> None:
        self._d, self._ctl = found("circusd"), found("circusctl")
        self._end = f"ipc://{self.folder}/c.sock"
        head = (
            f"[circus]\nendpoint = {self._end}\npubsub_endpoint = ipc://{self.folder}/p.sock\ncheck_delay = 5\n"
            "warmup_delay = 0\nstatsd = false\n"
        )
        parts = [
            f"[watcher:{slot}]\ncmd = {words[0]}\nargs = {shlex.join(words[1:])}\nnumprocesses = 1\nmax_retry = -1\n"
            f"stdout_stream.class = FileStream\nstdout_stream.filename = {self.folder}/{slot}.log\n"
            "stdout_stream.max_bytes = 10000000\nstdout_stream.backup_count = 10\n"
            for slot, words in self.commands.items()
        ]
        (self.folder / "circus.ini").write_text(head + "".join(parts))

    def argv(self) -> Command:
        return [self._d, "circus.ini"]

    def stop_argv(self) -> Command:
        return [self._ctl, "--endpoint", self._end, "--timeout", "60", "quit", "--waiting"]

    def status_argv(self) -> Command:
        return [self._ctl, "--endpoint", self._end, "--timeout", "60", "status"]

    def version(self) -> str:
        return self.run([self._d, "--version"]).stdout.strip()


class _Folders(Peer):
    """Those that watch a folder with a folder for each service: a ``run`` script, and ``log/run`` for its output."""

    logger: ClassVar[str]

    def configure(self) -> None:
        self.services = self.folder / "services"
        for slot, words in self.commands.items():
            self._script(self.services / slot / "run", f"exec {shlex.join(words)}")
            if len(words) > 3:
                self._script(self.services / slot / "log" / "run", f"exec {found(self.logger)} {self.log_options}")
                (self.services / slot / "log" / "config").write_text("s10000000\nn11\n")  # svlogd's way to be told

    log_options = ""

    def _script(self, path: Path, line: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


class Runit(_Folders):
    name = "runit"
    logger = "svlogd"
    log_options = "."
    log_of = "services/a/log/current"

    def argv(self) -> Command:
        return [found("runsvdir"), "-P", str(self.services)]

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)  # runsvdir(8): TERM to each runsv, which ends its service
        self.process.wait(PATIENCE_S)

    def status_argv(self) -> Command:
        return [found("sv"), "status", *(str(self.services / slot) for slot in self.commands)]


class S6(_Folders):
    name = "s6"
    logger = "s6-log"
    log_options = "s10000000 n11 ."
    log_of = "services/a/log/current"

    def argv(self) -> Command:
        return [found("s6-svscan"), "-c", "2048", str(self.services)]

    def stop_argv(self) -> Command:
        return [found("s6-svscanctl"), "-t", str(self.services)]


class Daemontools(_Folders):
    name = "daemontools"
    logger = "multilog"
    log_options = "s10000000 n11 ."
    log_of = "services/a/log/current"

    def argv(self) -> Command:
        return [found("svscan"), str(self.services)]

    def stop(self) -> None:
        """svscan knows no end: first it, then each supervise with its service."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        services = [str(self.services / slot) for slot in self.commands]
        self.run([found("svc"), "-dx", *services, *(f"{one}/log" for one in services if os.path.isdir(f"{one}/log"))])

    def status_argv(self) -> Command:
        return [found("svstat"), *(str(self.services / slot) for slot in self.commands)]


class Pm2(Peer):
    name = "pm2"

    def configure(self) -> None:
        self._pm2 = found("pm2")
        apps = [
            {
                "name": slot, "script": words[0], "args": words[1:], "interpreter": "none", "exec_mode": "fork",
                "min_uptime": 0, "max_restarts": 1_000_000, "restart_delay": 0,
            }
            for slot, words in self.commands.items()
        ]  # fmt: skip
        (self.folder / "apps.json").write_text(json.dumps({"apps": apps}))

    def env(self) -> dict[str, str]:
        return os.environ | {"PM2_HOME": str(self.folder / "home")}

    def argv(self) -> Command:
        return [self._pm2, "start", "apps.json"]

    def root(self) -> int:
        assert self.process is not None
        self.process.wait(PATIENCE_S)
        return int((self.folder / "home" / "pm2.pid").read_text())

    def stop(self) -> None:
        self.root()
        self.run([self._pm2, "kill"])

    def status_argv(self) -> Command:
        return [self._pm2, "list"]

    def version(self) -> str:
        return self.run([self._pm2, "--version"]).stdout.split()[-1]


class Systemd(Peer):
    """Booted in namespaces of its own, with its manager and journald only; the units are started afterwards."""

    name = "systemd"

    def configure(self) -> None:
        why = why_not()
        if why is not None:
            raise Missing(why)
        self._pids: dict[int, int] = {}  # in there -> out here
        self._machine: Machine | None = None
        self.units = {
            f"bench-{slot}.service": "[Unit]\nDefaultDependencies=no\nPartOf=bench.target\nStartLimitIntervalSec=0\n"
            f"[Service]\nRestart=always\nRestartSec=0\nExecStart={shlex.join(words)}\n"
            for slot, words in self.commands.items()
        }
        self.units["bench.target"] = "[Unit]\nDefaultDependencies=no\nWants=" + " ".join(self.units) + "\n"

    def argv(self) -> Command:
        return ["systemctl", "start", "--no-block", "bench.target"]

    def boot(self) -> None:
        work = self.folder / "machine"
        work.mkdir()
        self._machine = machine = Machine(work, self.units)
        wait_for(machine.is_up, "systemd", pause=0.1)

    def start(self) -> None:
        self._inside(self.argv())

    def stop(self) -> None:
        self._inside(["systemctl", "stop", "bench.target"])

    def close(self) -> None:
        if self._machine is not None:
            self._machine.close()

    def root(self) -> int:
        assert self._machine is not None
        pid = self._machine.init_pid()
        assert pid is not None
        return pid

    def status_argv(self) -> Command:
        return [*self._enter(), "systemctl", "list-units", "--no-pager", "bench-*"]

    def host_pid(self, pid: int) -> int:
        if pid not in self._pids:
            init = self.root()
            for child in Path(f"/proc/{init}/task/{init}/children").read_text().split():
                try:
                    status = Path(f"/proc/{child}/status").read_text()
                except OSError:
                    continue
                inner = next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:"))
                self._pids[int(inner)] = int(child)
        return self._pids.get(pid, pid)

    def version(self) -> str:
        return self.run(["systemctl", "--version"]).stdout.split()[1]

    def _enter(self) -> Command:
        return ["nsenter", "-t", str(self.root()), "-m", "-p", "-u", "-i", "-C"]

    def _inside(self, argv: Command) -> None:
        done = self.run([*self._enter(), *argv])
        assert done.returncode == 0, done.stderr


PEERS: tuple[type[Peer], ...] = (Hasup, Supervisord, Circus, Runit, S6, Daemontools, Pm2, Systemd)


def root_of(peer: Peer) -> int:
    """The pid of its first process."""
    if isinstance(peer, Hasup | Pm2 | Systemd):
        return peer.root()
    assert peer.process is not None
    return peer.process.pid


def own_processes(peer: Peer, children: set[int]) -> list[int]:
    """The supervisor's processes: the root and its descendants, apart from the children and what is below them."""
    parents: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(name))
    found_, left = [], [root_of(peer)]
    while left:
        pid = left.pop()
        if pid not in children:
            found_.append(pid)
            left += parents.get(pid, [])
    return found_


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes, to the nanosecond: ``stat`` counts in hundredths of a second."""
    spent = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                spent += int(thread.read_text().split()[0])
            except OSError:
                continue
    return spent / 1e9


def pss_bytes(pids: list[int]) -> int:
    """Proportional memory of these processes."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def wait_for(condition: object, what: str, pause: float = 0.0005) -> None:
    """Poll; raises AssertionError when it is never so."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"in vain waited for {what}"
        time.sleep(pause)  # measured times come from the children themselves, not from this
