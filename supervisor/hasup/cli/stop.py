"""``hasup stop``."""

import click

from hasup.cli.errors import USAGE, Failure
from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument()
@config_option
@click.option("--now", is_flag=True, help="Kill at once instead of asking programs to end.")
def command(config: str | None, names: tuple[str, ...], now: bool) -> int:
    """Stop programs, or everything and hasup itself.

    Returns when it is so: nothing that the programs started is left either.
    """
    from hasup.cli import stopping

    if not names:
        return stopping.stop_everything(config, now)
    if now:
        raise Failure("--now stops everything: give no names with it", USAGE)
    return stopping.stop_programs(config, names)
