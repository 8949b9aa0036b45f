"""One's own images with mask files: PNG, JPEG, TIFF, DICOM and what else is an image, paired by the recipe's paths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets import templates, tree
from dmseg.datasets.ids import transliterate
from dmseg.datasets.readers.own.greys import choose_window
from dmseg.datasets.readers.own.objects import kind_of_masks, split_by_objects, split_colours, split_values
from dmseg.datasets.readers.own.pairing import pair_files
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import (
    EXTENSIONS,
    apply_window,
    extension,
    image_orientation,
    kind_of,
    orient,
    read_image,
    read_mask_values,
)
from dmseg.imaging.formats import DICOM, VOLUMES
from dmseg.types import Image, Sample, Structure, Window

IMAGE_SUFFIXES = tuple(
    dict.fromkeys((*tree.IMAGE_SUFFIXES, *(end for end, kind in EXTENSIONS.items() if kind not in VOLUMES)))
)


def find_images(folder: Path) -> list[Path]:
    """Return the image files below a folder: by their suffix, and DICOM files that have none or a number."""
    return [
        file
        for file in tree.files_below(folder, ("",))
        if file.name.lower().endswith(IMAGE_SUFFIXES) or (extension(file) not in EXTENSIONS and _is_dicom(file))
    ]


def _is_dicom(file: Path) -> bool:
    if file.suffix and not file.suffix[1:].isdecimal():
        return False
    try:
        return kind_of(file) == DICOM
    except ImageFileError:
        return False


class OwnImageReader(Reader):
    """Images and masks in files of their own; each image is a source.

    Images of more than 8 bits are windowed: by the recipe's window, else between percentiles of the image.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        return pair_files(self, root, find_images(root))

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield notes on the masks, then the one sample of the source."""
        file = source.files[0]
        pixels, spacing, window = read_own_image(self, root / file)
        structures: list[Structure] = []
        for mask, name in zip(source.files[1:], json.loads(source.detail), strict=True):
            turn = mask_turn(self.recipe.parameters, root / file, root / mask, pixels)
            if isinstance(turn, LeftOut):
                yield turn
                return
            for item in self._objects(root, source, mask, name, turn):
                if isinstance(item, LeftOut):
                    yield item
                else:
                    structures.append(item)
        yield self.sample(
            source.id, source.case_id, pixels, structures, source=file.as_posix(), spacing=spacing, window=window
        )

    def _objects(
        self, root: Path, source: Source, mask: Path, structure: str, turn: int
    ) -> Iterator[Structure | LeftOut]:
        """Yield the objects of one mask file, turned as its image is."""
        rules, where = self.recipe.parameters, mask.as_posix()
        name = name_of_structure(structure) or self.recipe.structures[0]
        if kind_of_masks(rules) == "colours":
            found = split_colours(orient(_read_drawing(root / mask), turn), rules, where)
        else:
            found = split_values(orient(read_mask_values(root / mask), turn), rules, name, where)
        if "objects" in rules:
            found = split_by_objects(found, orient(self._ids(root, mask), turn))
        yield from found

    def _ids(self, root: Path, mask: Path) -> NDArray[Any]:
        """Return (H, W) numbers that tell objects apart, from the file that ``objects`` names beside a mask."""
        rules = self.recipe.parameters
        of_mask = templates.match_template(rules["mask"], root, [root / mask])[0]
        files = tree.files_below(root, IMAGE_SUFFIXES)
        same = [
            match.file for match in templates.match_template(rules["objects"], root, files) if match.id == of_mask.id
        ]
        if not same:
            raise ImageFileError(f"{root / mask}: no file of objects beside it (objects = {rules['objects']!r})")
        drawing = _read_drawing(same[0])
        colours = drawing if drawing.ndim == 3 else drawing[..., None].repeat(3, axis=2)
        numbers: NDArray[Any] = colours.astype(np.int64) @ np.array([65536, 256, 1])
        return numbers


def read_own_image(reader: Reader, path: Path) -> tuple[Image, tuple[float, float] | None, Window | None]:
    """Return the 8-bit pixels of an image file, its (y, x) spacing in mm, and the window, if it needed one."""
    loaded = read_image(path)
    if loaded.pixels.dtype == np.uint8:
        return loaded.pixels, loaded.spacing, None
    values, window = choose_window(reader.recipe, path, loaded.pixels)
    return apply_window(values, window), loaded.spacing, window


def name_of_structure(text: str) -> str:
    """Return the name of a structure for mask ids, from a folder or file name; empty for an empty text."""
    return transliterate(text.strip().lower().replace(" ", "_")).strip("-")


def mask_turn(rules: Any, image: Path, mask: Path, pixels: Image) -> int | LeftOut:
    """Return the EXIF orientation by which a mask must be turned to lie on its upright image: 1 where it lies already.

    Image files may say that they are to be turned. A mask file seldom does, and may be drawn on either grid. Where the
    sizes do not tell which, the recipe's ``mask_orientation`` must: ``"stored"`` or ``"upright"``.
    """
    given = rules.get("mask_orientation", "")
    if given not in ("", "stored", "upright"):
        raise DataError(f'mask_orientation = "{given}": give "stored" or "upright"')
    orientation = image_orientation(image)
    if orientation == 1 or given == "upright" or image_orientation(mask) != 1:
        return 1
    if given == "stored":
        return orientation
    height, width = pixels.shape[:2]
    if orientation > 4 and height != width:
        return orientation if read_mask_values(mask).shape == (width, height) else 1
    return LeftOut(
        image.name,
        f"turned by its EXIF orientation ({orientation}), and nothing says whether its mask is; "
        'set mask_orientation = "stored" or "upright" in the recipe',
    )


def _read_drawing(path: Path) -> NDArray[np.uint8]:
    drawing = np.asarray(read_image(path).pixels)
    if drawing.dtype != np.uint8:
        raise ImageFileError(f"{path}: pixels are {drawing.dtype.name}; expected an 8-bit drawing in colours")
    return drawing
