"""Names on the command line, against the configuration: for commands that also work while hasup is stopped."""

from hasup.cli.errors import UNKNOWN_NAME, Failure
from hasup.model.spec import Config


def slots(config: Config) -> dict[str, list[str]]:
    """Every program with its replicas, as configured."""
    return {p.name: [f"{p.name}.{index}" for index in range(1, p.replicas + 1)] for p in config.programs.values()}


def unknown(name: str, config: Config) -> Failure:
    """What to raise when there is nothing of this name."""
    from hasup.core.names import no_such  # which brings all decisions along

    return Failure(no_such(name, slots(config), config.groups), UNKNOWN_NAME)
