"""``hasup version``."""

import sys

import click

from hasup.cli.options import config_option, json_option
from hasup.cli.terminal import write_json
from hasup.version import __version__


@click.command()
@config_option
@json_option
def command(config: str | None, as_json: bool) -> int:
    """Show the version of this command and of the running hasup.

    They differ after an update, until hasup is upgraded or restarted. Works without a running hasup too.
    """
    running = _running(config)
    if as_json:
        write_json({"version": __version__, "running": running})
        return 0
    sys.stdout.write(f"hasup {__version__}\n")
    if running is not None:
        sys.stdout.write(f"running: hasup {running['version']} (pid {running['guardian_pid']})\n")
    return 0


def _running(config: str | None) -> dict[str, object] | None:
    from hasup.cli.link import ask_again
    from hasup.config import ConfigError
    from hasup.control.client import NotRunning

    try:
        answer: dict[str, object] = ask_again(config, "version", timeout=10.0)
    except (NotRunning, ConfigError):
        return None
    return answer
