"""The layouts that have a name (layouts.toml), and the choice between them and a guess: what pairs most images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmseg.datasets.mask_rules import find_mask_names
from dmseg.datasets.own.paths import Paths, guess_paths
from dmseg.datasets.readers.own.pairing import pair_named
from dmseg.datasets.templates import fields_of, match_template
from dmseg.errors import DmsegError
from dmseg.tables import read_packaged_table

_LAYOUTS: Sequence[Mapping[str, Any]] = read_packaged_table("dmseg.datasets.own", "layouts.toml")["layout"]


def choose_paths(folder: Path, files: Sequence[Path], *, volumes: bool) -> Paths | None:
    """Return the templates that pair most images and leave fewest masks over; named layouts win against a guess.

    Args:
        folder: the data.
        files: images, or volumes, below it.
        volumes: which of the two.
    """
    best: tuple[int, int] = (0, 0)
    chosen: Paths | None = None
    masks = find_mask_names(files)
    guessed = guess_paths(folder, files)
    for paths in [*_find_named(folder, files, volumes), *([guessed] if guessed else [])]:
        rules = {"image": list(paths.image), "mask": list(paths.mask)}
        try:
            paired, _ = pair_named(rules, folder, files)
        except DmsegError:
            continue
        used = {folder / mask for pair in paired for mask in pair.masks}
        if (score := (len(paired), -len(masks - used))) > best and paired:
            best, chosen = score, paths
    return chosen or guessed


def _find_named(folder: Path, files: Sequence[Path], volumes: bool) -> Iterator[Paths]:
    """Yield the named layouts, below each folder in which they can begin."""
    parents = {file.relative_to(folder).parent.parts for file in files}
    for layout in _LAYOUTS:
        if layout.get("volumes", False) != volumes:
            continue
        for prefix in _prefixes(layout["image"][0], parents):
            paths = Paths(
                layout["name"],
                tuple(prefix + image for image in layout["image"]),
                tuple(prefix + mask for mask in layout["mask"]),
                prefix + layout["objects"] if "objects" in layout else "",
            )
            if _is_of(layout, paths, folder, files):
                yield paths


def _prefixes(template: str, parents: set[tuple[str, ...]]) -> set[str]:
    """Return the folders in which a layout can begin: where its first folder is, else the one that all files share."""
    first = template.split("/")[0]
    if "/" in template and not fields_of(first):
        return {
            "".join(f"{part}/" for part in parts[:k])
            for parts in parents
            for k, part in enumerate(parts)
            if part.lower() == first.lower()
        }
    shared = [level[0] for level in zip(*parents, strict=False) if len(set(level)) == 1]
    depth = template.count("/")
    shortest = min(len(parts) for parts in parents)
    return {"".join(f"{part}/" for part in shared[:k]) for k in range(max(0, shortest - depth - 1), len(shared) + 1)}


def _is_of(layout: Mapping[str, Any], paths: Paths, folder: Path, files: Sequence[Path]) -> bool:
    """Return whether the readers that a layout finds are those that it knows."""
    known = {name.lower() for name in layout.get("readers", ())}
    return not known or all(match.reader.lower() in known for match in match_template(paths.mask, folder, files))
