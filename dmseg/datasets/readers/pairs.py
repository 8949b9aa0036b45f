"""Datasets that are pairs of picture files: one image, one or several mask files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dmseg.datasets import tree
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import read_image, read_mask
from dmseg.types import Image, Mask, Sample, Structure


class PairReader(Reader):
    """Base of readers whose sources are (image file, mask files); a subclass lists them.

    A mask is the pixels above the recipe's ``mask_above`` (grey value, default 127: JPEG noise stays out).
    """

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one sample of the source."""
        image_file, *mask_files = source.files
        pixels, spacing = self.image(root / image_file)
        structures = (item for file in mask_files for item in self.structures(root / file, pixels))
        yield self.sample(source.id, source.case_id, pixels, structures, source=image_file.as_posix(), spacing=spacing)

    def image(self, path: Path) -> tuple[Image, tuple[float, float] | None]:
        """Return the 8-bit pixels and the spacing of an image file."""
        loaded = read_image(path)
        if loaded.pixels.dtype.name != "uint8":
            raise ImageFileError(f"{path}: pixels are {loaded.pixels.dtype.name}; expected an 8-bit picture")
        return loaded.pixels, loaded.spacing

    def structures(self, path: Path, pixels: Image) -> Iterator[Structure]:
        """Yield the objects of one mask file; here it is one object with the recipe's first structure name."""
        yield Structure(self.recipe.structures[0], self.mask(path))

    def mask(self, path: Path) -> Mask:
        """Return one mask file as bool (H, W)."""
        return read_mask(path, threshold=self.recipe.parameters.get("mask_above", 127))


def match(root: Path, images: Iterable[Path], masks: dict[str, Path]) -> Scan:
    """Pair images with masks by lower-case stem; each image is its own case."""
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    unused = dict(masks)
    for image in images:
        name = image.relative_to(root)
        mask = unused.pop(image.stem.lower(), None)
        if mask is None:
            left_out.append(LeftOut(name.as_posix(), "mask missing"))
        else:
            identity = clean_id(image.stem)
            sources.append(Source(identity, identity, (name, mask.relative_to(root))))
    left_out += [LeftOut(mask.relative_to(root).as_posix(), "mask without an image") for mask in unused.values()]
    return Scan(sources, left_out)


class KvasirReader(PairReader):
    """Kvasir-SEG: ``images/<id>.jpg`` and ``masks/<id>.jpg`` with the same stem; JPEG masks with noisy greys."""

    def is_root(self, folder: Path) -> bool:
        return tree.child(folder, "images") is not None and tree.child(folder, "masks") is not None

    def scan(self, root: Path) -> Scan:
        images, masks = tree.child(root, "images"), tree.child(root, "masks")
        if images is None or masks is None:
            return Scan([])
        return match(root, tree.files(images), tree.by_stem(tree.files(masks)))
