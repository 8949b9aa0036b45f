"""CHAOS: DICOM series with one PNG mask per slice, paired by order; CT (liver) and MR T2SPIR (four organs)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.datasets import tree
from dmseg.datasets.readers.volumes import SliceReader, percentiles
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import Volume, radiological, read_dicom_series, read_grey
from dmseg.imaging.volumes import RADIOLOGICAL, radiological_spacing
from dmseg.types import Sample

_GREYS = np.arange(256)


class ChaosReader(SliceReader):
    """``CT/<id>/{DICOM_anon,Ground}`` and ``MR/<id>/T2SPIR/{DICOM_anon,Ground}``; a source is one series."""

    def is_root(self, folder: Path) -> bool:
        return any(self._series(folder))

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for modality, identity, case, folder in self._series(root):
            images, masks = _slices_and_masks(folder)
            where = folder.relative_to(root).as_posix()
            if not images:
                left_out.append(LeftOut(where, "DICOM files missing"))
            elif not masks:
                left_out.append(LeftOut(where, "masks missing (the folder Ground is absent or empty)"))
            elif len(images) != len(masks):
                left_out.append(LeftOut(where, f"{len(images)} slices but {len(masks)} masks; they pair by order"))
            else:
                files = tuple(file.relative_to(root) for file in (*images, *masks))
                sources.append(Source(identity, case, files, modality))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield evenly spaced annotated slices of a series, from feet to head."""
        half = len(source.files) // 2
        images = [root / file for file in source.files[:half]]
        masks = dict(zip(images, (root / file for file in source.files[half:]), strict=True))
        volume = read_dicom_series(images)
        labels = _labels(volume, [masks[file] for file in volume.files])
        volume, labels = _upright(volume, labels)
        rules = self.recipe.parameters
        if source.detail == "ct":
            window, ranges = self.recipe.windows["ct"], {rules["ct_structure"]: _GREYS[1:]}
        else:
            low, high = rules["percentiles"]
            window = percentiles(root / source.files[0].parent, volume.values, (low, high))
            ranges = {name: _GREYS[first : last + 1] for name, (first, last) in rules["mr_greys"].items()}
        annotated = np.flatnonzero(np.isin(labels, np.concatenate(list(ranges.values()))).any(axis=(1, 2)))
        where = source.files[0].parent.as_posix()
        if annotated.size == 0:
            yield LeftOut(where, "no object: every mask is empty")
        chosen = [int(annotated[i]) for i in middles(annotated.size, rules["slices_per_series"])]
        named = Source(source.id, source.case_id, (Path(where),))
        yield from self.slices(named, volume, labels, chosen, window=window, modality=source.detail, ranges=ranges)

    def _series(self, folder: Path) -> Iterator[tuple[str, str, str, Path]]:
        """Yield (modality, source id, case, folder) of the CT and MR series below a root."""
        sequence = self.recipe.parameters["mr_sequence"]
        for modality, name in (("ct", "CT"), ("mri", "MR")):
            patients = tree.child(folder, name)
            for patient in tree.folders(patients) if patients and patients.is_dir() else []:
                case = f"{name}_{clean_id(patient.name)}"
                series = patient if modality == "ct" else tree.child(patient, sequence)
                if series is not None and tree.child(series, "DICOM_anon"):
                    yield modality, case if modality == "ct" else f"{case}_{sequence}", case, series


def _slices_and_masks(series: Path) -> tuple[list[Path], list[Path]]:
    images, masks = tree.child(series, "DICOM_anon"), tree.child(series, "Ground")
    return (
        tree.files(images, (".dcm", ".dicom")) if images else [],
        tree.files(masks, (".png",)) if masks else [],
    )


def _labels(volume: Volume, masks: list[Path]) -> NDArray[Any]:
    """Return the mask greys in the slice order of the volume, (Z, Y, X) uint8."""
    labels = np.zeros(volume.values.shape, dtype=np.uint8)
    for z, path in enumerate(masks):
        grey = read_grey(path)
        if grey.shape != labels.shape[1:] or grey.dtype != np.uint8:
            raise ImageFileError(
                f"{path}: mask is {grey.dtype} {' x '.join(map(str, grey.shape))}, its slice is "
                f"{' x '.join(map(str, labels.shape[1:]))}; expected an 8-bit or 1-bit mask of the same size"
            )
        labels[z] = grey
    return labels


def _upright(volume: Volume, labels: NDArray[Any]) -> tuple[Volume, NDArray[Any]]:
    """Turn volume and labels, which share the orientation of the files, to the radiological one where it is known."""
    if volume.axes is None:
        return volume, labels
    spacing = None if volume.spacing is None else radiological_spacing(volume.spacing, volume.axes)
    return Volume(radiological(volume.values, volume.axes), spacing, RADIOLOGICAL), radiological(labels, volume.axes)


def middles(n: int, parts: int) -> list[int]:
    """Return the middle index of each of ``parts`` equal parts of 0..n-1, each index at most once.

    >>> middles(13, 5), middles(3, 5)
    ([1, 3, 6, 9, 11], [0, 1, 2])
    """
    return sorted({(2 * part + 1) * n // (2 * parts) for part in range(parts)}) if n else []
