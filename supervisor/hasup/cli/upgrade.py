"""``hasup upgrade``."""

import click

from hasup.cli.options import config_option


@click.command()
@config_option
def command(config: str | None) -> int:
    """Go over to the hasup that this command belongs to, while programs run on.

    After an update of the package, or from another virtual environment: the running hasup is replaced by this version.
    No program is restarted and no connection lost. If the new version does not come up, the old one goes on, and the
    exit code is 1. Dispatchers go over to the new version when they are started next.
    """
    from hasup.cli.upgrading import upgrade

    return upgrade(config)
