"""Pairs of image files, one image with one or several mask files: the base, and the plain datasets of that kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dmseg.datasets import tree
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import read_image, read_mask
from dmseg.types import Image, Mask, Sample, Structure


class PairReader(Reader):
    """Base of readers whose sources are (image file, mask files); a subclass lists them.

    A mask is the pixels above the recipe's ``mask_above``: 127 keeps the noise of JPEG masks out, 0 takes masks of any
    non-zero label.
    """

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one sample of the source."""
        image_file = source.files[0]
        pixels, spacing = self.image(root / image_file)
        yield self.sample(
            source.id,
            source.case_id,
            pixels,
            self.structures(root, source, pixels),
            source=image_file.as_posix(),
            spacing=spacing,
        )

    def image(self, path: Path) -> tuple[Image, tuple[float, float] | None]:
        """Return the 8-bit pixels and the (y, x) spacing in mm of an image file."""
        loaded = read_image(path)
        if loaded.pixels.dtype.name != "uint8":
            raise ImageFileError(f"{path}: pixels are {loaded.pixels.dtype.name}; expected an 8-bit image")
        return loaded.pixels, loaded.spacing

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield the objects of a source; here one per mask file, with the recipe's first structure name."""
        for file in source.files[1:]:
            yield Structure(self.recipe.structures[0], self.mask(root / file))

    def mask(self, path: Path) -> Mask:
        """Return one mask file as bool (H, W)."""
        return read_mask(path, threshold=self.recipe.parameters["mask_above"])


def pair_by_stem(
    root: Path, images: Iterable[Path], masks: Mapping[str, Path], cases: Mapping[str, str] | None = None
) -> Scan:
    """Pair images with masks by lower-case stem.

    Args:
        root: what the paths of the sources are relative to.
        images: image files.
        masks: lower-case stem of the image -> its mask file.
        cases: stem of the image -> case; without it each image is its own case.
    """
    sources: list[Source] = []
    left_out: list[LeftOut] = []
    unused = dict(masks)
    for image in images:
        name = image.relative_to(root)
        mask = masks.get(image.stem.lower())
        unused.pop(image.stem.lower(), None)
        if mask is None:
            left_out.append(LeftOut(name.as_posix(), "mask missing"))
            continue
        identity = clean_id(image.stem)
        case = clean_id(cases[image.stem]) if cases else identity
        sources.append(Source(identity, case, (name, mask.relative_to(root))))
    left_out += [LeftOut(mask.relative_to(root).as_posix(), "mask without an image") for mask in unused.values()]
    return Scan(sources, left_out)


def without_suffix(paths: Iterable[Path], suffix: str) -> dict[str, Path]:
    """Return lower-case stem without ``suffix`` -> path, for the files whose stem ends with it."""
    return {path.stem.lower().removesuffix(suffix): path for path in paths if path.stem.lower().endswith(suffix)}


class FolderPairReader(PairReader):
    """An image folder and a mask folder side by side, files with equal stems."""

    image_folders: tuple[str, ...] = ("images",)
    mask_folders: tuple[str, ...] = ("masks",)

    def is_root(self, folder: Path) -> bool:
        return all(self._folders(folder))

    def scan(self, root: Path) -> Scan:
        images, masks = self._folders(root)
        if images is None or masks is None:
            return Scan([])
        return pair_by_stem(root, tree.files(images), tree.by_stem(tree.files(masks)))

    def _folders(self, folder: Path) -> tuple[Path | None, Path | None]:
        return tree.child(folder, *self.image_folders), tree.child(folder, *self.mask_folders)


class KvasirReader(FolderPairReader):
    """Kvasir-SEG: ``images/<id>.jpg`` and ``masks/<id>.jpg``; JPEG masks with noisy greys."""


class CvcReader(FolderPairReader):
    """CVC-ClinicDB: ``Original/N.tif`` and ``Ground Truth/N.tif``; the Kaggle copy as PNG and TIF side by side."""

    image_folders = ("Original",)
    mask_folders = ("Ground Truth", "GroundTruth", "Ground_Truth")


class IsicReader(PairReader):
    """ISIC 2018 task 1: ``*_Input/ISIC_N.jpg`` and ``*_GroundTruth/ISIC_N_segmentation.png`` in three stages."""

    def is_root(self, folder: Path) -> bool:
        return any(self._stages(folder, "_input"))

    def scan(self, root: Path) -> Scan:
        images = [file for stage in self._stages(root, "_input") for file in tree.files_below(stage)]
        masks = [file for stage in self._stages(root, "_groundtruth") for file in tree.files_below(stage)]
        return pair_by_stem(root, images, without_suffix(masks, "_segmentation"))

    def _stages(self, folder: Path, ending: str) -> list[Path]:
        """Return the folders of task 1 (inputs are shared with task 2) whose name has this ending."""
        return [
            inner
            for inner in tree.folders(folder)
            if inner.name.lower().endswith(ending) and "_task1" in inner.name.lower()
        ]


class LggReader(PairReader):
    """LGG: ``TCGA_<inst>_<patient>_<date>/<same>_<slice>.tif`` and ``..._mask.tif``, RGB slices as stored.

    The archive holds the same tree twice; the root is the shallower one, so nothing is read twice.
    """

    def is_root(self, folder: Path) -> bool:
        return any(self._patients(folder))

    def scan(self, root: Path) -> Scan:
        files = [file for patient in self._patients(root) for file in tree.files(patient)]
        masks = without_suffix(files, "_mask")
        images = [file for file in files if not file.stem.lower().endswith("_mask")]
        cases = {file.stem: "_".join(file.stem.split("_")[:3]) for file in images}
        return pair_by_stem(root, images, masks, cases)

    def _patients(self, folder: Path) -> list[Path]:
        return [inner for inner in tree.folders(folder) if inner.name.upper().startswith("TCGA_")]
