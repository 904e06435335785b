"""Options that commands share. Every command takes ``-c FILE`` after its name as well as before it."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def _before_or_after(context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    return value or context.find_root().params.get("config")


def config_option(command: Command) -> Command:
    """``-c FILE``: the command gets ``config: str | None``, also when it was given before the command's name."""
    return click.option(
        "-c", "--config", metavar="FILE", callback=_before_or_after, help="Configuration file.", expose_value=True
    )(command)


def json_option(command: Command) -> Command:
    """``--json``: the command gets ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def names_argument(*, required: bool = False) -> Callable[[Command], Command]:
    """Names of programs, replicas or groups: the command gets ``names: tuple[str, ...]``."""
    metavar = "NAME..." if required else "[NAME]..."
    return click.argument("names", nargs=-1, required=required, metavar=metavar, shell_complete=_known_names)


def _known_names(context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    """Completion: what the running hasup has; nothing when none runs."""
    from hasup.cli.link import ask

    try:
        programs = ask(context.params.get("config"), "status", timeout=2.0)["programs"]
    except Exception:  # a shell's Tab is no place for errors
        return []
    names = {name for p in programs for name in (p["name"], *p["groups"], *(r["name"] for r in p["replicas"]))}
    return sorted(name for name in names if name.startswith(begun))
