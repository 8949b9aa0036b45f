"""Dental X-ray: ToothSeg, whose original folder names are not known; the plausible ones are tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dmseg.datasets import tree
from dmseg.datasets.readers.pairs import PairReader
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import read_mask
from dmseg.types import Image, Mask, Structure


class ToothReader(PairReader):
    """ToothSeg: an image folder and a mask folder, or UFBA-425's per-tooth label files; the teeth are one object."""

    def is_root(self, folder: Path) -> bool:
        return all(self._folders(folder))

    def scan(self, root: Path) -> Scan:
        images, masks = self._folders(root)
        if images is None or masks is None:
            return Scan([])
        groups = self._label_files(masks)
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for image in tree.files(images):
            name = image.relative_to(root)
            group = groups.get(image.stem.lower())
            if not group:
                left_out.append(LeftOut(name.as_posix(), "mask missing"))
                continue
            identity = clean_id(image.stem)
            sources.append(Source(identity, identity, (name, *(file.relative_to(root) for file in group))))
        return Scan(sources, left_out)

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield the union of the label files as one object."""
        union: Mask | None = None
        for file in source.files[1:]:
            mask = self.mask(root / file)
            if union is not None and union.shape != mask.shape:
                raise ImageFileError(f"{root / file}: label files of one image differ in size")
            union = mask if union is None else union | mask
        if union is not None:
            yield Structure(self.recipe.structures[0], union)

    def mask(self, path: Path) -> Mask:
        """Return the labelled pixels; of a JPEG only those above its compression noise."""
        lossy = path.suffix.lower() in (".jpg", ".jpeg")
        return read_mask(path, threshold=self.recipe.parameters["jpeg_mask_above" if lossy else "mask_above"])

    def _label_files(self, masks: Path) -> dict[str, list[Path]]:
        """Return lower-case image stem -> label files: the same stem, or that and ``_<tooth>.ome.tiff``."""
        groups: dict[str, list[Path]] = {}
        background = self.recipe.parameters["background_labels"]
        for file in tree.files_below(masks):
            stem = file.name.lower().removesuffix(".ome.tiff").removesuffix(".ome.tif")
            if stem == file.name.lower():
                groups.setdefault(file.stem.lower(), []).append(file)
            elif "_" in stem and stem.rpartition("_")[2] not in background:
                groups.setdefault(stem.rpartition("_")[0], []).append(file)
        return groups

    def _folders(self, folder: Path) -> tuple[Path | None, Path | None]:
        parameters = self.recipe.parameters
        return tree.child(folder, *parameters["image_folders"]), tree.child(folder, *parameters["mask_folders"])
