"""``hasup run``."""

import click

from hasup.cli.options import config_option


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@config_option
@click.option("-p", "--program", metavar="PROGRAM", help="Take environment and directory of this program.")
@click.argument("words", nargs=-1, required=True, metavar="-- CMD", type=click.UNPROCESSED)
def command(config: str | None, program: str | None, words: tuple[str, ...]) -> int:
    """Run a command once, in the environment of the configuration.

    A migration, a shell, a script: it gets the variables of env_files, and with -p those of a program and its
    directory, but is not supervised. It runs as you, and its exit code is the command's own.
    """
    from hasup.cli.running import run

    return run(config, program, words)
