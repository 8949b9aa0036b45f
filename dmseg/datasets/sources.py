"""What a reader is: it finds a dataset on disk, lists its sources and reads one source at a time.

A *source* is the unit of reading: one image with its masks, one volume or one series. Listing is cheap (names, no
pixels); reading yields one :class:`~dmseg.types.Sample` per image and keeps at most one image or volume in memory.
Whatever cannot be used is a :class:`LeftOut` with a reason, never silence.
"""

from __future__ import annotations

import abc
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmseg.datasets import archives, tree
from dmseg.datasets.recipes import Recipe
from dmseg.errors import DataError
from dmseg.imaging import grey_if_colourless
from dmseg.types import Image, Sample, Structure, Window

_FORBIDDEN = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Source:
    """One unit of reading.

    Attributes:
        id: stable id inside the dataset, of ``[A-Za-z0-9._-]``; a volume's slices append ``_z012`` to it.
        case_id: patient or case inside the dataset.
        files: paths relative to the dataset's root; the image (or volume) first, then its masks.
        detail: what else the reader needs to read it, as it wrote it itself (a modality, an archive member, a row).
    """

    id: str
    case_id: str
    files: tuple[Path, ...]
    detail: str = ""


LEFT_OUT, NOTE = "left_out", "note"
"""Kinds of :class:`LeftOut`: an image that is not used, or something about one that is used."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A source, or a slice or file of one, that the benchmark cannot use, and why; a ``note`` leaves no image out."""

    source: str
    reason: str
    kind: str = LEFT_OUT


@dataclass(frozen=True, slots=True)
class Scan:
    """What listing a dataset's folder gave: usable sources and what is left out already by its names."""

    sources: Sequence[Source]
    left_out: Sequence[LeftOut] = ()


def clean_id(text: str) -> str:
    """Return ``text`` as an id: composed Unicode, then every character outside ``[A-Za-z0-9._-]`` becomes ``-``.

    >>> clean_id("benign (12)")
    'benign--12-'
    """
    return _FORBIDDEN.sub("-", unicodedata.normalize("NFC", text))


class Reader(abc.ABC):
    """Reads the original layout of one dataset. It holds the recipe and no other state, so it can be pickled."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @abc.abstractmethod
    def is_root(self, folder: Path) -> bool:
        """Return whether ``folder`` directly holds the layout's landmarks (folder or file names)."""

    @abc.abstractmethod
    def scan(self, root: Path) -> Scan:
        """List the sources below a root and what cannot be used, by names alone, in any order."""

    @abc.abstractmethod
    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the source's samples, one image in memory at a time.

        Raises:
            ImageFileError: a file is missing, truncated or not what its name says; other sources are unaffected.
        """

    def find(self, raw: Path, *, unpack: bool = True) -> Path | None:
        """Return the dataset's root below ``raw``, wherever it was unpacked there, or None.

        The dataset's folder is a child of ``raw`` (or ``raw`` itself) with the dataset's name or one of the recipe's
        other names; the layout may begin in it or some folders deeper. Where there are only archives, they are
        unpacked into the cache, and the root is there.

        Args:
            raw: folder with the downloads.
            unpack: False leaves archives alone: a dataset that is only there packed is then not found.

        Raises:
            DataError: an archive that cannot or must not be unpacked.
        """
        names = (self.recipe.id, *self.recipe.folders)
        places = tree.find_places(raw, names, archives.without_suffix)
        for start in filter(Path.is_dir, places):
            if root := self._below(start):
                return root
        for place in places:
            if unpack and archives.find_archives(place) and (root := self._below(archives.mirror(place))):
                return root
        return None

    def _below(self, start: Path) -> Path | None:
        return next((folder for folder in tree.folders_below(start) if self.is_root(folder)), None)

    def sources(self, root: Path) -> list[Source]:
        """Return the usable sources, sorted by id.

        Raises:
            DataError: two sources have the same id; the message names both.
        """
        found = sorted(self.scan(root).sources, key=lambda source: source.id)
        for first, second in itertools.pairwise(found):
            if first.id == second.id:
                raise DataError(
                    f'{root}: two sources of {self.recipe.id} share the id "{first.id}": {first.files[0]} and '
                    f"{second.files[0]}; remove or rename one of them"
                )
        return found

    def problems(self, root: Path) -> list[LeftOut]:
        """Return what is left out already by its names (an image without a mask), sorted."""
        return sorted(self.scan(root).left_out, key=lambda item: (item.source, item.reason))

    def sample(
        self,
        source_id: str,
        case_id: str,
        image: Image,
        structures: Iterable[Structure],
        *,
        source: str,
        modality: str | None = None,
        spacing: tuple[float, float] | None = None,
        window: Window | None = None,
    ) -> Sample | LeftOut:
        """Return the sample of an 8-bit image, or why it is left out: a mask of another size, or no object at all.

        RGB files without colour become grey: a grey image in three channels would later get coloured noise.
        """
        kept = []
        for structure in structures:
            if structure.mask.shape != image.shape[:2]:
                return LeftOut(source, f"{structure.name}: mask is {_size(structure.mask)}, image is {_size(image)}")
            if structure.mask.any():
                kept.append(structure)
        if not kept:
            return LeftOut(source, "no object: every mask is empty")
        return Sample(
            source_id=source_id,
            case_id=case_id,
            modality=self.recipe.modality(modality),
            image=np.ascontiguousarray(grey_if_colourless(image)),
            structures=tuple(kept),
            spacing=spacing,
            source=source,
            window=window,
        )


def _size(array: Image) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
