"""``dmseg completion``: what a shell runs to complete commands, options, models, presets, levels and modalities."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_FILES = {
    "bash": 'eval "$(dmseg completion bash)"    # at the end of ~/.bashrc',
    "zsh": 'eval "$(dmseg completion zsh)"    # at the end of ~/.zshrc',
    "fish": "dmseg completion fish > ~/.config/fish/completions/dmseg.fish",
}
VARIABLE = "_DMSEG_COMPLETE"
"""What click looks for in the environment, from the command's name."""


@click.command("completion")
@click.argument("shell", type=click.Choice(tuple(_FILES)))
def command(shell: str) -> int:
    """Print the script by which a shell completes dmseg's commands, options and names.

    \b
    Examples:
      eval "$(dmseg completion bash)"
      dmseg completion fish > ~/.config/fish/completions/dmseg.fish
    """
    from dmseg.cli import group

    known = get_completion_class(shell)
    assert known is not None
    click.echo(known(group, {}, "dmseg", VARIABLE).source())
    click.echo(f"next: {_FILES[shell]}", err=True)
    return 0
