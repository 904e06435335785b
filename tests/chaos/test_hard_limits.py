"""Hard limits, kept by the kernel, in a machine whose systemd delegates every controller to hasup."""

import shlex
import sys

import pytest

from tests.chaos.systemd_service import UNIT, Service
from tests.chaos.uml_machine import UmlMachine, why_not
from tests.e2e.harness import ROOT, until

REASON = why_not()
pytestmark = [pytest.mark.systemd, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

GREEDY = "print('begins', flush=True)\nkept = []\nwhile True: kept.append(b'x' * 2**20)"
FORKS = (
    "import os, time\ncount = 0\ntry:\n"
    "    while count < 50:\n        os.fork() or time.sleep(1000)\n        count += 1\n"
    "except OSError as error: print(f'made {count}: {error.strerror}', flush=True)\ntime.sleep(1000)"
)


def program(name: str, code: str, more: str) -> str:
    command = shlex.join([sys.executable, "-I", "-S", "-c", code])
    return f"[programs.{name}]\ncommand = '''{command}'''\nready.after = '100ms'\nstop.timeout = '2s'\n{more}\n"


CONFIG = "[supervisor]\nname = 'shop'\n" + "".join([
    program("greedy", GREEDY, "restart = 'never'\nautostart = false\nlimits.hard.memory = '48MiB'"),
    program("forks", FORKS, "limits.hard.tasks = 8"),
    program("busy", "while True: pass", "limits.hard.cpu = '10%'"),
    program("plain", "import time; time.sleep(1000)", "restart = 'never'"),
])  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("machine"), CONFIG, machine=UmlMachine)
    yield service
    service.machine.close()


def read(shop: Service, slot: str, file: str) -> str:
    """A file of a slot's cgroup; "" when it is not there."""
    folder = f"/sys/fs/cgroup/system.slice/{UNIT}/hasup-*/{slot.replace('.', '.2e.')}"
    return shop.machine.run("sh", "-c", f"cat {folder}/{file}", check=False).stdout.strip()


def last(shop: Service, name: str) -> dict:
    (found,) = (r for p in shop.status()["programs"] for r in p["replicas"] if r["name"] == name)
    return found["last"] or {}


def all_bounds_hold(shop: Service) -> None:
    until(lambda: read(shop, "busy.1", "cpu.max") == "10000 100000", "the bound on its processor time")
    shop.hasup("start", "greedy", check=False)
    until(lambda: last(shop, "greedy.1").get("result") == "oom-kill", "it was killed for want of memory")
    assert shop.status()["supervisor"]["degraded"] == []


def test_the_kernel_keeps_them(shop):
    shop.ctl("start", UNIT)
    all_bounds_hold(shop)
    assert (read(shop, "plain.1", "memory.max"), read(shop, "forks.1", "pids.max")) == ("max", "8")
    until(lambda: "made 7: " in shop.hasup("logs", "forks").stdout, "no more than eight tasks, its own among them")
    until(lambda: "nr_throttled 0" not in read(shop, "busy.1", "cpu.stat"), "it has to wait for the processor")
    shop.machine.run("kill", "-KILL", str(shop.pids()["plain.1"]))
    until(lambda: last(shop, "plain.1").get("result") == "signal", "somebody else's KILL is no such kill")


def test_without_systemd_in_a_cgroup_of_its_own_which_is_left_as_it_was(shop):
    """As in a container, or under another init."""
    box, hasup = "/sys/fs/cgroup/box", f"{sys.executable} -m hasup -c {shop.config.parent}/box.toml"
    (shop.config.parent / "box.toml").write_text(program("bound", "while True: pass", "limits.hard.tasks = 9"))
    env = f"PYTHONPATH={ROOT / 'supervisor'} STATE_DIRECTORY=/run/box"
    enter = f"mkdir -p {box} && echo 0 > {box}/cgroup.procs"
    shop.machine.run("sh", "-c", f"({enter} && {env} exec {hasup} start) >/run/box.log 2>&1 </dev/null &")

    def found() -> str:
        return shop.machine.run("sh", "-c", f"cat {box}/hasup-*/bound*/pids.max", check=False).stdout.strip()

    until(lambda: found() == "9", "the bound")
    shop.machine.run("sh", "-c", f"{env} {hasup} stop")
    until(lambda: shop.machine.run("rmdir", box, check=False).returncode == 0, "nothing is left there")


def test_after_the_death_of_the_core_and_an_upgrade(shop):
    shop.ctl("start", UNIT)
    until(lambda: shop.pids().get("busy.1"), "they run")
    before = shop.pids()
    shop.machine.run("kill", "-KILL", str(shop.status()["supervisor"]["core_pid"]))
    until(lambda: shop.status()["supervisor"]["core_restarts"] == 1, "another core")
    shop.hasup("upgrade")
    after = shop.pids()
    assert [after[name] for name in ("busy.1", "forks.1")] == [before[name] for name in ("busy.1", "forks.1")]
    shop.hasup("restart", "busy")
    until(lambda: shop.pids()["busy.1"] not in (None, before["busy.1"]), "another run")
    assert read(shop, "busy.1", "cpu.max") == "10000 100000"
    assert shop.status()["supervisor"]["degraded"] == []


def test_after_the_death_of_the_guardian(shop):
    shop.ctl("start", UNIT)
    guardian = shop.machine.show(UNIT, "MainPID")
    shop.machine.run("kill", "-KILL", guardian)
    until(lambda: shop.machine.show(UNIT, "NRestarts") == "1", "started again")
    until(lambda: shop.machine.show(UNIT, "ActiveState") == "active", "up again")
    all_bounds_hold(shop)
    assert shop.machine.show(UNIT, "MainPID") == str(shop.status()["supervisor"]["guardian_pid"]) != guardian


def test_a_changed_bound_holds_from_the_next_run_on(shop):
    shop.ctl("start", UNIT)
    shop.config.write_text(CONFIG.replace("cpu = '10%'", "cpu = '20%'"))
    shop.ctl("reload", UNIT)
    until(lambda: read(shop, "busy.1", "cpu.max") == "20000 100000", "the new bound")
    shop.config.write_text(CONFIG.replace("limits.hard.cpu = '10%'", ""))
    shop.ctl("reload", UNIT)
    until(lambda: read(shop, "busy.1", "cpu.max") == "max 100000", "no bound")
    shop.ctl("stop", UNIT)
    assert shop.cgroup_is_empty()
