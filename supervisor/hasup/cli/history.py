"""``hasup history``."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument()
@config_option
@click.option("--since", metavar="TIME", help="From then on: 7d (ago), 2026-01-31; default: the last 24 hours.")
@click.option("--until", metavar="TIME", help="Up to then; default: now.")
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), default=20, show_default=True, help="Incidents.")
@json_option
def command(
    config: str | None, names: tuple[str, ...], since: str | None, until: str | None, count: int, as_json: bool
) -> int:
    """Show when programs were up and when not, as a bar.

    Each part of the bar shows the worst of its time. With NAMEs, below it: processor time and memory of each replica,
    the highest of each part. Then what went wrong, when, and for how long. Works while hasup is stopped too.
    """
    from hasup.cli.historyview import show

    return show(config, names, since, until, count, as_json=as_json)
