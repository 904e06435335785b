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
@click.option("--listen", metavar="ADDRESS", help="Serve them at HOST:PORT or unix:PATH until Ctrl-C.")
@click.option("--state-dir", hidden=True)
def command(config: str | None, form: str, listen: str | None, state_dir: str | None) -> int:
    """Print measurements for Prometheus and others.

    States and the time in them, restarts by cause, processor time, memory and connections of each replica, as hasup
    has them now. Needs the package prometheus-client: pip install 'hasup[metrics]'.
    """
    import os

    from hasup.cli.locate import state_dir as located

    directory = state_dir or located(config, os.environ, os.getcwd())
    if listen is not None:
        from hasup.cli.metricsserver import serve

        return serve(directory, listen)
    from hasup.cli.exposition import show

    return show(directory, form)
