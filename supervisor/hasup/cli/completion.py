"""``hasup completion``."""

import sys

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    r"""Print the completion script for a shell.

    \b
    bash: hasup completion bash > ~/.local/share/bash-completion/completions/hasup
    zsh:  hasup completion zsh > "${fpath[1]}/_hasup"
    fish: hasup completion fish > ~/.config/fish/completions/hasup.fish
    """
    from hasup.cli.group import COMPLETE, root

    completion = get_completion_class(shell)
    assert completion is not None
    sys.stdout.write(completion(root, {}, "hasup", COMPLETE).source() + "\n")
    return 0
