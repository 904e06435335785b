"""``hasup logs``."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument()
@config_option
@json_option
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.option("-n", "--lines", "count", type=click.IntRange(min=0), default=None, help="So many last lines each.")
@click.option("--since", metavar="T", help="Only files written to since then: 5m, 2h, or an ISO time.")
@click.option("--grep", metavar="RE", help="Only lines that match this regular expression.")
@click.option("--no-prefix", is_flag=True, help="The lines alone.")
def command(
    config: str | None,
    names: tuple[str, ...],
    as_json: bool,
    follow: bool,
    count: int | None,
    since: str | None,
    grep: str | None,
    no_prefix: bool,
) -> int:
    """Show what programs wrote.

    Reads the log files, so it also works while hasup does not run. Without -n: the last 10 lines of each replica with
    -f or several replicas, else 100. Lines of text and json logs carry their times; raw ones have none, so --since
    looks at the times of the files.
    """
    from hasup.cli.showlogs import Request, show

    return show(Request(config, names, as_json, follow, count, since, grep, not no_prefix))
