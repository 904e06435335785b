"""The root of the commands: knows their names and one line of help each, and imports only the one that is run."""

import importlib
import os
from collections.abc import Sequence

import click

from hasup.cli.commands import NAMES, SECTIONS
from hasup.cli.errors import INTERRUPTED, USAGE, Failure
from hasup.cli.options import config_option
from hasup.version import __version__

COMPLETE = "_HASUP_COMPLETE"
_EPILOG = """\b
Names are programs, replicas (web.2) or groups; none means all.
Exit codes: 0 done; 1 it did not work; 2 usage or configuration;
            3 hasup is not running; 4 no such program."""


class LazyGroup(click.Group):
    """Commands live in ``hasup.cli.NAME`` as ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Their names, in the order of the help."""
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one; None when there is none of that name."""
        if cmd_name not in NAMES:
            return None
        command = importlib.import_module(f"hasup.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion when there is no such command."""
        if args and args[0] not in NAMES and not args[0].startswith("-"):
            raise Failure(f"there is no command {args[0]!r}{_similar(args[0])}; see: hasup --help", USAGE)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """By section, without importing any."""
        width = max(map(len, NAMES))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


def _similar(name: str) -> str:
    import difflib

    begins = [known for known in NAMES if known.startswith(name)]
    close = begins if len(begins) == 1 else difflib.get_close_matches(name, NAMES, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND [ARGS]...",
)
@config_option
@click.version_option(__version__, message="hasup %(version)s")
def root(config: str | None) -> None:
    """Keep programs running: restart them when they crash, hang or leak."""


def invoke(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` names; its exit code."""
    asked = os.environ.get(COMPLETE)
    if asked:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "hasup", COMPLETE, asked)
    try:  # not root.main(): that has its own way with Ctrl-C and broken pipes
        with root.make_context("hasup", list(argv)) as context:
            result = root.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        raise Failure(_usage(error), USAGE) from error
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hasup"
    text = " ".join(error.format_message().split())
    return f"{text[:1].lower()}{text[1:].rstrip('.')}; see: {path} --help"
