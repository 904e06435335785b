"""``hasup signal``."""

import sys

import click

from hasup.cli.options import config_option


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.argument("signal", metavar="SIGNAL")
@config_option
def command(config: str | None, names: tuple[str, ...], signal: str) -> int:
    """Send a signal to the main processes of programs.

    SIGNAL is a name (HUP, SIGHUP) or a number. What has no process now gets none.
    """
    from hasup.cli.errors import Failure
    from hasup.cli.link import ask
    from hasup.cli.outcome import listed

    answer = ask(config, "signal", {"names": list(names), "signal": signal})
    if not answer["signalled"]:
        raise Failure(f"nothing of {listed(names)} runs now: {answer['signal']} was sent to nobody; see: hasup status")
    sys.stdout.write(f"sent {answer['signal']} to {listed(answer['signalled'])}\n")
    return 0
