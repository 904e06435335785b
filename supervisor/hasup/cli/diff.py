"""``hasup diff``."""

import click

from hasup.cli.options import config_option, json_option


@click.command()
@config_option
@json_option
def command(config: str | None, as_json: bool) -> int:
    """Show what a reload would change: the file compared with what runs. Changes nothing."""
    from hasup.cli.reloading import show_difference

    return show_difference(config, as_json)
