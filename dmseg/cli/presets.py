"""``dmseg presets``: the ways to prompt a model."""

from __future__ import annotations

import click


@click.command("presets")
def command() -> int:
    """List the prompt presets: steps, what they are, and what a model must take.

    \b
    Example:
      dmseg presets
    """
    from dmseg import protocol

    click.echo(f"{'preset':<13}{'steps':>5}  {'later clicks':<13}prompts")
    for preset in protocol.PRESETS.values():
        click.echo(f"{preset.id:<13}{preset.steps:>5}  {preset.corrective or '-':<13}{preset.title}")
        click.echo(f"{'':<33}needs {', '.join(sorted(preset.capabilities))}; version {preset.version}")
    click.echo(f"rules {protocol.PROTOCOL_ID}; --corrective takes {', '.join(protocol.CORRECTIVE_RULES)}")
    click.echo("next: dmseg evaluate --model watershed --preset box")
    return 0
