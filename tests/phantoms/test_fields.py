"""Random fields have the statistics that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.phantoms.fields import (
    depth_inside,
    fractal_field,
    normal_field,
    paint,
    rim,
    smooth_field,
    to_bytes,
)
from dmseg.rng import Stream


def test_normal_numbers_have_the_moments_of_the_normal_distribution() -> None:
    field = normal_field(Stream("n"), (301, 303))
    assert abs(field.mean()) < 0.015
    assert field.std() == pytest.approx(1, abs=0.01)
    assert (field**4).mean() == pytest.approx(3, abs=0.12)
    assert abs((field[:, 1:] * field[:, :-1]).mean()) < 0.015


@pytest.mark.parametrize("cell", [3.0, 12.0, (4.0, 20.0)])
def test_smooth_fields_have_unit_deviation_and_the_asked_grain(cell: float | tuple[float, float]) -> None:
    fields = np.stack([smooth_field(Stream("s", k), (160, 200), cell) for k in range(12)])
    assert fields.std() == pytest.approx(1, abs=0.12)
    step = np.abs(np.diff(fields, axis=2)).mean()
    cx = cell if isinstance(cell, float) else cell[1]
    assert 0.4 / cx < step < 1.5 / cx


def test_finer_octaves_add_detail_but_not_power() -> None:
    one, four = (
        np.stack([fractal_field(Stream("f", k), (128, 128), 32.0, octaves) for k in range(8)]) for octaves in (1, 4)
    )
    assert four.std() == pytest.approx(1, abs=0.2)
    assert np.abs(np.diff(four, axis=2)).mean() > 1.5 * np.abs(np.diff(one, axis=2)).mean()


def test_paint_replaces_the_inside_and_leaves_the_outside_alone() -> None:
    canvas = np.full((40, 40), 0.2)
    mask = np.zeros((40, 40), np.bool_)
    mask[10:30, 10:30] = True
    paint(canvas, mask, 0.9, sigma=0.8)
    assert canvas[15:25, 15:25] == pytest.approx(0.9)
    assert (canvas[:5] == 0.2).all()
    assert canvas[20, 10] == pytest.approx(0.2 + 0.7 * 0.74, abs=0.1)


def test_painting_an_empty_mask_changes_nothing() -> None:
    canvas = np.full((8, 8, 3), 0.5)
    paint(canvas, np.zeros((8, 8), np.bool_), np.array([1.0, 0, 0]))
    assert (canvas == 0.5).all()


def test_a_rim_is_brightest_on_the_border_and_depth_counts_from_it() -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask[10:30, 10:30] = True
    line = rim(mask, 1.0)
    assert line[20, 9:11].min() > 0.8 > 0.01 > line[20, 20]
    depth = depth_inside(mask)
    assert depth[10, 20] == 1 and depth[12, 20] == 3 and depth[5, 5] == 0


def test_rounding_to_bytes_is_half_up_and_saturates() -> None:
    assert to_bytes(np.array([-1.0, 0.5 / 255, 0.49 / 255, 1.0, 9.0])).tolist() == [0, 1, 0, 255, 255]
