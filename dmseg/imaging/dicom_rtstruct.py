"""DICOM structure sets (RTSTRUCT): the closed contours of regions, drawn into the voxels of their series.

DICOM PS3.3 C.8.8.6: contours are polygons in patient coordinates (mm), each in the plane of one image. Contours of one
region in one plane that lie inside each other are a hole (their areas are combined by exclusive or).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import ImageFileError
from dmseg.imaging.formats import DICOM, catch_decoder_errors
from dmseg.imaging.volumes import Volume
from dmseg.types import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_OFF_PLANE = 0.25  # of the distance of slices: farther from a slice, a contour belongs to another series


def region_names(data: Dataset) -> tuple[str, ...]:
    """Return the names of the regions of a structure set, in order."""
    return tuple(str(item.get("ROIName") or "") for item in data.get("StructureSetROISequence") or ())


def structure_set_series(data: Dataset) -> tuple[str, ...]:
    """Return the unique ids of the series that a structure set was drawn on."""
    return tuple(
        str(series.SeriesInstanceUID)
        for frame in data.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    )


def read_dicom_regions(path: Path, series: Volume) -> Iterator[tuple[str, Mask]]:
    """Yield (name, bool (Z, Y, X)) of each region of a structure set on the voxels of its series.

    A voxel belongs to a region if its centre lies inside of the contour.

    Args:
        path: the structure set.
        series: the series as :func:`~dmseg.imaging.read_dicom_series` gives it.

    Raises:
        ImageFileError: broken, or a contour does not lie on a slice of the series.
    """
    import pydicom

    if series.affine is None:
        raise ImageFileError(
            f"{path}: its series does not say where its images lie, so no contour can be drawn on them"
        )
    to_voxel = np.linalg.inv(series.affine)
    with catch_decoder_errors(path, DICOM):
        data = pydicom.dcmread(path)
        names = {int(item.ROINumber): str(item.get("ROIName") or "") for item in data.StructureSetROISequence}
        for region in data.get("ROIContourSequence") or ():
            mask = np.zeros(series.values.shape, np.bool_)
            for contour in region.get("ContourSequence") or ():
                if str(contour.get("ContourGeometricType")) in _CLOSED:
                    points = np.array([float(number) for number in contour.ContourData]).reshape(-1, 3)
                    _draw(path, mask, points @ to_voxel[:3, :3].T + to_voxel[:3, 3])
            yield names.get(int(region.ReferencedROINumber), ""), mask


def _draw(path: Path, mask: Mask, points: NDArray[np.float64]) -> None:
    """Draw one contour, (n, 3) indices z, y, x, into a mask."""
    from skimage.draw import polygon2mask

    z = round(float(points[:, 0].mean()))
    if len(points) < 3:
        return
    if np.abs(points[:, 0] - z).max() > _OFF_PLANE or not 0 <= z < len(mask):
        raise ImageFileError(
            f"{path}: a contour at slice {points[:, 0].mean():.2f} lies on none of the {len(mask)} slices"
        )
    mask[z] ^= polygon2mask(mask.shape[1:], points[:, 1:])  # type: ignore[no-untyped-call]
