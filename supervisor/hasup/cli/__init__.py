"""The command ``hasup``: one file a command, each imported when it is run."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from hasup.cli.errors import guarded


def main() -> NoReturn:
    """Run the command of this process."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command, and return its exit code."""
    return guarded(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str]) -> int:
    from hasup.cli import fast

    arguments = fast.parse_status(argv)
    if arguments is not None:  # scripts poll it: not even click is imported
        from hasup.cli.statusview import show

        return show(*arguments)
    from hasup.cli.group import invoke

    return invoke(argv)
