"""``hasup schema``: the JSON Schema of ``hasup.toml``."""

import json
import sys

import click


@click.command("schema")
def command() -> int:
    """Print the JSON Schema of hasup.toml, for editors."""
    from hasup.config.schema import schema

    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
    return 0
