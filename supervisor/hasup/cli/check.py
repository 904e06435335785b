"""``hasup check``: is the configuration in order?"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hasup.cli.errors import USAGE
from hasup.cli.options import config_option, json_option

if TYPE_CHECKING:
    from hasup.model.spec import Config


@click.command("check")
@config_option
@json_option
def command(config: str | None, as_json: bool) -> int:
    """Check the configuration, and show everything that is wrong with it.

    Exit code 2 when something is; a running hasup is not touched.
    """
    import msgspec

    from hasup.config import ConfigError, load

    try:
        loaded = load(Path(config) if config else None, os.environ, Path.cwd())
    except ConfigError as error:
        if not as_json:
            raise
        _print({"file": error.file, "ok": False, "faults": msgspec.to_builtins(error.faults)})
        return USAGE
    replicas = sum(program.replicas for program in loaded.programs.values())
    if as_json:
        counts = {"programs": len(loaded.programs), "replicas": replicas}
        _print({"file": loaded.file, "ok": True, **counts, "faults": [], "notes": _notes(loaded)})
    else:
        programs = _counted(len(loaded.programs), "program")
        sys.stdout.write(f"{loaded.file}: {programs}, {_counted(replicas, 'replica')}: ok\n")
        sys.stdout.writelines(f"note: {note}\n" for note in _notes(loaded))
    return 0


def _notes(config: "Config") -> list[str]:
    """What is in order, and may not be what is meant."""
    from hasup.core.rolling import beside_itself

    reloads = [
        f"{program.name}: a reload ends each replica before its successor starts, as if max_unavailable were 1; the new"
        ' one comes first only with port = "auto" or listen.mode = "share"'
        for program in config.programs.values()
        if program.listen and not program.reload.max_unavailable and not beside_itself(program, program.replicas)
    ]
    return [*reloads, *_never_at_max(config), *_without_controllers(config)]


def _never_at_max(config: "Config") -> list[str]:
    """The programs that are scaled by connections, and take too few of these to ever have ``max`` replicas."""
    scaled = [(one.name, one.autoscale, one.listen) for one in config.programs.values()]
    return [
        f"{name}: no more than listen.max_connections = {listen.max_connections} are taken: too few for "
        f"{bounds.max} replicas at target_connections = {bounds.target_connections}"
        for name, bounds, listen in scaled
        if bounds and listen and not bounds.target_cpu and bounds.target_connections
        if listen.max_connections <= bounds.target_connections * (bounds.max - 1) * (1 + bounds.tolerance / 100)
    ]


def _without_controllers(config: "Config") -> list[str]:
    """The programs whose hard limits can't be kept on this machine, whoever starts hasup."""
    from hasup.guardian import cgroups
    from hasup.runtime import hard

    there = set().union(*map(cgroups.controllers, cgroups.mounts()))
    return [
        f"{program.name}: limits.hard needs the {name} controller of cgroup v2, which this machine does not have"
        for program in config.programs.values()
        for name in sorted({file.partition(".")[0] for file in hard.bounds(program.limits.hard)} - there)
    ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print(data: object) -> None:
    import json

    sys.stdout.write(json.dumps(data, indent=2) + "\n")
