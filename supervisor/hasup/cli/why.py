"""``hasup why``."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument(required=True)
@config_option
@json_option
def command(config: str | None, names: tuple[str, ...], as_json: bool) -> int:
    """Tell what happened to a program or replica last.

    What was the matter, what it was doing then, what hasup did, what happens next and when, and what you may try. Of a
    program, the replica that was in trouble last. Works while hasup is stopped too.
    """
    from hasup.cli.explain import show

    return show(config, names, as_json)
