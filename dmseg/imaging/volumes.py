"""Volumes and their orientation: which way each array axis runs through the patient, and the radiological view.

Axes are named by three letters, one per array axis: the direction in which the index rises, of R L (patient's right,
left), A P (front, back), S I (head, feet). NIfTI "RAS" and the radiological "SPL" are examples. The radiological axial
order is slices from feet to head, rows from front to back, columns from the patient's right to the left, so that a
slice looks as on a reporting screen: patient's right at the left of the image, front up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError, unknown_name

RADIOLOGICAL = "SPL"
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_POSITIVE_LPS = "LPS"
_SAME_PLACE = 0.1  # of the smallest side of a voxel


@dataclass(frozen=True, slots=True)
class Volume:
    """Grey values or labels of a volume.

    Attributes:
        values: (Z, Y, X), integer or float32, after the rescale that the file declares (CT: HU).
        spacing: (z, y, x) mm between voxel centres, or None where the file does not say.
        axes: direction letters of the three axes (module docstring), None where the file does not say.
        files: the file of each slice, in slice order; empty for a volume in one file.
        affine: (4, 4) float64, from the index (z, y, x, 1) of ``values`` to LPS mm; None where the file does not say
            where it lies (no transformation, or the identity that tools write who know none).
        stored_axes: letters of the axes in the file, before any turning; None where there are none.
    """

    values: NDArray[Any]
    spacing: tuple[float, float, float] | None
    axes: str | None
    files: tuple[Path, ...] = ()
    affine: NDArray[np.float64] | None = None
    stored_axes: str | None = None


def _order(axes: str) -> tuple[list[int], list[bool]]:
    """Return, for each radiological axis, the array axis that carries it and whether it runs the other way."""
    order, reverse = [], []
    for wanted in RADIOLOGICAL:
        found = [axis for axis, letter in enumerate(axes) if letter in (wanted, _OPPOSITE[wanted])]
        if len(axes) != 3 or len(found) != 1:
            raise UsageError(f'axes "{axes}" are not three letters of different directions, such as RAS or SPL')
        order.append(found[0])
        reverse.append(axes[found[0]] != wanted)
    return order, reverse


def radiological(array: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return a view of an array (3-D, or with channels) in radiological axial order; writing to it writes to the array.

    >>> import numpy as np
    >>> radiological(np.zeros((5, 6, 7)), "RAS").shape
    (7, 6, 5)

    Raises:
        UsageError: ``axes`` does not name three different directions.
    """
    order, reverse = _order(axes)
    further = range(3, array.ndim)
    return array.transpose([*order, *further])[
        tuple(slice(None, None, -1) if back else slice(None) for back in reverse)
    ]


def radiological_spacing(spacing: tuple[float, float, float], axes: str) -> tuple[float, float, float]:
    """Return the spacing per radiological axis (z, y, x) from that per array axis."""
    order, _ = _order(axes)
    return spacing[order[0]], spacing[order[1]], spacing[order[2]]


def radiological_affine(affine: NDArray[np.float64], shape: tuple[int, ...], axes: str) -> NDArray[np.float64]:
    """Return the (4, 4) affine of the radiological view of an array from that of the array itself.

    Args:
        affine: from the array's index to any coordinates.
        shape: of the array.
        axes: its letters.
    """
    order, reverse = _order(axes)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1.0
    for row, (axis, back) in enumerate(zip(order, reverse, strict=True)):
        turn[axis, row] = -1.0 if back else 1.0
        turn[axis, 3] = shape[axis] - 1 if back else 0.0
    return np.asarray(affine @ turn)


def describe_difference(volume: Volume, other: Volume) -> str:
    """Say in words how the voxel grid of ``other`` differs from that of ``volume``; empty where they are the same.

    Grids are the same if they have equal sides and no corner lies further than a tenth of the smallest voxel side from
    its partner. Two files that do not say where they lie must have equal axes.
    """
    sizes = [" x ".join(map(str, each.values.shape)) for each in (other, volume)]
    if volume.values.shape != other.values.shape:
        return f"size is {sizes[0]}, expected {sizes[1]} voxels (z, y, x)"
    if volume.affine is None or other.affine is None:
        if volume.affine is not other.affine:
            return "only one of the two says where it lies (the other has no affine, or the identity)"
        return (
            "" if volume.stored_axes == other.stored_axes else f"axes are {other.stored_axes}, not {volume.stored_axes}"
        )
    last = np.array(volume.values.shape) - 1
    corners = np.array([[*(last * ends), 1] for ends in np.ndindex(2, 2, 2)], dtype=np.float64)
    apart = np.linalg.norm((corners @ (other.affine - volume.affine).T)[:, :3], axis=1).max()
    sides = np.linalg.norm(volume.affine[:3, :3], axis=0)
    if apart <= _SAME_PLACE * sides.min():
        return ""
    return f"{_affine_difference(volume.affine, other.affine, sides)} (corners are up to {apart:.3g} mm apart)"


