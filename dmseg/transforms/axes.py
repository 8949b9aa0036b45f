"""How arrays of channel-first libraries lie: which axis counts slices, rows and columns."""

from __future__ import annotations

import functools
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.imaging.volumes import acquisition_plane, cut

_LEFT_POSTERIOR_SUPERIOR = {0: -1, 1: -1, 2: 1}
"""World axis -> sign of the direction (against right, anterior, superior) in which an image is looked at."""


def check_axes(axes: str | None) -> str | None:
    """Return the order of the spatial axes, such as ``xyz`` or ``yx``, or raise :class:`UsageError`."""
    if axes is not None and sorted(axes) not in (["x", "y"], ["x", "y", "z"]):
        raise UsageError(f"axes={axes!r}; name each spatial axis once: xy, yx, xyz, zyx (z counts slices, y runs down)")
    return axes


def as_slices(array: NDArray[Any], axes: str) -> tuple[NDArray[Any], str]:
    """Return a view of a channel-first array as images, channels last, and its layout."""
    spatial = array.ndim - 1
    if len(axes) != spatial:
        raise UsageError(
            f"array of shape {array.shape}; axes={axes!r} names {len(axes)} spatial axes after the channel"
        )
    order = [1 + axes.index(letter) for letter in "zyx"[3 - spatial :]]
    return array.transpose([*order, 0]), "HWC" if spatial == 2 else "DHWC"


@functools.lru_cache(256)
def _read_affine(text: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each axis of an array, its world axis and sign, (3, 2), and the size of a voxel along it, (3,)."""
    library: Any = nibabel
    affine = np.frombuffer(text).reshape(4, 4)
    return library.orientations.io_orientation(affine), library.affines.voxel_sizes(affine)


def as_radiological_slices(array: NDArray[Any], affine: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Return a view of a volume (C, i, j, k) as the slices of its acquisition, as they are looked at, and its layout.

    Args:
        array: channels first.
        affine: (4, 4), from voxels to millimetres, right, anterior, superior positive.
    """
    found, spacing = _read_affine(np.asarray(affine, np.float64).tobytes())
    if not np.isfinite(found).all() or sorted(found[:, 0]) != [0, 1, 2]:
        return as_slices(array, "xyz")
    view = array
    for axis, (world, sign) in enumerate(found):
        if sign != _LEFT_POSTERIOR_SUPERIOR[int(world)]:
            view = np.flip(view, 1 + axis)
    order = [int(np.flatnonzero(found[:, 0] == world)[0]) for world in (2, 1, 0)]
    view = view.transpose([*(1 + axis for axis in order), 0])
    steps = (float(spacing[order[0]]), float(spacing[order[1]]), float(spacing[order[2]]))
    view = cut(view, acquisition_plane(view.shape[:3], steps))
    return (view[0], "HWC") if len(view) == 1 else (view, "DHWC")
