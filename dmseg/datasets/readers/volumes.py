"""Volumes that become axial slices: FLARE (CT) and BraTS (MR) from NIfTI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets import tree
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import (
    Volume,
    apply_window,
    describe_difference,
    percentile_window,
    read_label_volume,
    read_volume,
    stem,
)
from dmseg.types import Sample, Structure, Window

NIFTI_SUFFIXES = (".nii.gz", ".nii")


class SliceReader(Reader):
    """Base of readers that cut a (Z, Y, X) volume and its label volume into samples."""

    def slices(
        self,
        source: Source,
        volume: Volume,
        labels: NDArray[Any],
        chosen: Iterable[int],
        *,
        window: Window,
        modality: str,
        ranges: Mapping[str, NDArray[Any]],
    ) -> Iterator[Sample | LeftOut]:
        """Yield one sample for each chosen slice.

        Args:
            source: its id and first file name the slices.
            volume: radiological, (Z, Y, X).
            labels: (Z, Y, X) integers.
            chosen: slice indices.
            window: grey window, in the units of the volume.
            modality: modality of the samples.
            ranges: structure name -> the label values that make it up.
        """
        for z in chosen:
            plane = labels[z]
            present = ((name, np.isin(plane, values)) for name, values in ranges.items())
            yield self.sample(
                f"{source.id}_z{z:03d}",
                source.case_id,
                apply_window(volume.values[z], window),
                (Structure(name, mask) for name, mask in present),
                source=f"{source.files[0].as_posix()}#z{z:03d}",
                modality=modality,
                spacing=volume.spacing[1:] if volume.spacing else None,
                window=window,
            )


def percentiles(path: Path, values: NDArray[Any], percents: tuple[float, float]) -> Window:
    """Return the window of an MR volume; a volume without contrast is an error that names its file."""
    try:
        return percentile_window(values, *percents)
    except DataError as error:
        raise ImageFileError(f"{path}: {error}") from None


def read_volume_pair(root: Path, source: Source) -> tuple[Volume, NDArray[Any]] | LeftOut:
    """Read a volume and its labels, both radiological, or say why they do not lie in the same place."""
    volume, labels = (
        read(root / file) for read, file in zip((read_volume, read_label_volume), source.files, strict=True)
    )
    if difference := describe_difference(volume, labels):
        return LeftOut(source.files[0].as_posix(), f"labels in another place: {difference}")
    return volume, labels.values


class FlareReader(SliceReader):
    """FLARE22: ``images/<case>_0000.nii.gz`` and ``labels/<case>.nii.gz``; every axial slice with an organ."""

    def is_root(self, folder: Path) -> bool:
        images, labels = _image_and_label_folders(folder)
        return bool(images and labels and tree.files(images, NIFTI_SUFFIXES))

    def scan(self, root: Path) -> Scan:
        images, labels = _image_and_label_folders(root)
        if images is None or labels is None:
            return Scan([])
        left_out: list[LeftOut] = []
        sources: list[Source] = []
        unused = {stem(file).lower(): file for file in tree.files(labels, NIFTI_SUFFIXES)}
        for image in tree.files(images, NIFTI_SUFFIXES):
            case = stem(image).removesuffix("_0000")
            label = unused.pop(case.lower(), None)
            if label is None:
                left_out.append(LeftOut(image.relative_to(root).as_posix(), "label volume missing"))
                continue
            files = (image.relative_to(root), label.relative_to(root))
            sources.append(Source(clean_id(case), clean_id(case), files))
        left_out += [LeftOut(file.relative_to(root).as_posix(), "labels without a volume") for file in unused.values()]
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield every slice with an organ, from feet to head."""
        pair = read_volume_pair(root, source)
        if isinstance(pair, LeftOut):
            yield pair
            return
        volume, labels = pair
        organs = {name: np.array([value]) for name, value in self.recipe.parameters["labels"].items()}
        annotated = np.flatnonzero(np.isin(labels, np.concatenate(list(organs.values()))).any(axis=(1, 2)))
        if annotated.size == 0:
            yield LeftOut(source.files[0].as_posix(), "no object: no slice has an organ")
        modality = self.recipe.modality()
        window = self.recipe.windows[modality]
        yield from self.slices(
            source, volume, labels, map(int, annotated), window=window, modality=modality, ranges=organs
        )


def _image_and_label_folders(folder: Path) -> tuple[Path | None, Path | None]:
    return tree.child(folder, "images", "imagesTr"), tree.child(folder, "labels", "labelsTr")


class BratsReader(SliceReader):
    """BraTS: ``<case>/<case>_{flair,seg}.nii.gz``; the FLAIR slices with most tumour, some slices apart."""

    def is_root(self, folder: Path) -> bool:
        return any(self._of_kind(case, "label_names") for case in tree.folders(folder)[:5])

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for case in tree.folders(root):
            image, label = self._of_kind(case, "image_names"), self._of_kind(case, "label_names")
            if image is None or label is None:
                what = "FLAIR volume missing" if image is None else "label volume missing"
                left_out.append(LeftOut(case.relative_to(root).as_posix(), what))
                continue
            files = (image.relative_to(root), label.relative_to(root))
            sources.append(Source(clean_id(case.name), clean_id(case.name), files))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the chosen slices, from feet to head."""
        pair = read_volume_pair(root, source)
        if isinstance(pair, LeftOut):
            yield pair
            return
        volume, labels = pair
        rules = self.recipe.parameters
        parts = {name: np.array(values) for name, values in rules["labels"].items()}
        areas = np.isin(labels, parts[self.recipe.structures[0]]).sum(axis=(1, 2))
        chosen = largest_apart(areas, rules["slices_per_case"], rules["slices_apart"])
        if not chosen:
            yield LeftOut(source.files[0].as_posix(), "no object: no slice has tumour")
            return
        low, high = rules["percentiles"]
        window = percentiles(root / source.files[0], volume.values, (low, high))
        yield from self.slices(
            source, volume, labels, chosen, window=window, modality=self.recipe.modality(), ranges=parts
        )

    def _of_kind(self, case: Path, kind: str) -> Path | None:
        endings = tuple(self.recipe.parameters[kind])
        files = tree.files(case, NIFTI_SUFFIXES)
        return next((file for file in files if stem(file).lower().endswith(endings)), None)


def largest_apart(areas: NDArray[np.integer[Any]], most: int, apart: int) -> list[int]:
    """Return up to ``most`` slice indices, ascending: by decreasing area, each at least ``apart`` from the others.

    Equal areas go to the lower index; slices of area 0 are never taken.

    >>> largest_apart(np.array([0, 5, 9, 9, 1, 0, 7]), most=3, apart=2)
    [2, 4, 6]
    """
    taken: list[int] = []
    for z in np.argsort(-areas, kind="stable"):
        if areas[z] == 0 or len(taken) == most:
            break
        if all(abs(int(z) - other) >= apart for other in taken):
            taken.append(int(z))
    return sorted(taken)
