"""Masks are integers: the same bits everywhere, and geometrically right."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dmseg.phantoms.shapes import (
    SINES,
    TURN,
    BodyFrame,
    blob,
    cosine,
    curve,
    ellipse,
    fill,
    fill_all,
    grow,
    ribbon,
    rotate,
    shrink,
    sine,
    to_fixed_point,
)
from dmseg.rng import Stream

SHAPE = (60, 80)


def test_no_sine_is_near_a_rounding_boundary_so_every_libm_gives_the_same_table() -> None:
    exact = np.array([math.sin(2 * math.pi * k / TURN) for k in range(TURN)]) * (1 << 14)
    distance_to_half = np.abs(exact - np.floor(exact) - 0.5)
    assert distance_to_half.min() > 1e-6


def test_sine_and_cosine_are_of_unit_length_at_every_angle() -> None:
    angle = np.arange(TURN)
    length = sine(angle) ** 2 + cosine(angle) ** 2
    assert np.abs(length - (1 << 28)).max() <= 2 * (1 << 14)
    assert (SINES[: TURN // 4] >= 0).all()


def test_a_rectangle_holds_the_pixels_whose_centres_lie_inside() -> None:
    mask = fill(to_fixed_point([(9.5, 4.5), (19.5, 4.5), (19.5, 14.5), (9.5, 14.5)]), SHAPE)
    expected = np.zeros(SHAPE, np.bool_)
    expected[5:15, 10:20] = True
    assert np.array_equal(mask, expected)


def test_an_outline_beyond_the_picture_fills_what_is_visible_of_it() -> None:
    assert fill(to_fixed_point([(-50, -50), (500, -50), (500, 500), (-50, 500)]), SHAPE).all()
    assert not fill(to_fixed_point([(-50, -50), (-10, -50), (-10, -10)]), SHAPE).any()


def test_two_outlines_that_share_an_edge_share_no_pixel_and_leave_no_gap() -> None:
    left = fill(to_fixed_point([(-1, -1), (40.3, -1), (22.7, 61), (-1, 61)]), SHAPE)
    right = fill(to_fixed_point([(40.3, -1), (90, -1), (90, 61), (22.7, 61)]), SHAPE)
    assert not (left & right).any()
    assert (left | right).all()


@given(
    st.floats(10, 70), st.floats(10, 50), st.floats(3, 15), st.floats(3, 15), st.integers(0, TURN - 1)
)  # fmt: skip
def test_a_filled_ellipse_equals_the_analytic_one_up_to_its_border(
    x: float, y: float, a: float, b: float, angle: int
) -> None:
    mask = fill(ellipse((x, y), (a, b), angle, points=256), SHAPE)
    rows, columns = np.indices(SHAPE)
    turn = 2 * math.pi * angle / TURN
    u = (columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)
    v = -(columns - x) * math.sin(turn) + (rows - y) * math.cos(turn)
    level = np.hypot(u / a, v / b)
    slack = 0.06 / min(a, b) + 0.002
    assert mask[level < 1 - slack].all()
    assert not mask[level > 1 + slack].any()


@given(st.integers(0, TURN - 1))
def test_turning_there_and_back_moves_no_vertex_by_more_than_a_hundredth_of_a_pixel(angle: int) -> None:
    outline = ellipse((40, 30), (20, 8), points=32)
    back = rotate(rotate(outline, angle, (40, 30)), -angle, (40, 30))
    assert np.abs(back - outline).max() <= 4


def test_a_spline_passes_through_its_control_points() -> None:
    control = to_fixed_point([(10, 10), (50, 12), (60, 40), (20, 45)])
    assert np.array_equal(curve(control, per=6)[::6], control)
    open_curve = curve(control, per=6, closed=False)
    assert np.array_equal(open_curve[0], control[0])
    assert np.array_equal(open_curve[-1], control[-1])


def test_a_ribbon_is_as_wide_as_asked_and_tapers() -> None:
    line = to_fixed_point([(5, 30), (75, 30)])
    assert fill(ribbon(line, 4.25), SHAPE)[:, 40].sum() == 9
    taper = fill(ribbon(line, (6.25, 1.25)), SHAPE)
    assert taper[:, 8].sum() > taper[:, 40].sum() > taper[:, 72].sum()


def test_shrinking_and_growing_take_and_add_one_layer_of_border_pixels() -> None:
    mask = np.zeros(SHAPE, np.bool_)
    mask[10:20, 10:20] = True
    assert shrink(mask, 2).sum() == 36
    assert grow(mask, 1).sum() == 100 + 40
    assert shrink(np.ones(SHAPE, np.bool_), 5).all(), "the image's edge does not erode"


def test_the_union_of_outlines_is_the_union_of_their_masks() -> None:
    first, second = ellipse((20, 20), (8, 8)), ellipse((50, 40), (8, 8))
    assert np.array_equal(fill_all([first, second], SHAPE), fill(first, SHAPE) | fill(second, SHAPE))


def test_a_blob_without_harmonics_is_an_ellipse_and_with_them_is_not() -> None:
    round_ = fill(blob(Stream("b"), (40, 30), (20, 20), irregular=0.0), SHAPE)
    rough = fill(blob(Stream("b"), (40, 30), (20, 20), irregular=0.3), SHAPE)
    assert abs(int(round_.sum()) - math.pi * 400) < 12
    assert (round_ ^ rough).sum() > 50


def test_parts_of_one_frame_keep_their_neighbourhood() -> None:
    """Template points that coincide stay together under the warp, whatever part they belong to."""
    frame = BodyFrame(Stream("frame"), (40, 30), (30, 25), bend=0.08)
    first, second = frame.at([(0.2, 0.3), (0.5, 0.1)]), frame.at([(0.5, 0.1), (0.9, -0.2)])
    assert np.array_equal(first[1], second[0])


def test_a_drawn_outline_is_frozen() -> None:
    """Golden: the mask of one keyed template; another value means another phantom edition."""
    frame = BodyFrame(Stream("golden"), (40, 30), (30, 25), bend=0.05)
    stream = Stream("golden", "parts")
    mask = fill(frame.template(stream, [(-0.6, -0.4), (0.4, -0.6), (0.7, 0.3), (-0.2, 0.7)], 0.06), SHAPE)
    mask ^= fill(blob(stream, (44.5, 31.25), (12, 7), angle=700, irregular=0.2, lobes=9), SHAPE)
    assert hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() == GOLDEN


GOLDEN = "0c90e60852ca30ed4a41a7ed7bdb0189e2feb3e5023773db90260266202f2b35"
