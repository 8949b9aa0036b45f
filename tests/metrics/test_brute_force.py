"""Both paths against the definition taken literally: every vertex, every pair of vertices, no shortcut."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.metrics import Score, reference, score

Mask = NDArray[np.bool_]
TOLERANCES = (0, 1, 1.5, 2, 3, 5)


def literal_vertices(mask: Mask, spacing: tuple[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners whose 2 x 2 pixels differ, and the length of the contour there, from the sixteen cases."""
    sy, sx = spacing
    cut = 0.5 * math.hypot(sy, sx)
    length = {0b0011: sx, 0b1100: sx, 0b0101: sy, 0b1010: sy, 0b0110: 2 * cut, 0b1001: 2 * cut}
    padded = np.pad(mask, 1)
    code = 8 * padded[:-1, :-1] + 4 * padded[:-1, 1:] + 2 * padded[1:, :-1] + 1 * padded[1:, 1:]
    points = np.argwhere((code > 0) & (code < 15))
    weights = np.array([length.get(int(code[i, j]), cut) for i, j in points])
    return points * np.array(spacing), weights


def literal(a: Mask, b: Mask, spacing: tuple[float, float] = (1.0, 1.0)) -> tuple[list[float], float, float]:
    """NSD, HD95 and HD by the full matrix of distances."""
    (points_a, weights_a), (points_b, weights_b) = (literal_vertices(mask, spacing) for mask in (a, b))
    matrix = np.sqrt(((points_a[:, None] - points_b[None]) ** 2).sum(axis=2))
    sides = [(matrix.min(axis=1), weights_a), (matrix.min(axis=0), weights_b)]
    whole = math.fsum(weights_a) + math.fsum(weights_b)
    nsd = [math.fsum(math.fsum(w[d <= t * (1 + 1e-9)]) for d, w in sides) / whole for t in TOLERANCES]
    quantiles = []
    for distances, weights in sides:
        levels = np.unique(distances)
        held = [math.fsum(weights[distances <= level * (1 + 1e-12)]) for level in levels]
        quantiles.append(next(x for x, h in zip(levels, held, strict=True) if h >= 0.95 * math.fsum(weights) - 1e-9))
    return nsd, float(max(quantiles)), float(max(distances.max() for distances, _ in sides))


def draw_pair(seed: int, height: int, width: int, kind: str) -> tuple[Mask, Mask]:
    """Two masks of a kind that once broke some library: noise, blobs, shifts, thin lines, frames, far corners."""
    rng = np.random.default_rng(seed)
    noise = rng.random((2, height, width))
    if kind == "salt":
        a, b = noise < rng.choice([0.02, 0.1, 0.5, 0.95], (2, 1, 1))
    elif kind == "blobs":
        a, b = ndimage.gaussian_filter(noise, (0, 2, 2)) > 0.5
    elif kind == "shifted":
        a = ndimage.gaussian_filter(noise[0], 3) > 0.5
        b = np.roll(a, (int(rng.integers(0, 4)), int(rng.integers(0, 9))), axis=(0, 1))
    elif kind == "lines":
        a, b = np.zeros((2, height, width), bool)
        a[rng.integers(height), :] = True
        b[:, rng.integers(width)] = True
        np.fill_diagonal(b, True)
    elif kind == "frame":
        a, b = np.ones((2, height, width), bool)
        b[rng.integers(height), rng.integers(width)] = False
    else:
        a, b = np.zeros((2, height, width), bool)
        a[: 1 + height // 4, : 1 + width // 4] = True
        b[height - 1 - height // 5 :, width - 1 - width // 6 :] = True
    a[rng.integers(height), rng.integers(width)] = True
    b[rng.integers(height), rng.integers(width)] = True
    return a, b


pairs = st.builds(
    draw_pair,
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 3, 7, 8, 17, 30]),
    st.sampled_from([1, 2, 5, 8, 9, 16, 24, 41]),
    st.sampled_from(["salt", "blobs", "shifted", "lines", "frame", "far"]),
)
spacings = st.sampled_from([(1.0, 1.0), (0.7, 0.7), (0.5, 2.0), (3.0, 1.25), (1.0, 0.1), (0.3, 0.9)])
reproducible = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def agrees(result: Score, expected: tuple[list[float], float, float]) -> None:
    nsd, hd95, hd = expected
    assert [*result.nsd.values(), result.hd95, result.hd] == pytest.approx([*nsd, hd95, hd], abs=1e-9, rel=0)


