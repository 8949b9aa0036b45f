"""One's own DICOM series with DICOM segmentations, found by their tags: names and folders do not matter."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dmseg.canonical import digest
from dmseg.datasets import tree
from dmseg.datasets.readers.volumes import percentiles
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import (
    DicomTags,
    Volume,
    apply_window,
    dicom_tags,
    highdicom,
    kind_of,
    radiological,
    read_dicom_segments,
    read_dicom_series,
)
from dmseg.imaging.formats import DICOM
from dmseg.imaging.volumes import radiological_spacing
from dmseg.types import Sample, Structure

_AXIAL = "SI"


def tags_below(folder: Path) -> dict[Path, DicomTags]:
    """Return the tags of the DICOM files below a folder, whatever their names; broken ones are not in it."""
    found = {}
    for file in tree.files_below(folder, ("",)):
        status = file.stat()
        if tags := _tags(file, status.st_size, status.st_mtime_ns):
            found[file] = tags
    return found


@functools.lru_cache(maxsize=100_000)
def _tags(file: Path, size: int, changed_ns: int) -> DicomTags | None:
    """Read a file's tags once per state of the file; None for what is no DICOM file."""
    try:
        return dicom_tags(file) if kind_of(file) == DICOM else None
    except ImageFileError:
        return None


class DicomSegReader(Reader):
    """A source is one series with the segmentations that refer to it; every slice with an object is an image."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        """List the series that segmentations refer to.

        Raises:
            MissingDependencyError: highdicom is not installed.
        """
        highdicom()
        images: dict[str, list[Path]] = {}
        drawn: dict[str, list[Path]] = {}
        patients: dict[str, str] = {}
        for file, tags in tags_below(root).items():
            if tags.picture:
                images.setdefault(tags.series, []).append(file.relative_to(root))
                patients[tags.series] = tags.patient
            for series in tags.of_series:
                drawn.setdefault(series, []).append(file.relative_to(root))
        left_out = [
            LeftOut(files[0].as_posix(), "series without a segmentation")
            for series, files in images.items()
            if series not in drawn
        ]
        left_out += [
            LeftOut(file.as_posix(), "segmentation without its series")
            for series, files in drawn.items()
            if series not in images
            for file in files
        ]
        sources = []
        for series in images.keys() & drawn.keys():
            patient = clean_id(patients[series]) or "patient"
            files = (*images[series], *drawn[series])
            # The unique id is long, and alike between series up to its end.
            sources.append(Source(f"{patient}_{digest(series)[:8]}", patient, files, str(len(drawn[series]))))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield every slice with an object: axial ones from feet to head, turned radiologically, others as stored."""
        n_images = len(source.files) - int(source.detail)
        volume = read_dicom_series([root / file for file in source.files[:n_images]])
        drawn = [read_dicom_segments(root / file, volume.files) for file in source.files[n_images:]]
        modality = self.recipe.modality()
        low, high = self.recipe.parameters["percentiles"]
        window = self.recipe.windows.get(modality) or percentiles(volume.files[0], volume.values, (low, high))
        names = {label: name for name, label in self.recipe.parameters["segments"].items()}
        empty = True
        for z, of_each in enumerate(zip(*drawn, strict=True)):
            masks = [(names[label], mask) for found in of_each for label, mask in found if label in names]
            if masks:
                empty = False
                yield self.sample(
                    f"{source.id}_z{z:03d}",
                    source.case_id,
                    apply_window(_orient_slice(volume.values[z], volume), window),
                    [Structure(name, _orient_slice(mask, volume)) for name, mask in masks],
                    source=f"{source.files[0].as_posix()}#z{z:03d}",
                    spacing=_spacing(volume),
                    window=window,
                )
        if empty:
            yield LeftOut(source.files[0].as_posix(), "no object: no slice has one of the recipe's segments")


def _orient_slice(plane: NDArray[Any], volume: Volume) -> NDArray[Any]:
    """Return a slice as it is looked at: axial ones radiologically, others as they are stored."""
    if not _axial(volume):
        return plane
    turned: NDArray[Any] = radiological(plane[None], volume.axes or "")[0]
    return turned


def _spacing(volume: Volume) -> tuple[float, float] | None:
    if volume.spacing is None:
        return None
    turned = radiological_spacing(volume.spacing, volume.axes or "") if _axial(volume) else volume.spacing
    return turned[1:]


def _axial(volume: Volume) -> bool:
    return volume.axes is not None and volume.axes[0] in _AXIAL
