"""``hasup status``: for the help and unusual command lines; the plain ones take a shorter way (:mod:`.fast`)."""

import click

from hasup.cli.options import config_option, json_option, names_argument


@click.command()
@names_argument()
@config_option
@json_option
@click.option("-w", "--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
def command(config: str | None, names: tuple[str, ...], as_json: bool, watch: bool) -> int:
    """Show what runs.

    One line a replica: state, whether it is ready, pid, uptime, restarts, CPU (100% is one core), memory of its
    whole process tree, and how its last run ended. What does not run says why, and when it is tried again.
    """
    from hasup.cli import statusview

    if watch:
        return statusview.watch(config, names)
    return statusview.show(config, names, as_json)
