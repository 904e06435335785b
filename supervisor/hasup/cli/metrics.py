"""``hasup metrics``."""

import click

from hasup.cli.options import config_option


@click.command()
@config_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["openmetrics", "prometheus"]),
    default="openmetrics",
    show_default=True,
    help="prometheus: the older text format, for node_exporter's textfile collector.",
)
def command(config: str | None, form: str) -> int:
    """Print measurements for Prometheus and others.

    States, restarts by result, processor time and memory of each replica, as hasup has them now. Needs the package
    prometheus-client: pip install 'hasup[metrics]'.
    """
    from hasup.cli.exposition import show

    return show(config, form)
