"""``hasup events``."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument()
@config_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--since", metavar="TIME", help="From then on: 10m (ago), 2026-01-31, 2026-01-31T12:00.")
@click.option("--until", metavar="TIME", help="Up to then.")
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), help="The last N; with -f, 10 unless said.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only such events; may be repeated.")
@click.option(
    "--result", "results", multiple=True, metavar="RESULT", help="Only ends of runs with it: signal, heartbeat."
)
@json_option
def command(
    config: str | None,
    names: tuple[str, ...],
    follow: bool,
    since: str | None,
    until: str | None,
    count: int | None,
    kinds: tuple[str, ...],
    results: tuple[str, ...],
    as_json: bool,
) -> int:
    """Show what happened, and why.

    Each change of each replica, with its reason. Works while hasup is stopped too. Kinds: state, ready, restart,
    limit, trouble and others, as the third column says.
    """
    from hasup.cli.eventlist import Query, show

    return show(config, Query(names, kinds, since, count, until, results), follow=follow, as_json=as_json)
