"""``hasup export``."""

import os
import shutil
import sys

import click

from hasup.cli.options import config_option


@click.command()
@click.argument("format_", metavar="systemd", type=click.Choice(["systemd"]))
@config_option
def command(config: str | None, format_: str) -> int:  # noqa: ARG001 - one format so far
    """Print a systemd unit that runs this configuration as a service."""
    from pathlib import Path

    from hasup.config import load
    from hasup.convert.systemd import unit

    path = Path(config) if config else None
    # As the unit will see it: without the state directory of whatever service this command may run in.
    environ = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    loaded = load(path, environ, Path.cwd())
    beside = str(Path(loaded.file).parent / ".hasup")
    click.echo(unit(loaded, _own_command(), loaded.supervisor.state_dir == beside), nl=False)
    return 0


def _own_command() -> tuple[str, ...]:
    """How to start this very hasup, absolute."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "hasup" and os.access(script, os.X_OK):
        return (script,)
    beside_python = os.path.join(os.path.dirname(sys.executable), "hasup")
    found = beside_python if os.access(beside_python, os.X_OK) else shutil.which("hasup")
    return (found,) if found else (sys.executable, "-m", "hasup")