def _affine_difference(wanted: NDArray[np.float64], given: NDArray[np.float64], sides: NDArray[np.float64]) -> str:
    """Name the first of spacing, direction and origin in which two affines differ."""
    other = np.linalg.norm(given[:3, :3], axis=0)
    if not np.allclose(other, sides, rtol=0.01):
        return "spacing is {} mm, not {}".format(
            *(" x ".join(f"{side:.4g}" for side in each) for each in (other, sides))
        )
    if not np.allclose(given[:3, :3] / other, wanted[:3, :3] / sides, atol=0.01):
        return "the axes point elsewhere"
    return "origin is {}, not {} mm".format(*(np.round(each[:3, 3], 2).tolist() for each in (given, wanted)))


def axes_of(directions: NDArray[np.float64]) -> str | None:
    """Return the letters of the array axes from their directions in the patient, or None if they are degenerate.

    Oblique axes go to the nearest patient axis, each used once: the largest cosine is assigned first.

    Args:
        directions: (3, 3), row i the direction in LPS (DICOM) coordinates in which index i rises; any length.
    """
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not np.isfinite(directions).all() or (lengths == 0).any():
        return None
    cosines = directions / lengths
    left = np.abs(cosines)
    letters = ["", "", ""]
    for _ in range(3):
        axis, patient = (int(i) for i in np.unravel_index(np.argmax(left), left.shape))
        letter = _POSITIVE_LPS[patient]
        letters[axis] = letter if cosines[axis, patient] > 0 else _OPPOSITE[letter]
        left[axis, :] = -1
        left[:, patient] = -1
    return "".join(letters)


def rescale(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """Return ``slope * stored + intercept`` as uint8, int16 or uint16 if one holds it exactly, else float32.

    Whole-number scalings of integers (every CT) stay integers; without a scaling the stored type is kept where it is
    one of these.
    """
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if (slope, intercept) == (1, 0) and stored.dtype in (np.uint8, np.int16, np.uint16, np.float32):
        return stored
    if stored.dtype.kind in "iub" and float(slope).is_integer() and float(intercept).is_integer() and stored.size:
        ends = [int(stored.min()) * int(slope) + int(intercept), int(stored.max()) * int(slope) + int(intercept)]
        for kind in (np.int16, np.uint16):
            if min(ends) >= np.iinfo(kind).min and max(ends) <= np.iinfo(kind).max:
                return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(kind)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


PLANES = ("axial", "coronal", "sagittal")
"""The planes that a volume in radiological order (Z, Y, X) is cut into: along its first, second, third axis."""
_THINNER = 1.05  # a spacing counts as larger from this ratio on
_STRIP = 16  # px; shorter sides are no side of an image


def acquisition_plane(shape: tuple[int, ...], spacing: tuple[float, float, float] | None) -> str:
    """Return the plane in which a volume was acquired: the pair of axes with the smallest spacing; ties are axial.

    Where the spacing says nothing, an axis shorter than 16 voxels is the one that counts slices.

    Args:
        shape: (Z, Y, X, ...) in radiological order.
        spacing: (z, y, x) mm, or None.

    >>> acquisition_plane((180, 512, 24), (0.5, 0.5, 4.0))
    'sagittal'
    """
    across = 0
    if spacing is not None and max(spacing) > _THINNER * spacing[0]:
        across = max(range(3), key=lambda axis: spacing[axis])
    if min(side for axis, side in enumerate(shape[:3]) if axis != across) < _STRIP:
        across = min(range(3), key=lambda axis: shape[axis])
    return PLANES[across]


def cut(values: NDArray[Any], plane: str) -> NDArray[Any]:
    """Return a view (N, H, W, ...) of a volume (Z, Y, X, ...) in radiological order, as its slices are looked at.

    Axial slices run from feet to head, coronal ones from front to back, sagittal ones from right to left; the head is
    up in the latter two. Writing into the view writes into the volume.

    Raises:
        UsageError: no such plane.
    """
    if plane not in PLANES:
        raise unknown_name("plane", plane, PLANES)
    if plane == "axial":
        return values
    return np.moveaxis(values, PLANES.index(plane), 0)[:, ::-1]


def cut_spacing(spacing: tuple[float, float, float], plane: str) -> tuple[float, float, float]:
    """Return the spacing (across, down, right) of :func:`cut` from (z, y, x)."""
    across = PLANES.index(plane)
    down, right = (step for axis, step in enumerate(spacing) if axis != across)
    return spacing[across], down, right
