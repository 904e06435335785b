"""``hasup reload``."""

import click

from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument()
@config_option
def command(config: str | None, names: tuple[str, ...]) -> int:
    """Read the configuration again, or replace programs one by one.

    Without NAMEs: reads the file and applies what differs; programs that did not change are not touched, and a file
    with a fault changes nothing. With NAMEs: replaces their replicas one by one, the next when the one before is ready
    again; if one does not become ready, the others are left as they are, and the exit code is 1.
    """
    from hasup.cli.reloading import reload_file, roll

    return roll(config, names) if names else reload_file(config)
