"""``hasup report``."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument()
@config_option
@click.option("--since", metavar="TIME", help="From then on: 30d (ago), 2026-01-31; default: all that is known.")
@click.option("--until", metavar="TIME", help="Up to then; default: now.")
@click.option("--html", metavar="FILE", help="Write it to FILE, as one page that needs nothing else.")
@json_option
def command(
    config: str | None,
    names: tuple[str, ...],
    since: str | None,
    until: str | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Show how available programs were.

    Per replica, program (so many ready as it needs) and for everything together: availability, failures, mean time
    between failures and to repair with their 90% intervals, error budget. Planned stops, and times at which hasup did
    not run, count neither as up nor as down. Works while hasup is stopped too.
    """
    from hasup.cli.reportview import show

    return show(config, names, since, until, as_json=as_json, html=html)
