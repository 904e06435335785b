"""What ``hasup start`` does."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from hasup.cli import background, statedir
from hasup.cli.errors import say
from hasup.cli.launch import acquire, assemble, become_guardian, running
from hasup.cli.link import ask_again
from hasup.cli.locate import state_dir
from hasup.cli.named import unknown
from hasup.cli.outcome import report
from hasup.config import load
from hasup.control.client import ControlClient
from hasup.model.spec import Config


def start(config: str | None, names: Sequence[str], detach: bool) -> int:
    """Start hasup with these programs (those that start by themselves), or these programs of a running hasup."""
    client = running(state_dir(config, os.environ, os.getcwd()))
    if client is not None:
        with client:
            return _start_more(client, config, names)
    wanted = load(Path(config) if config else None, os.environ, Path.cwd())
    only = _with_dependencies(wanted, names)
    directory = wanted.supervisor.state_dir
    statedir.prepare(directory)
    held = acquire(directory)
    if isinstance(held, ControlClient):
        with held:
            return _start_more(held, config, names)
    launch = assemble(wanted, held, console=not detach)
    if not detach:
        become_guardian(launch, only)
    guardian = background.detach(launch, only)
    answer = background.wait_settled(directory, guardian)
    _show(config)
    return background.announce(answer)


def _start_more(client: ControlClient, config: str | None, names: Sequence[str]) -> int:
    pid = client.call("version", timeout=30.0)["guardian_pid"]
    try:
        answer = ask_again(config, "start", {"names": list(names), "wait": True})
        return report(f"hasup already runs (pid {pid}); started", answer)
    finally:
        from hasup.cli.reloading import differs  # which brings all decisions along

        if differs(config):
            say("the file differs from what runs: hasup diff shows how, hasup reload applies it")


def _show(config: str | None) -> None:
    """The table, when the terminal is there to be looked at."""
    from hasup.cli.statusview import page
    from hasup.cli.terminal import terminal

    sys.stdout.write(page(ask_again(config, "status", timeout=30.0), terminal(), time.time()))
    sys.stdout.flush()


def _with_dependencies(config: Config, names: Sequence[str]) -> list[str]:
    """``names`` and the programs that they depend on; Failure when there is none of a name."""
    chosen: dict[str, None] = {}
    for name in names:
        chosen[name] = None
        for program in _programs(config, name):
            chosen.update(dict.fromkeys(_dependencies(config, program)))
    return list(chosen)


def _programs(config: Config, name: str) -> Sequence[str]:
    """The programs that a name (of a program, group or replica) means."""
    if name in config.groups:
        return config.groups[name].programs
    program, _, number = name.rpartition(".")
    if name in config.programs:
        return (name,)
    found = config.programs.get(program)
    if found is not None and number.isdigit() and 1 <= int(number) <= found.replicas:
        return (program,)
    raise unknown(name, config)


def _dependencies(config: Config, program: str) -> Iterator[str]:
    seen = {program}
    open_ = [program]
    while open_:
        for name in config.programs[open_.pop()].depends_on:
            if name not in seen:
                seen.add(name)
                open_.append(name)
                yield name
