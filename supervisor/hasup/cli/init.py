"""``hasup init``: a first ``hasup.toml``."""

import os
import sys
from pathlib import Path

import click

from hasup.cli.errors import FAILED, Failure
from hasup.cli.options import config_option


@click.command("init")
@config_option
def command(config: str | None) -> int:
    """Write a first hasup.toml, from the Procfile when there is one. Never overwrites a file."""
    from hasup.config.starter import from_procfile, starter

    path = Path(config or "hasup.toml")
    procfile = path.parent / "Procfile"
    text = from_procfile(procfile, os.environ) if procfile.is_file() else starter()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already, and is left as it is; to look at it: hasup check", FAILED) from None
    origin = f" from {procfile}" if procfile.is_file() else ""
    sys.stdout.write(f"{path} written{origin}; next: edit it, then: hasup start\n")
    return 0
