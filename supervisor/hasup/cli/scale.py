"""``hasup scale``."""

from collections.abc import Sequence

import click

from hasup.cli.errors import USAGE, Failure
from hasup.cli.options import config_option

AUTO = "auto"


@click.command()
@click.argument("sizes", nargs=-1, required=True, metavar="NAME=N...")
@config_option
def command(config: str | None, sizes: tuple[str, ...]) -> int:
    """Change how many replicas of a program run.

    Returns when the new ones are ready and those too many are gone. Lasts until hasup is stopped: for ever, change
    replicas in the configuration.

    A program that is scaled by its load is held at N; NAME=auto leaves it to its load again.
    """
    from hasup.cli.link import ask_again
    from hasup.cli.outcome import report

    wanted = parse(sizes)
    done = f"scaled {', '.join(f'{name} to {count}' for name, count in wanted.items())}:"
    return report(done, ask_again(config, "scale", {"replicas": wanted, "wait": True}))


def parse(sizes: Sequence[str]) -> dict[str, int | str]:
    """``["web=3", "api=auto"]`` as ``{"web": 3, "api": "auto"}``; Failure when that is not what it says."""
    wanted: dict[str, int | str] = {}
    for word in sizes:
        name, equals, count = word.partition("=")
        number = count.isascii() and count.isdigit()
        if not name or not equals or not (number or count == AUTO):
            raise Failure(f"{word!r} is no NAME=N; for example: hasup scale web=3", USAGE)
        wanted[name] = int(count) if number else count
    return wanted
