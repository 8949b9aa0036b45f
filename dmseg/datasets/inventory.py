"""What of a dataset is on the disk, without reading a pixel and without unpacking an archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmseg.datasets import archives, tree
from dmseg.datasets.readers import reader
from dmseg.datasets.sources import LeftOut
from dmseg.errors import DmsegError


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found of one dataset below a folder.

    Attributes:
        root: where its layout begins, or None.
        sources: number of usable sources (images, volumes, series).
        left_out: what is left out by its names alone.
        places: folders and archives with the dataset's name; where ``root`` is None they hold no known layout.
        archives: where ``root`` is None, the archives that a build would unpack into the cache; else those that stay
            unread, because the layout was found without them.
        error: why what is there cannot be listed, or None.
    """

    root: Path | None = None
    sources: int = 0
    left_out: Sequence[LeftOut] = ()
    places: Sequence[Path] = ()
    archives: Sequence[Path] = ()
    error: str | None = None


def survey(name: str, raw: Path) -> Survey:
    """Look for a dataset below ``raw``.

    Raises:
        UsageError: no such dataset.
    """
    known = reader(name)
    names = (known.recipe.id, *known.recipe.folders)
    places = tree.find_places(raw, names, archives.without_suffix)
    try:
        root = known.find(raw, unpack=False)
        if root is None:
            return Survey(places=places, archives=[file for place in places for file in archives.find_archives(place)])
        sources = known.sources(root)
        read = {root / source.files[0] for source in sources}
        unread = [file for place in places for file in archives.find_archives(place) if file not in read]
        return Survey(root, len(sources), known.problems(root), places, unread)
    except DmsegError as error:
        return Survey(places=places, error=str(error))
