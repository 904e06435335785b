"""``hasup top``."""

import click

from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument()
@config_option
def command(config: str | None, names: tuple[str, ...]) -> int:
    """Watch what runs, and act on it by key.

    The page of hasup status, each second, on the whole terminal. Arrows choose a replica; Enter says why it is as it
    is, l follows its logs (Ctrl-C comes back), r restarts it, s stops or starts it, q ends.
    """
    from hasup.cli.topping import top

    return top(config, names)
