"""``dmseg models``: what can be evaluated, and what is known about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dmseg.cli.options import complete_models
from dmseg.errors import unknown_name

if TYPE_CHECKING:
    from dmseg.baselines import ModelCard


@click.command("models")
@click.argument("name", required=False, shell_complete=complete_models)
@click.option("--flops", is_flag=True, help="Parameters and operations of the networks, counted without running them.")
def command(name: str | None, flops: bool) -> int:
    """List the models that can be evaluated, or show all that is known about one.

    \b
    Examples:
      dmseg models
      dmseg models watershed
      dmseg models --flops
    """
    from dmseg import baselines

    if name is not None and name.rstrip("+") in baselines.restorer_cards():
        _show_restorer(name.rstrip("+"))
        return 0
    if name is not None and name not in baselines.model_names():
        raise unknown_name("model", name, baselines.model_names())
    if flops:
        _flops(name)
        return 0
    if name is None:
        _list()
        return 0
    cards = baselines.model_cards()
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
        missing = baselines.find_missing_packages(card) if card else ()
        note = f"  [needs {', '.join(missing)}: not installed]" if missing else ""
        click.echo(f"{name:<18}{kind:<13}{card.summary if card else ''}{note}")
    for name, restorer in baselines.restorer_cards().items():
        click.echo(f"{name + '+':<18}{'restorer':<13}{restorer.summary}")
    click.echo("a restorer stands before any model: moce-ir+mobile-sam, dcpt+file.py:Class; see docs/natural.md")
    click.echo("your own: --model pkg.mod:Class or file.py:Class, also with a plain function; see docs/models.md")
    click.echo("next: dmseg models NAME; dmseg evaluate --model NAME --out RUN")


def _show(name: str, card: ModelCard) -> None:
    from dmseg import baselines

    missing = baselines.find_missing_packages(card)
    facts = {
        "kind": card.kind,
        "summary": card.summary,
        "takes": ", ".join(card.capabilities),
        "parameters": card.params if card.added_params is None else f"{card.params} ({card.added_params} added)",
        "stands on": " or ".join(card.bases) or None,
        "input size": card.input_size or "native",
        "paper": card.paper,
        "paper url": card.paper_url,
        "code": card.code_url,
        "licence": card.license,
        "trained on": ", ".join(card.trained_on) or None,
        "known from": card.trained_on_note,
        "trained prompts": ", ".join(card.trained_prompts) or None,
        "arguments": ", ".join(f"{key}={value}" for key, value in card.arguments.items()) or None,
        "prompts": card.prompts_note,
        "weights": _weights(card),
        "needs": ", ".join(card.needs) or None,
        "missing here": f'{", ".join(missing)}; pip install "dmseg-bench[{card.extra}]"' if missing else None,
    }
    click.echo(name)
    for key, value in facts.items():
        if value is not None:
            click.echo(f"  {key:<13}{value}")


def _show_restorer(name: str) -> None:
    from dmseg import baselines

    card = baselines.restorer_cards()[name]
    arguments = (f"{baselines.RESTORER_PREFIX}{key}={value}" for key, value in card.arguments.items())
    source = card.checkpoint and f"{card.checkpoint.file} from {card.checkpoint.source}"
    facts = {
        "kind": f"restorer: {name}+MODEL",
        "summary": card.summary,
        "parameters": card.params,
        "paper": card.paper,
        "paper url": card.paper_url,
        "code": card.code_url,
        "licence": card.license,
        "trained on": card.trained_on_note,
        "arguments": ", ".join(arguments) or None,
        "weights": source,
    }
    click.echo(name)
    for key, value in facts.items():
        if value is not None:
            click.echo(f"  {key:<13}{value}")


def _weights(card: ModelCard) -> str | None:
    """Say in a few words where the weights of a network come from."""
    if card.checkpoint is not None:
        return f"{card.checkpoint.file} from {card.checkpoint.source}"
    if card.shipped is not None:
        return f"{card.shipped}, in this package"
    return "none published: dmseg train, then --weights FILE" if card.kind == "network" else None


def _flops(name: str | None) -> None:
    """Print what one network, or each, costs for one image and one click."""
    from dmseg import baselines
    from dmseg.progress import progress

    cards = baselines.model_cards()
    every = [one for one, card in cards.items() if card.kind == "network"]
    # Without any of the packages, the first network says what to install.
    networks = (
        [name] if name else [one for one in every if not baselines.find_missing_packages(cards[one])] or every[:1]
    )
    costs = {one: baselines.cost_of(one) for one in progress(networks, len(networks), "counting", "networks")}
    click.echo("one image, one click: encoder, prompt encoder, decoder")
    click.echo(f"{'':<20}{'parameters (M)':>15}{'GFLOPs as listed':>18}{'GFLOPs true':>13}")
    for one, cost in costs.items():
        click.echo(f"{one:<20}{cost.parameters / 1e6:>15.2f}{cost.listed / 1e9:>18.2f}{cost.true / 1e9:>13.2f}")
    click.echo("as listed in papers: thop's multiply-accumulates x 2, blind to products inside of attention")
