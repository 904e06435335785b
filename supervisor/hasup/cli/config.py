"""``hasup config``: what the configuration comes to."""

import json
import os
import sys
from pathlib import Path

import click

from hasup.cli.options import config_option, json_option


@click.command("config")
@config_option
@json_option
@click.option("--show-secrets", is_flag=True, help="Show variables and headers that look like secrets, too.")
def command(config: str | None, as_json: bool, show_secrets: bool) -> int:
    """Show the configuration with includes, defaults and shorthands resolved.

    The output is a valid configuration itself, apart from what is hidden.
    """
    from hasup.config import load
    from hasup.config.show import document, toml

    loaded = load(Path(config) if config else None, os.environ, Path.cwd())
    resolved = document(loaded, secrets=show_secrets)
    if as_json:
        sys.stdout.write(json.dumps({"file": loaded.file, **resolved}, indent=2) + "\n")
    else:
        sys.stdout.write(f"# {loaded.file}, resolved\n{toml(resolved)}")
    return 0
