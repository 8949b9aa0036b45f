"""One's own DICOM series with DICOM segmentations, structure sets, or label volumes in files of their own.

Segmentations (SEG) and structure sets (RTSTRUCT) name their series; names and folders do not matter. A label volume
belongs to the series whose patient id, series id or folder is called as the recipe's ``mask`` says.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.canonical import digest
from dmseg.datasets import templates, tree
from dmseg.datasets.ids import plain_id
from dmseg.datasets.readers.own.greys import choose_window
from dmseg.datasets.readers.own.images import name_of_structure
from dmseg.datasets.readers.own.objects import split_values
from dmseg.datasets.readers.own.volumes import VOLUME_SUFFIXES, read_labels
from dmseg.datasets.sources import NOTE, LeftOut, Reader, Scan, Source
from dmseg.errors import ImageFileError
from dmseg.imaging import (
    DicomTags,
    Volume,
    apply_window,
    describe_difference,
    dicom_tags,
    highdicom,
    kind_of,
    radiological,
    radiological_affine,
    read_dicom_regions,
    read_dicom_segments,
    read_dicom_series,
)
from dmseg.imaging.formats import DICOM
from dmseg.imaging.volumes import radiological_spacing
from dmseg.types import Mask, Sample, Structure

_AXIAL = "SI"
_Named = tuple[str, Mask]


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


class OwnDicomReader(Reader):
    """A source is one series with everything that was drawn on it; every slice with an object is an image."""

    def is_root(self, folder: Path) -> bool:
        return bool(self.scan(folder).sources)

    def scan(self, root: Path) -> Scan:
        """List the series that something was drawn on.

        Raises:
            MissingDependencyError: there are DICOM segmentations, and highdicom is not installed.
        """
        images: dict[str, list[Path]] = {}
        drawn: dict[str, list[Path]] = {}
        patients: dict[str, str] = {}
        for file, tags in tags_below(root).items():
            if tags.segments is not None:
                highdicom()
            if tags.is_image:
                images.setdefault(tags.series, []).append(file.relative_to(root))
                patients[tags.series] = tags.patient
            for series in tags.of_series:
                drawn.setdefault(series, []).append(file.relative_to(root))
        left_out = [
            LeftOut(file.as_posix(), "drawn on a series that is not there")
            for series, files in drawn.items()
            if series not in images
            for file in files
        ]
        left_out += self._add_labels(root, images, patients, drawn)
        left_out += [
            LeftOut(files[0].as_posix(), "series without a segmentation")
            for series, files in images.items()
            if series not in drawn
        ]
        sources = []
        for series in sorted(images.keys() & drawn.keys()):
            patient = plain_id(patients[series]) if patients[series] else "patient"
            # The unique id is long, and alike between series up to its end.
            identity = f"{patient}_{digest(series)[:8]}"
            sources.append(Source(identity, patient, (*images[series], *drawn[series]), str(len(drawn[series]))))
        return Scan(sources, left_out)

    def _add_labels(
        self,
        root: Path,
        images: Mapping[str, Sequence[Path]],
        patients: Mapping[str, str],
        drawn: dict[str, list[Path]],
    ) -> Iterator[LeftOut]:
        """Add the label volumes that the recipe's ``mask`` names to the series that they belong to."""
        template = self.recipe.parameters.get("mask")
        if not template:
            return
        for match in templates.match_template(template, root, tree.files_below(root, VOLUME_SUFFIXES)):
            names = {name.lower() for name in (match.id, match.case) if name}
            fits = [
                series
                for series, files in images.items()
                if names & {series.lower(), patients[series].lower(), *(p.lower() for p in files[0].parent.parts)}
            ]
            if len(fits) == 1:
                drawn.setdefault(fits[0], []).append(match.file.relative_to(root))
            else:
                reason = f"{len(fits) or 'no'} series called {' or '.join(sorted(names))}"
                yield LeftOut(match.file.relative_to(root).as_posix(), f"labels without a series: {reason}")

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield every slice with an object: axial ones from feet to head, turned radiologically, others as stored."""
        n_images = len(source.files) - int(source.detail)
        series = read_dicom_series([root / file for file in source.files[:n_images]])
        drawn: list[Iterator[list[_Named]]] = []
        for file in source.files[n_images:]:
            found = self._objects(root, file, series)
            if isinstance(found, LeftOut):
                yield found
                return
            notes, slices = found
            yield from notes
            drawn.append(slices)
        values, window = choose_window(self.recipe, root / source.files[0], series.values)
        empty = True
        for z, of_each in enumerate(zip(*drawn, strict=True)):
            masks = [each for found in of_each for each in found]
            if masks:
                empty = False
                yield self.sample(
                    f"{source.id}_z{z:03d}",
                    source.case_id,
                    apply_window(_turn(values[z], series), window),
                    [Structure(name, _turn(mask, series)) for name, mask in masks],
                    source=f"{source.files[0].as_posix()}#z{z:03d}",
                    spacing=_spacing(series),
                    window=window,
                )
        if empty:
            yield LeftOut(source.files[0].as_posix(), "no object: no slice has one of the recipe's segments")

    def _objects(
        self, root: Path, file: Path, series: Volume
    ) -> tuple[list[LeftOut], Iterator[list[_Named]]] | LeftOut:
        """Return notes, and for each slice of the series the objects of one file on it, or why it does not fit."""
        tags = _tags(root / file, (root / file).stat().st_size, (root / file).stat().st_mtime_ns)
        rules = self.recipe.parameters
        if tags is None:
            return self._labels(root, file, series)
        names = {label: name for name, label in rules.get("segments", {}).items()}
        present = tags.segments if tags.segments is not None else tags.contours or ()
        notes = [
            LeftOut(file.as_posix(), f'segment "{label}" is not in the recipe', NOTE)
            for label in sorted(set(present) - set(names))
        ]
        if tags.segments is not None:
            segments = read_dicom_segments(root / file, series.files)
            return notes, ([(names[label], mask) for label, mask in found if label in names] for found in segments)
        regions = [(names[label], mask) for label, mask in read_dicom_regions(root / file, series) if label in names]
        return notes, _per_slice(regions, len(series.values))

    def _labels(self, root: Path, file: Path, series: Volume) -> tuple[list[LeftOut], Iterator[list[_Named]]] | LeftOut:
        """Return the same of a label volume, compared and turned in the radiological view of the series."""
        turned = _as_radiological(series)
        labels = read_labels(root / file, self.recipe.parameters, turned)
        if difference := describe_difference(turned, labels):
            return LeftOut(
                series.files[0].relative_to(root).as_posix(),
                f"{file.as_posix()}: labels in another place: {difference}",
            )
        stored = np.empty(series.values.shape, labels.values.dtype)
        radiological(stored, series.axes or "SPL")[...] = labels.values
        items = list(
            split_values(stored, self.recipe.parameters, name_of_structure(self.recipe.structures[0]), file.as_posix())
        )
        notes = [item for item in items if isinstance(item, LeftOut)]
        objects = [(item.name, item.mask) for item in items if isinstance(item, Structure)]
        return notes, _per_slice(objects, len(stored))


def _per_slice(objects: Sequence[_Named], n: int) -> Iterator[list[_Named]]:
    for z in range(n):
        yield [(name, mask[z]) for name, mask in objects if mask[z].any()]


def _as_radiological(series: Volume) -> Volume:
    """Return the radiological view of a series, with its affine."""
    axes = series.axes or "SPL"
    return Volume(
        radiological(series.values, axes),
        None if series.spacing is None else radiological_spacing(series.spacing, axes),
        "SPL",
        (),
        None if series.affine is None else radiological_affine(series.affine, series.values.shape, axes),
        axes,
    )


def _turn(plane: NDArray[Any], volume: Volume) -> NDArray[Any]:
    """Return a slice as it is looked at: axial ones radiologically, others as they are stored."""
    if not _is_axial(volume):
        return plane
    turned: NDArray[Any] = radiological(plane[None], volume.axes or "")[0]
    return turned


def _spacing(volume: Volume) -> tuple[float, float] | None:
    if volume.spacing is None:
        return None
    turned = radiological_spacing(volume.spacing, volume.axes or "") if _is_axial(volume) else volume.spacing
    return turned[1:]


def _is_axial(volume: Volume) -> bool:
    return volume.axes is not None and volume.axes[0] in _AXIAL
