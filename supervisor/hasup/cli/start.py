"""``hasup start``."""

import click

from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument()
@config_option
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return when everything had its first start.")
def command(config: str | None, names: tuple[str, ...], detach: bool) -> int:
    """Start hasup, or programs of a running one.

    In the foreground it shows what the programs write, until Ctrl-C stops everything. With -d it returns when each
    program is ready, has completed or has failed its first start: exit code 1 if one failed, though hasup goes on
    trying. NAMEs start instead of the programs that start by themselves, together with what they depend on.
    """
    from hasup.cli.starting import start

    return start(config, names, detach)
