"""3-D scores: against a brute-force reference, exact shapes, symmetry, and frozen values of surface-distance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.metrics import score_volume
from dmseg.metrics.volumes import cell_areas

SPACING = (3.0, 0.8, 1.1)
FROZEN = [0.6593716730644564, 0.8713695411323106, 0.9952327273687126, 1.0, 3.0, 3.2557641192199416]


def _ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    index = np.ogrid[tuple(slice(0, side) for side in shape)]
    return np.asarray(sum(((i - c) * s) ** 2 for i, c, s in zip(index, centre, SPACING, strict=True)) <= radius**2)


def _surface(mask: NDArray[np.bool_]) -> list[tuple[tuple[float, ...], float]]:
    """Corner by corner: where its eight voxels differ, and the area there."""
    cells, areas = np.pad(mask, 1), cell_areas(SPACING)
    found = []
    for corner in itertools.product(*(range(side - 1) for side in cells.shape)):
        code = 0
        for step in itertools.product((0, 1), repeat=3):
            code = 2 * code + int(cells[tuple(c + s for c, s in zip(corner, step, strict=True))])
        if code not in (0, 255):
            found.append((tuple(c * s for c, s in zip(corner, SPACING, strict=True)), float(areas[code])))
    return found


def _brute_force(a: NDArray[np.bool_], b: NDArray[np.bool_], tolerance: float) -> tuple[float, float, float]:
    surfaces = [_surface(a), _surface(b)]
    within = whole = largest = hd95 = 0.0
    for mine, other in (surfaces, surfaces[::-1]):
        points = np.array([point for point, _ in other])
        rows = sorted((float(np.sqrt(((points - point) ** 2).sum(axis=1)).min()), area) for point, area in mine)
        total = math.fsum(area for _, area in rows)
        whole += total
        within += math.fsum(area for distance, area in rows if distance <= tolerance + 1e-9)
        largest = max(largest, rows[-1][0])
        reached = 0.0
        for distance, area in rows:
            reached += area
            if reached >= 0.95 * total - 1e-9:
                hd95 = max(hd95, distance)
                break
    return within / whole, hd95, largest


def test_scores_are_those_of_a_brute_force_search() -> None:
    rng = np.random.default_rng(3)
    for _ in range(3):
        a = _ball((7, 12, 11), (3, 6, 5), 4.0) ^ (rng.random((7, 12, 11)) < 0.02)
        b = _ball((7, 12, 11), (3.5, 5, 6), 3.6) ^ (rng.random((7, 12, 11)) < 0.02)
        found = score_volume(a, b, spacing=SPACING, tolerances=(1.5,))
        assert (found.nsd[1.5], found.hd95, found.hd) == pytest.approx(_brute_force(a, b, 1.5), abs=1e-9)
        assert found.dice == 2 * (a & b).sum() / (a.sum() + b.sum())


def test_frozen_values_of_surface_distance() -> None:
    """surface-distance 0.1 of two balls, spacing 3 x 0.8 x 1.1 mm."""
    a, b = _ball((12, 30, 26), (6, 14, 12), 8.0), _ball((12, 30, 26), (6.4, 15, 13), 7.2)
    found = score_volume(a, b, spacing=SPACING)
    assert [*found.nsd.values(), found.hd95, found.hd] == pytest.approx(FROZEN, abs=1e-9)


def test_areas_of_flat_cuts_are_exact_and_do_not_depend_on_direction() -> None:
    areas = cell_areas(SPACING)
    z, y, x = SPACING
    assert areas[0b11110000] == pytest.approx(y * x) and areas[0b11001100] == pytest.approx(z * x)
    assert areas[0b10101010] == pytest.approx(z * y)
    assert areas[0] == areas[255] == 0
    assert np.allclose(areas, areas[::-1])  # a mask and its complement have one surface
    for order in itertools.permutations(range(3)):
        turned = cell_areas(tuple(SPACING[axis] for axis in order))
        for code in range(256):
            cell = np.array([code >> (7 - bit) & 1 for bit in range(8)]).reshape(2, 2, 2).transpose(order)
            assert turned[int("".join(map(str, cell.ravel())), 2)] == pytest.approx(areas[code])


def test_empty_masks_count_as_in_images() -> None:
    none, some = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    both = score_volume(none, none)
    assert (both.dice, both.nsd[2], both.hd95) == (1.0, 1.0, 0.0)
    missed = score_volume(some, none)
    assert (missed.dice, missed.nsd[2], missed.hd95) == (0.0, 0.0, math.inf) and not missed.defined
    assert score_volume(some, some).hd == 0


@pytest.mark.parametrize(
    ("a", "b", "spacing", "words"),
    [
        (np.zeros((3, 4)), np.zeros((3, 4)), SPACING, "slices, height, width"),
        (np.zeros((3, 4, 5)), np.zeros((3, 4, 6)), SPACING, "one grid"),
        (np.full((3, 4, 5), 2), np.zeros((3, 4, 5)), SPACING, "other than 0 and 1"),
        (np.zeros((3, 4, 5)), np.zeros((3, 4, 5)), (1, 0, 1), "three positive"),
    ],
)
def test_wrong_arguments_are_named(
    a: NDArray[np.generic], b: NDArray[np.generic], spacing: tuple[float, float, float], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        score_volume(a, b, spacing=spacing)