def check(pair: tuple[Mask, Mask], spacing: tuple[float, float]) -> None:
    a, b = pair
    expected = literal(a, b, spacing)
    result = score(a, b, spacing=spacing, tolerances=TOLERANCES)
    agrees(result, expected)
    nsd, hd95, hd = reference.boundary_scores(
        a.view(np.uint8), b.view(np.uint8), spacing, TOLERANCES, "vertex", "directed"
    )
    assert [*nsd, hd95, hd] == pytest.approx([*expected[0], *expected[1:]], abs=1e-9, rel=0)
    inner, union = int((a & b).sum()), int((a | b).sum())
    assert result.iou == inner / union and result.dice == pytest.approx(2 * result.iou / (1 + result.iou), abs=1e-12)
    assert result.pixel_accuracy == pytest.approx((a == b).mean(), abs=1e-12)


@settings(max_examples=150, **reproducible)
@given(pairs, spacings)
def test_drawn_pairs_agree_with_the_literal_definition(pair: tuple[Mask, Mask], spacing: tuple[float, float]) -> None:
    check(pair, spacing)


@pytest.mark.slow
@settings(max_examples=2000, **reproducible)
@given(pairs)
def test_two_thousand_drawn_pairs_agree_with_the_literal_definition(pair: tuple[Mask, Mask]) -> None:
    check(pair, (1.0, 1.0))


@pytest.mark.slow
@settings(max_examples=500, **reproducible)
@given(pairs, spacings)
def test_drawn_pairs_with_drawn_spacing_agree(pair: tuple[Mask, Mask], spacing: tuple[float, float]) -> None:
    check(pair, spacing)


@pytest.mark.parametrize("spacing", [(0.5, 2.0), (2.0, 0.5), (3.0, 0.7), (0.31, 0.73)])
def test_anisotropic_pixels_agree_with_the_literal_definition(spacing: tuple[float, float]) -> None:
    y, x = np.mgrid[:60, :70]
    a = (y - 30) ** 2 + (x - 33) ** 2 < 400
    b = ((y - 27) / 1.2) ** 2 + (x - 37) ** 2 < 350
    check((a, b), spacing)


@settings(max_examples=60, **reproducible)
@given(pairs)
def test_exchanging_or_turning_the_masks_changes_nothing(pair: tuple[Mask, Mask]) -> None:
    a, b = pair
    first = score(a, b)
    for other in (score(b, a), score(a.T, b.T), score(a[::-1], b[::-1]), score(a[:, ::-1], b[:, ::-1])):
        assert (other.hd95, other.hd) == (first.hd95, first.hd)
        assert list(other.nsd.values()) == pytest.approx(list(first.nsd.values()), abs=1e-12)


@settings(max_examples=60, **reproducible)
@given(pairs, st.integers(1, 9), st.integers(1, 9))
def test_background_around_both_masks_changes_no_distance(pair: tuple[Mask, Mask], rows: int, columns: int) -> None:
    a, b = pair
    wider = [np.pad(mask, ((rows, 2), (columns, 3))) for mask in pair]
    first, second = score(a, b), score(*wider)
    assert (first.iou, first.dice, first.hd95, first.hd, first.nsd) == (
        second.iou,
        second.dice,
        second.hd95,
        second.hd,
        second.nsd,
    )
