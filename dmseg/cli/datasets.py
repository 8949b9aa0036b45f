"""``dmseg datasets``: what is expected where, licence, link, and what was found."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FOLDER
from dmseg.types import MEDICAL

if TYPE_CHECKING:
    from dmseg.datasets import Recipe

_WIDTH = 110


@click.command(
    epilog="""\b
Examples:
  dmseg datasets                       all datasets: modality, role, images, where to get them
  dmseg datasets --raw downloads       the same, with what is found in a folder
  dmseg datasets BUSI                  one card: licence, how to get it, expected tree, rules, citation
  dmseg datasets --download ISIC CHAOS --raw downloads --accept-licence
"""
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--raw", type=FOLDER, default=None, help="Folder with the downloads, one folder per dataset.")
@click.option(
    "--download", "fetch", is_flag=True, help="Fetch the named datasets into --raw, where a direct link is public."
)
@click.option("--accept-licence", is_flag=True, help="You have read the licences of the datasets and agree to them.")
def command(names: tuple[str, ...], raw: Path | None, fetch: bool, accept_licence: bool) -> int:
    """List the datasets, show the cards of some (source, licence, tree, rules, what was found), or fetch them.

    A download that was cut goes on when the same command is run again.

    \b
    Examples:
      dmseg datasets
      dmseg datasets BUSI CHAOS --raw raw
    """
    from dmseg import datasets
    from dmseg.errors import DataError

    if fetch:
        return _fetch(names, raw, accept_licence)
    if raw is not None and not raw.is_dir():
        raise DataError(f"{raw}: no such folder; give the one that holds your downloads, one folder per dataset")
    if names:
        click.echo("\n\n".join("\n".join(_card(datasets.recipe(name), raw)) for name in names))
        return 0
    head = ("dataset", "modality", "role", "images", "found" if raw else "where to get it")
    click.echo(_table([head, *(_row(datasets.recipe(each), raw) for each in datasets.RECIPES)]))
    for track, others in datasets.PHOTO_RECIPES.items():
        click.echo(f"\nThe track {track} (dmseg build --track {track}):")
        click.echo(_table([head, *(_row(datasets.recipe(each), raw) for each in others)]))
    click.echo("\nimages: as in the paper; of photographs, of the whole download.")
    click.echo("Licence, expected folders, rules and citation: dmseg datasets NAME")
    click.echo(f"Next: dmseg build --raw {raw} --out BENCH" if raw else "What you have: dmseg datasets --raw DIR")
    return 0


def _fetch(names: Sequence[str], raw: Path | None, accepted: bool) -> int:
    """Fetch datasets, or say how to get those without a direct link; the exit code is 1 if there is one of these."""
    from dmseg import datasets
    from dmseg.datasets import downloading
    from dmseg.errors import UsageError

    known = downloading.read_downloads()
    if not names or raw is None:
        raise UsageError(f"--download: name datasets and give --raw DIR; with a direct link: {', '.join(known)}")
    linked, others = downloading.find_links(names, known)
    for name in linked:
        click.echo(f"{name}: licence: {datasets.recipe(name).licence} ({datasets.recipe(name).url})")
    if linked and not accepted:
        raise UsageError("read the licences above, and add --accept-licence if you agree to them; nothing was fetched")
    for name in linked:
        for path in downloading.download(name, raw, known[name]):
            click.echo(f"{path}: {path.stat().st_size:,} bytes")
    for name in others:
        click.echo(f"{name}: no public direct link. {datasets.recipe(name).how_to_get} {datasets.recipe(name).url}")
    return 1 if others else 0


def _row(recipe: Recipe, raw: Path | None) -> tuple[str, ...]:
    last = _describe_found(recipe, raw)[0] if raw else recipe.url
    return recipe.id, "+".join(recipe.modalities), _role(recipe), f"{recipe.expected_images:,}", last


def _role(recipe: Recipe) -> str:
    if recipe.role == "unseen":
        return "unseen"
    if recipe.parts:
        return "/".join(dict.fromkeys(recipe.parts.values()))
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
    counted = "in the paper" if recipe.track == MEDICAL else "in the whole download"
    facts = {
        "track": "" if recipe.track == MEDICAL else recipe.track,
        "modality": ", ".join(recipe.modalities),
        "anatomy": recipe.anatomy,
        "role": f"{_role(recipe)}; {recipe.expected_images:,} images {counted}",
        "objects": recipe.target_rule,
        "names": ", ".join(recipe.structures) or "from the dataset's own list of categories",
        "cases": recipe.case_rule,
        "slices": recipe.slice_rule,
        "evaluated": f"at most {recipe.evaluate_at_most} objects per image" if recipe.evaluate_at_most else "",
        "splits": "; ".join(f"{part.rstrip('.')}: {split}" for part, split in recipe.parts.items()),
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
