"""``dmseg models``: what can be evaluated, and what is known about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmseg.errors import unknown_name

if TYPE_CHECKING:
    from dmseg.baselines import ModelCard


@click.command("models")
@click.argument("name", required=False)
def command(name: str | None) -> int:
    """List the models that can be evaluated, or show all that is known about one.

    \b
    Examples:
      dmseg models
      dmseg models watershed
    """
    from dmseg import baselines

    if name is None:
        _list()
        return 0
    cards = baselines.model_cards()
    if name not in baselines.model_names():
        raise unknown_name("model", name, baselines.model_names())
    if name not in cards:
        click.echo(f"{name}: registered by another package (entry point dmseg.models); it has no card")
        return 0
    _show(name, cards[name])
    return 0


def _list() -> None:
    from dmseg import baselines

    cards = baselines.model_cards()
    for name in baselines.model_names():
        card = cards.get(name)
        kind = card.kind if card else "registered"
        missing = baselines.missing_packages(card) if card else ()
        note = f"  [needs {', '.join(missing)}: not installed]" if missing else ""
        click.echo(f"{name:<18}{kind:<11}{card.summary if card else ''}{note}")
    click.echo("your own: --model pkg.mod:Class or file.py:Class, also with a plain function; see docs/models.md")
    click.echo("next: dmseg models NAME; dmseg evaluate --model NAME --out RUN")


def _show(name: str, card: ModelCard) -> None:
    from dmseg import baselines

    missing = baselines.missing_packages(card)
    facts = {
        "kind": card.kind,
        "summary": card.summary,
        "takes": ", ".join(card.capabilities),
        "parameters": card.params,
        "input size": card.input_size or "native",
        "paper": card.paper,
        "paper url": card.paper_url,
        "code": card.code_url,
        "licence": card.license,
        "trained on": ", ".join(card.trained_on) or None,
        "arguments": ", ".join(f"{key}={value}" for key, value in card.arguments.items()) or None,
        "prompts": card.prompts_note,
        "weights": f"{card.checkpoint.file} from {card.checkpoint.source}" if card.checkpoint else None,
        "needs": ", ".join(card.needs) or None,
        "missing here": f'{", ".join(missing)}; pip install "dmseg-bench[{card.extra}]"' if missing else None,
    }
    click.echo(name)
    for key, value in facts.items():
        if value is not None:
            click.echo(f"  {key:<13}{value}")
