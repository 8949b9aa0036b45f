"""One's own data: images with mask files, or NIfTI volumes with label volumes, found by the recipe's templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from dmseg.datasets import templates, tree
from dmseg.datasets.readers.pairs import PairReader
from dmseg.datasets.readers.volumes import NIFTI_SUFFIXES, SliceReader, percentiles, read_volume_pair
from dmseg.datasets.shapes import nearest_colour
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import apply_window, read_grey, read_image
from dmseg.types import Image, Sample, Structure

PICTURE_SUFFIXES = (*tree.IMAGE_SUFFIXES, ".dcm", ".dicom")


def pair_by_templates(reader: Reader, root: Path, suffixes: tuple[str, ...]) -> Scan:
    """Pair images with their masks by the templates ``image`` and ``mask`` of the recipe."""
    rules = reader.recipe.parameters
    files = tree.files_below(root, suffixes)
    masks: dict[tuple[str, str], list[Path]] = {}
    of_masks = templates.match_template(rules["mask"], root, files)
    for file, case, identity in of_masks:
        masks.setdefault((case.lower(), identity.lower()), []).append(file.relative_to(root))
    drawn = {file for file, _, _ in of_masks}
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    for file, case, identity in templates.match_template(
        rules["image"], root, (file for file in files if file not in drawn)
    ):
        name = file.relative_to(root)
        found = masks.pop((case.lower(), identity.lower()), None)
        if found is None:
            left_out.append(LeftOut(name.as_posix(), "mask missing"))
            continue
        source_id = clean_id(f"{case}_{identity}" if case else identity)
        sources.append(Source(source_id, clean_id(case or identity), (name, *found)))
    unused = [mask for group in masks.values() for mask in group]
    left_out += [LeftOut(mask.as_posix(), "mask without an image") for mask in unused]
    return Scan(sources, left_out)


class OwnImageReader(PairReader):
    """PNG, JPEG, TIFF or DICOM images; masks are files of one object each, or have the recipe's labels or colours.

    Images of more than 8 bits are windowed: by the recipe's window, else between percentiles of the image.
    """

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        return pair_by_templates(self, root, PICTURE_SUFFIXES)

    def image(self, path: Path) -> tuple[Image, tuple[float, float] | None]:
        """Return the 8-bit pixels and the (y, x) spacing in mm of an image file."""
        loaded = read_image(path)
        if loaded.pixels.dtype == np.uint8:
            return loaded.pixels, loaded.spacing
        low, high = self.recipe.parameters["percentiles"]
        window = self.recipe.windows.get(self.recipe.modality()) or percentiles(path, loaded.pixels, (low, high))
        return apply_window(loaded.pixels, window), loaded.spacing

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield one object per mask file, or one per label or colour that occurs in it."""
        rules = self.recipe.parameters
        if colours := rules.get("colours"):
            for file in source.files[1:]:
                yield from self._find_colours(root / file, colours)
        elif labels := rules.get("labels"):
            for file in source.files[1:]:
                values = read_grey(root / file)
                for name, value in labels.items():
                    yield Structure(name, values == value)
        else:
            yield from super().structures(root, source, pixels)

    def _find_colours(self, path: Path, colours: Mapping[str, Sequence[int]]) -> Iterator[Structure]:
        """Yield the area of each colour; a pixel of none of them (a soft edge) counts as the nearest that is of one."""
        rules = self.recipe.parameters
        palette = np.array([rules["background"], *colours.values()])
        drawing = np.asarray(read_image(path).pixels)
        if drawing.dtype != np.uint8:
            raise ImageFileError(f"{path}: pixels are {drawing.dtype.name}; expected an 8-bit drawing in colours")
        drawing = drawing if drawing.ndim == 3 else drawing[..., None].repeat(3, axis=2)
        index = nearest_colour(drawing, palette, rules["colour_within"], rules["colour_core"])
        for k, name in enumerate(colours, start=1):
            yield Structure(name, index == k)


class OwnVolumeReader(SliceReader):
    """NIfTI volumes and label volumes; every axial slice with an object."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        scan = pair_by_templates(self, root, NIFTI_SUFFIXES)
        several = [source for source in scan.sources if len(source.files) > 2]
        left_out = [LeftOut(source.files[0].as_posix(), "several label volumes; give one") for source in several]
        return Scan([source for source in scan.sources if source not in several], [*scan.left_out, *left_out])

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield every slice with an object, from feet to head."""
        pair = read_volume_pair(root, source)
        if isinstance(pair, LeftOut):
            yield pair
            return
        volume, labels = pair
        rules = self.recipe.parameters
        ranges = {name: np.array([value]) for name, value in rules["labels"].items()}
        annotated = np.flatnonzero(np.isin(labels, np.concatenate(list(ranges.values()))).any(axis=(1, 2)))
        if annotated.size == 0:
            yield LeftOut(source.files[0].as_posix(), "no object: no slice has one of the recipe's labels")
            return
        modality = self.recipe.modality()
        low, high = rules["percentiles"]
        window = self.recipe.windows.get(modality) or percentiles(root / source.files[0], volume.values, (low, high))
        yield from self.slices(
            source, volume, labels, map(int, annotated), window=window, modality=modality, ranges=ranges
        )
