"""``hasup restart``."""

import click

from hasup.cli.options import config_option, names_argument


@click.command()
@names_argument(required=True)
@config_option
def command(config: str | None, names: tuple[str, ...]) -> int:
    """Stop programs and start them again, at once.

    Returns when they are ready again. All replicas go down together: to keep some of them ready, use reload.
    """
    from hasup.cli.link import ask
    from hasup.cli.outcome import report

    return report("restarted", ask(config, "restart", {"names": list(names), "wait": True}, None))
