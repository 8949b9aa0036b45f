"""``dmseg datasets``: what is expected where, licence, link, and what was found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FOLDER

if TYPE_CHECKING:
    from dmseg.datasets import Recipe

_WIDTH = 110


@click.command(
    epilog="""\b
Examples:
  dmseg datasets                       all datasets: modality, role, images, where to get them
  dmseg datasets --raw downloads       the same, with what is found in a folder
  dmseg datasets BUSI                  one card: licence, how to get it, expected tree, rules, citation
"""
)
@click.argument("name", required=False)
@click.option("--raw", type=FOLDER, default=None, help="Folder with the downloads, one folder per dataset.")
def command(name: str | None, raw: Path | None) -> None:
    """List the datasets, or show the card of one: source, licence, expected tree, rules, what was found."""
    from dmseg import datasets
    from dmseg.errors import DataError

    if raw is not None and not raw.is_dir():
        raise DataError(f"{raw}: no such folder; give the one that holds your downloads, one folder per dataset")
    if name is not None:
        click.echo("\n".join(_card(datasets.recipe(name), raw)))
        return
    rows = [_row(datasets.recipe(each), raw) for each in datasets.RECIPES]
    click.echo(_table([("dataset", "modality", "role", "images", "found" if raw else "where to get it"), *rows]))
    click.echo("\nimages: as in the paper. Licence, expected folders, rules and citation: dmseg datasets NAME")
    click.echo(f"Next: dmseg build --raw {raw} --out BENCH" if raw else "What you have: dmseg datasets --raw DIR")


def _row(recipe: Recipe, raw: Path | None) -> tuple[str, ...]:
    last = _describe_found(recipe, raw)[0] if raw else recipe.url
    return recipe.id, "+".join(recipe.modalities), _role(recipe), f"{recipe.expected_images:,}", last


def _role(recipe: Recipe) -> str:
    if recipe.role == "unseen":
        return "unseen"
    return "seen: train, validation" if recipe.validation else "seen: train"


def _describe_found(recipe: Recipe, raw: Path) -> list[str]:
    """Return what was found, the short line first, then what is left out and why."""
    from dmseg.datasets import survey

    found = survey(recipe.id, raw)
    if found.error:
        return [f"unusable: {found.error}"]
    if found.root is not None:
        left_out = f", {len(found.left_out):,} left out" if found.left_out else ""
        lines = [f"left out: {item.source}: {item.reason}" for item in found.left_out]
        lines += [f"not read, unpack it if it holds more: {file}" for file in found.archives]
        packed = f", {len(found.archives)} archives not read" if found.archives else ""
        return [f"{found.sources:,} {recipe.unit}{left_out}{packed} in {found.root}", *lines]
    if found.archives:
        return [f"packed: {', '.join(file.name for file in found.archives)} (unpacked into the cache by a build)"]
    if found.places:
        return [f"{found.places[0]} does not hold the expected tree; see dmseg datasets {recipe.id}"]
    return ["-"]


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    head, *body = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    )
    return "\n".join([head, "-" * len(head), *body])


def _card(recipe: Recipe, raw: Path | None) -> Iterator[str]:
    """Yield the lines of a dataset's card."""
    yield f"{recipe.id}: {recipe.title}"
    facts = {
        "modality": ", ".join(recipe.modalities),
        "anatomy": recipe.anatomy,
        "role": f"{_role(recipe)}; {recipe.expected_images:,} images in the paper",
        "objects": recipe.target_rule,
        "names": ", ".join(recipe.structures) or "from the dataset's own list of categories",
        "cases": recipe.case_rule,
        "slices": recipe.slice_rule,
        "evaluated": f"at most {recipe.evaluate_at_most} objects per image" if recipe.evaluate_at_most else "",
        "LQ-3+": "; ".join(f"{modality}: {', '.join(names)}" for modality, names in recipe.domain.items()),
        "licence": f"{recipe.licence}. Masks may {'' if recipe.share_masks else 'not '}be in a shared manifest.",
        "link": recipe.url,
        "get it": recipe.how_to_get,
        "assumed": " ".join(recipe.assumed),
    }
    for label, text in facts.items():
        if text:
            indent = " " * 12
            yield textwrap.fill(text, _WIDTH, initial_indent=f"  {label:10}", subsequent_indent=indent)
    yield "\nExpected below RAW (any letter case, nested once or twice, or packed):"
    yield textwrap.indent(recipe.tree.strip("\n"), "  ")
    yield "\nCite:"
    yield textwrap.indent(recipe.citation.strip("\n"), "  ")
    if raw is not None:
        yield "\nFound:"
        yield textwrap.indent("\n".join(_describe_found(recipe, raw)), "  ")
