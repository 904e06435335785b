"""The command ``hasup``: one file a command, each imported when it is run."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from hasup.cli.errors import guarded


def main() -> NoReturn:
    """Run the command of this process."""
    _see_to_streams()
    sys.exit(run(sys.argv[1:]))


def _see_to_streams() -> None:
    """Output that is closed goes nowhere, and text that it has no signs for is escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        getattr(sys, name).reconfigure(errors="backslashreplace")


def run(argv: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    return guarded(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str]) -> int:
    from hasup.cli import fast

    plain = fast.parse(argv)
    if plain is not None and plain.command == "status":  # scripts poll it: not even click is imported
        from hasup.cli.statusview import show

        return show(plain.config, plain.names, plain.flag)
    if plain is not None and plain.command == "start":  # a fifth of what there is to import
        from hasup.cli.starting import start

        return start(plain.config, plain.names, plain.flag)
    from hasup.cli.group import invoke

    return invoke(argv)
