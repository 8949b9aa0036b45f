"""Regions of a prediction's error: components in a fixed order, their inmost pixel, their middle pixel, a random one.

Integers throughout, with fixed rules for ties; ``runs.py`` has the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmseg.protocol import runs as kernels
from dmseg.rng import Stream
from dmseg.types import Mask, pack_mask_uint64, zero_or_one

Pixel = tuple[int, int]
"""Row and column."""

MISSED, SURPLUS = 1, 2
"""The two signs of an error: in the reference only, in the prediction only."""


@dataclass(frozen=True, slots=True)
class Region:
    """Pixels as a table of horizontal runs in raster order, int64 (n, 5); columns as in ``runs.py``."""

    runs: NDArray[np.int64]

    def __bool__(self) -> bool:
        return len(self.runs) > 0

    def of_sign(self, sign: int) -> Region:
        """Return the part that is missed or the part that is surplus."""
        return self._part(self.runs[:, kernels.SIGN] == sign)

    def components(self) -> list[Region]:
        """Return the 8-connected components of one sign, largest first; ties: missed first, then by first pixel."""
        areas = kernels.component_areas(self.runs)
        first_runs = np.flatnonzero(areas)
        order = np.lexsort((first_runs, self.runs[first_runs, kernels.SIGN], -areas[first_runs]))
        return [self._component(int(first_runs[index])) for index in order]

    def largest(self) -> Region:
        """Return the first of :meth:`components`."""
        return self._component(kernels.largest_component(self.runs))

    def _component(self, first_run: int) -> Region:
        return self._part(self.runs[:, kernels.COMPONENT] == first_run)

    def _part(self, wanted: NDArray[np.bool_]) -> Region:
        """Return whole components, named anew by their first run in the smaller table."""
        kept = np.flatnonzero(wanted)
        runs = self.runs[kept]
        runs[:, kernels.COMPONENT] = np.searchsorted(kept, runs[:, kernels.COMPONENT])
        return Region(runs)

    def inmost_pixel(self) -> Pixel:
        """Return the pixel farthest from the outside; ties: nearest to the centroid, then raster order."""
        _, row, column = kernels.deepest(self.runs, True, np.empty((0, 2), dtype=np.int64))
        return row, column

    def deepest_pixel(self, clicked: Sequence[Pixel] = ()) -> tuple[int, Pixel]:
        """Return the squared distance to the outside and the pixel where it is greatest; ties: raster order.

        ``clicked`` pixels are passed over; the distance is -1 if no other is left.
        """
        taken = np.array(clicked, dtype=np.int64).reshape(-1, 2)
        depth, row, column = kernels.deepest(self.runs, False, taken)
        return depth, (row, column)

    def middle_pixel(self) -> Pixel:
        """Return the pixel nearest to the centroid; ties: raster order."""
        row, column = kernels.middle(self.runs)
        return row, column

    def random_pixel(self, draw: Stream) -> Pixel:
        """Return a uniform pixel."""
        ends = np.cumsum(self.runs[:, kernels.STOP] - self.runs[:, kernels.START])
        rank = draw.integer(0, int(ends[-1]) - 1)
        run = int(np.searchsorted(ends, rank, side="right"))
        return int(self.runs[run, kernels.ROW]), int(self.runs[run, kernels.STOP] + rank - ends[run])


def error_region(reference: Mask, prediction: Mask) -> Region:
    """Return the pixels in which two (H, W) masks differ; empty if they are equal."""
    words = pack_mask_uint64(reference), pack_mask_uint64(prediction)
    runs, foreign = kernels.label_runs(*words, reference.shape[1])
    if foreign:
        return error_region(zero_or_one(reference), zero_or_one(prediction))
    return Region(runs)


def region_of(mask: Mask) -> Region:
    """Return the pixels of a (H, W) mask, all as missed ones."""
    return error_region(mask, np.zeros_like(mask))
