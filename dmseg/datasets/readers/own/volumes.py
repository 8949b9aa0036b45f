"""One's own volumes with label volumes: NIfTI, MetaImage, NRRD and what else holds a volume, paired by the recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from dmseg.datasets import tree
from dmseg.datasets.readers.own.greys import choose_window, has_whole_numbers
from dmseg.datasets.readers.own.images import name_of_structure
from dmseg.datasets.readers.own.objects import kind_of_masks, split_values
from dmseg.datasets.readers.own.pairing import pair_files
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import (
    EXTENSIONS,
    PLANES,
    Volume,
    acquisition_plane,
    apply_window,
    cut,
    cut_spacing,
    describe_difference,
    read_volume,
)
from dmseg.imaging.formats import VOLUMES
from dmseg.types import Mask, Sample, Structure

VOLUME_SUFFIXES = tuple(ending for ending, kind in EXTENSIONS.items() if kind in VOLUMES)
_TRUST = 'mask_affine = "image" in the recipe trusts the order of the voxels instead'


@dataclass(frozen=True, slots=True)
class Object3d:
    """An object of a volume: its name, where its box begins, and the voxels inside of the box."""

    name: str
    box: tuple[slice, ...]
    mask: Mask

    @classmethod
    def of(cls, name: str, mask: Mask) -> Object3d | None:
        """Return the object of a (Z, Y, X) mask, or None for an empty one."""
        found = ndimage.find_objects(mask.view(np.uint8))
        return cls(name, found[0], mask[found[0]].copy()) if found else None

    def is_at(self, index: int, across: int) -> bool:
        """Return whether the object is on a slice: ``index`` along the axis ``across`` of the volume."""
        here = self.box[across]
        return bool(here.start <= index < here.stop and self.mask.take(index - here.start, axis=across).any())

    def cut_at(self, index: int, across: int, shape: tuple[int, ...]) -> Mask:
        """Return the (H, W) mask on a slice of a volume of ``shape``, as :func:`~dmseg.imaging.cut` shows it."""
        mask = np.zeros([side for axis, side in enumerate(shape) if axis != across], np.bool_)
        inside = tuple(part for axis, part in enumerate(self.box) if axis != across)
        mask[inside] = self.mask.take(index - self.box[across].start, axis=across)
        return mask if across == 0 else mask[::-1]


class OwnVolumeReader(Reader):
    """Volumes with label volumes; every slice with an object, along the plane in which the volume was acquired."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        scan = pair_files(self, root, tree.files_below(root, VOLUME_SUFFIXES))
        several = [source for source in scan.sources if len(source.files) > 2 and not any(json.loads(source.detail))]
        left_out = [LeftOut(source.files[0].as_posix(), "several label volumes; give one") for source in several]
        return Scan([source for source in scan.sources if source not in several], [*scan.left_out, *left_out])

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield notes on the labels, then every slice with an object; axial slices run from feet to head."""
        file, rules = source.files[0], self.recipe.parameters
        volume = read_volume(root / file, volume=rules.get("volume"))
        objects: list[Object3d] = []
        for mask, name in zip(source.files[1:], json.loads(source.detail), strict=True):
            labels = read_labels(root / mask, rules, volume)
            if difference := describe_difference(volume, labels):
                hint = "" if rules.get("mask_affine") == "image" else f"; {_TRUST}"
                yield LeftOut(file.as_posix(), f"{mask.as_posix()}: labels in another place: {difference}{hint}")
                return
            for item in split_values(
                labels.values, rules, name_of_structure(name) or self.recipe.structures[0], mask.as_posix()
            ):
                if isinstance(item, LeftOut):
                    yield item
                elif found := Object3d.of(item.name, item.mask):
                    objects.append(found)
        if not objects:
            yield LeftOut(file.as_posix(), "no object: no slice has one of the recipe's labels")
            return
        yield from self._slices(root / file, source, volume, objects)

    def _slices(
        self, path: Path, source: Source, volume: Volume, objects: Sequence[Object3d]
    ) -> Iterator[Sample | LeftOut]:
        values, window = choose_window(self.recipe, path, volume.values)
        plane = self.recipe.parameters.get("plane") or acquisition_plane(volume.values.shape, volume.spacing)
        spacing = None if volume.spacing is None else cut_spacing(volume.spacing, plane)[1:]
        slices, across = cut(values, plane), PLANES.index(plane)
        for z in range(len(slices)):
            present = [(each.name, each.cut_at(z, across, values.shape)) for each in objects if each.is_at(z, across)]
            if present:
                yield self.sample(
                    f"{source.id}_z{z:03d}",
                    source.case_id,
                    apply_window(slices[z], window),
                    [Structure(name, np.ascontiguousarray(mask)) for name, mask in present],
                    source=f"{source.files[0].as_posix()}#z{z:03d}",
                    spacing=spacing,
                    window=window,
                )


def read_labels(path: Path, rules: Mapping[str, Any], volume: Volume) -> Volume:
    """Read the labels of a volume, with the image's axes and place where the recipe's ``mask_affine`` says so.

    Raises:
        DataError: ``mask_affine`` is neither ``own`` nor ``image``.
        ImageFileError: broken, or fractions where the recipe expects labels.
    """
    affine = rules.get("mask_affine", "own")
    if affine not in ("own", "image"):
        raise DataError(f'mask_affine = "{affine}": give "own", or "image" to trust the order of the voxels')
    labels = read_volume(path, volume.stored_axes if affine == "image" else None)
    if kind_of_masks(rules) != "binary" and not has_whole_numbers(labels.values):
        raise ImageFileError(f"{path}: holds fractions, expected labels as whole numbers")
    if affine == "image":
        return Volume(labels.values, volume.spacing, volume.axes, (), volume.affine, volume.stored_axes)
    return labels
