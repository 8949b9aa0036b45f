"""The wrong pixels of a prediction as horizontal runs, labelled into components, and the depth of pixels inside them.

Kernels only; ``regions.py`` is what the rest of the package calls. All arithmetic is in integers, so the same pixel is
found on every machine. A sign is 1 for missed pixels (in the reference only) and 2 for surplus ones.

Depth is the squared distance to the nearest pixel outside of the region, beyond the frame counting as outside. The
vertical distance to the outside is filled in over the region's box; a pixel's depth is then the least of
``dx**2 + vertical**2`` along its row. It is worked out only where the vertical distance and the ends of the run still
allow a depth as great as the greatest found so far.
"""

from __future__ import annotations

import math

import numpy as np

from dmseg.compiled import compile_function, compile_inline

_ZERO = np.uint64(0)
_ONES = np.uint64(0x0101010101010101)
_BYTE = np.uint64(0xFF)
ROW, START, STOP, SIGN, COMPONENT = range(5)
"""Columns of a table of runs: row, first column, column after the last, sign, component."""
_NONE_FOUND = np.int64(-1)
_ROUNDING = 1e-6
"""Far more than the error of a root, so that no pixel is passed over for it."""


@compile_function
def label_runs(reference, prediction, width):  # type: ignore[no-untyped-def]
    """Return the table of runs, int64 (n, 5) in raster order, and the bits that no 0/1 byte has.

    Args:
        reference, prediction: (H, ceil(W / 8)) masks as :func:`~dmseg.types.pack_mask_uint64` gives them.
        width: W.

    Runs of one sign that touch, also diagonally, are one component, named by the index of its first run.
    """
    height, n_words = reference.shape
    runs = np.empty((max(1024, 2 * width), 5), np.int64)
    n = 0
    previous = 0
    foreign = _ZERO
    for i in range(height):
        if n + width > len(runs):
            longer = np.empty((2 * len(runs), 5), np.int64)
            longer[:n] = runs[:n]
            runs = longer
        first = n
        sign = np.int64(0)
        if not _rows_differ(reference, prediction, i):
            continue
        for k in range(n_words):
            in_reference = reference[i, k]
            in_prediction = prediction[i, k]
            missed = in_reference & ~in_prediction
            surplus = in_prediction & ~in_reference
            foreign |= missed | surplus
            if (missed == _ZERO and surplus == _ZERO and sign == 0) or (missed == _ONES and sign == 1):
                continue
            if surplus == _ONES and sign == 2:
                continue
            for byte in range(8):
                found = np.int64(missed & _BYTE) + 2 * np.int64(surplus & _BYTE)
                missed >>= np.uint64(8)
                surplus >>= np.uint64(8)
                if found == sign:
                    continue
                if sign:
                    runs[n - 1, STOP] = 8 * k + byte
                if found:
                    runs[n, ROW] = i
                    runs[n, START] = 8 * k + byte
                    runs[n, SIGN] = found
                    n += 1
                sign = found
            if foreign & ~_ONES:
                return runs[:n], foreign & ~_ONES
        if sign:
            runs[n - 1, STOP] = width
        _join_rows(runs, previous, first, n, i)
        previous = first
    for index in range(n):
        runs[index, COMPONENT] = runs[runs[index, COMPONENT], COMPONENT]
    return runs[:n], _ZERO


@compile_function
def _rows_differ(reference, prediction, i):  # type: ignore[no-untyped-def]
    """Return whether row i of two masks differs."""
    different = _ZERO
    for k in range(reference.shape[1]):
        different |= reference[i, k] ^ prediction[i, k]
    return different != _ZERO


@compile_function
def _join_rows(runs, previous, first, n, row):  # type: ignore[no-untyped-def]
    """Give the runs first..n-1 of a row their component, joining those of the row above (previous..first-1)."""
    candidate = previous
    for index in range(first, n):
        runs[index, COMPONENT] = index
        while candidate < first and runs[candidate, STOP] < runs[index, START]:
            candidate += 1
        above = candidate
        while above < first and runs[above, START] <= runs[index, STOP]:
            if runs[above, ROW] == row - 1 and runs[above, SIGN] == runs[index, SIGN]:
                a = _root(runs, above)
                b = _root(runs, index)
                runs[max(a, b), COMPONENT] = min(a, b)
            above += 1


@compile_function
def _root(runs, index):  # type: ignore[no-untyped-def]
    """Return the first run of a component, halving the path to it."""
    while runs[index, COMPONENT] != index:
        runs[index, COMPONENT] = runs[runs[index, COMPONENT], COMPONENT]
        index = runs[index, COMPONENT]
    return index


@compile_function
def component_areas(runs):  # type: ignore[no-untyped-def]
    """Return the number of pixels of each component at the index of its first run, 0 elsewhere, int64 (n,)."""
    areas = np.zeros(len(runs), np.int64)
    for index in range(len(runs)):
        areas[runs[index, COMPONENT]] += runs[index, STOP] - runs[index, START]
    return areas


