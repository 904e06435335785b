"""``hasup reload``."""

import click

from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument()
@config_option
def command(config: str | None, names: tuple[str, ...]) -> int:
    """Read the configuration again, or replace the replicas of programs.

    Without NAMEs: reads the file and applies what differs; programs that did not change are not touched, and a file
    with a fault changes nothing. With NAMEs: replaces their replicas, for new code that is in place. Either way one
    after the other, as [programs.NAME.reload] has it; if the new version does not become ready, what ran before goes
    on, and the exit code is 1.
    """
    from hasup.cli.reloading import reload_file, roll

    return roll(config, names) if names else reload_file(config)