@compile_function
def largest_component(runs):  # type: ignore[no-untyped-def]
    """Return the component with the most pixels; equal ones: missed before surplus, then the first in raster order."""
    areas = component_areas(runs)
    best = 0
    for index in range(1, len(runs)):
        if areas[index] > areas[best] or (areas[index] == areas[best] and runs[index, SIGN] < runs[best, SIGN]):
            best = index
    return best


@compile_function
def middle(runs):  # type: ignore[no-untyped-def]
    """Return row and column of the pixel of the runs nearest to their centroid, the first in raster order if equal."""
    n, sum_y, sum_x = _moments(runs)
    best = (np.int64(1) << 62, np.int64(0), np.int64(0))
    for index in range(len(runs)):
        y = runs[index, ROW]
        for near in (sum_x // n, sum_x // n + 1):
            x = min(max(near, runs[index, START]), runs[index, STOP] - 1)
            candidate = (_badness(y, x, n, sum_y, sum_x), y, x)
            if candidate < best:
                best = candidate
    return best[1], best[2]


@compile_function
def _moments(runs):  # type: ignore[no-untyped-def]
    """Return the number of pixels of the runs, and the sums of their rows and columns."""
    n = np.int64(0)
    sum_y = np.int64(0)
    sum_x = np.int64(0)
    for index in range(len(runs)):
        length = runs[index, STOP] - runs[index, START]
        n += length
        sum_y += length * runs[index, ROW]
        sum_x += length * (runs[index, START] + runs[index, STOP] - 1) // 2
    return n, sum_y, sum_x


@compile_inline
def _badness(y, x, n, sum_y, sum_x):  # type: ignore[no-untyped-def]
    """Return n times the squared distance to the centroid, less what is the same for all pixels."""
    return n * (y * y + x * x) - 2 * (y * sum_y + x * sum_x)


@compile_function
def deepest(runs, central, clicked):  # type: ignore[no-untyped-def]
    """Return the greatest depth of a pixel of the runs, and row and column of a pixel that has it.

    Args:
        runs: the runs of a region, at least one.
        central: among equal pixels, whether the nearest to the centroid is taken, and then the first in raster order,
            or at once the first in raster order.
        clicked: (k, 2) int64 rows and columns of pixels that are passed over; depth -1 if that leaves none.
    """
    top, left, vertical = _vertical_distances(runs)
    n, sum_y, sum_x = _moments(runs) if central else (np.int64(0), np.int64(0), np.int64(0))
    depth = _NONE_FOUND
    best = (np.int64(0), np.int64(0), np.int64(0))
    reach = np.int64(0)
    for turn in range(len(runs)):
        index = (turn + len(runs) // 2) % len(runs)  # from the middle, where the depth soon rules out most of the rest
        y = runs[index, ROW]
        line = vertical[y - top]
        x = runs[index, START] + reach
        while x < runs[index, STOP] - reach:
            here = _depth(line, x - left, depth)
            if here < depth:
                # one pixel further the distance to the outside is greater by at most 1
                x += 1 + np.int64(math.sqrt(depth) - math.sqrt(here) - _ROUNDING)
                continue
            if not _is_among(y, x, clicked):
                candidate = (_badness(y, x, n, sum_y, sum_x), y, x)
                if here > depth:
                    depth = here
                    best = candidate
                    while (reach + 1) * (reach + 1) < depth:
                        reach += 1
                elif candidate < best:
                    best = candidate
            x += 1
    return depth, best[1], best[2]


@compile_function
def _vertical_distances(runs):  # type: ignore[no-untyped-def]
    """Return the first row and column of a grid around the runs, and on it the distance to the outside up or down.

    The grid, int32, has a column of outside on either side.
    """
    top = runs[0, ROW]
    left = runs[:, START].min() - 1
    grid = np.zeros((runs[-1, ROW] - top + 1, runs[:, STOP].max() - left + 1), np.int32)
    for index in range(len(runs)):
        grid[runs[index, ROW] - top, runs[index, START] - left : runs[index, STOP] - left] = 1
    for i in range(1, grid.shape[0]):
        for j in range(grid.shape[1]):
            grid[i, j] *= grid[i - 1, j] + 1
    for j in range(grid.shape[1]):
        grid[-1, j] = min(grid[-1, j], 1)
    for i in range(grid.shape[0] - 2, -1, -1):
        for j in range(grid.shape[1]):
            grid[i, j] = min(grid[i, j], grid[i + 1, j] + 1)
    return top, left, grid


@compile_inline
def _depth(line, x, enough):  # type: ignore[no-untyped-def]
    """Return the depth of a pixel of a row of vertical distances, or some lesser number than ``enough`` if it is."""
    depth = np.int64(line[x]) ** 2
    dx = 1
    while dx * dx < depth and depth >= enough:
        for side in (x - dx, x + dx):
            depth = min(depth, dx * dx + np.int64(line[side]) ** 2)
        dx += 1
    return depth


@compile_function
def _is_among(y, x, pixels):  # type: ignore[no-untyped-def]
    """Return whether a pixel is one of (k, 2) rows and columns."""
    found = False
    for index in range(len(pixels)):
        found |= pixels[index, 0] == y and pixels[index, 1] == x
    return found
