"""The losses are what their equations say."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from dmseg.training import losses  # noqa: E402
from dmseg.training.config import SUPPORTS  # noqa: E402

FOCAL = (0.25, 2.0)
EPSILON = 1e-6


def mask(n: int = 2, side: int = 16, low: int = 4, high: int = 12) -> torch.Tensor:
    target = torch.zeros(n, 1, side, side)
    target[..., low:high, low:high] = 1
    return target


def test_dice_and_focal_vanish_for_sure_right_answers_and_not_for_wrong_ones() -> None:
    target = mask()
    sure = (target * 2 - 1) * 30
    assert losses.dice_loss(sure, target).max() < 1e-3
    assert losses.focal_loss(sure, target, *FOCAL).max() < 1e-6
    assert losses.dice_loss(-sure, target).min() > 0.98
    assert losses.focal_loss(-sure, target, *FOCAL).min() > 5


def test_focal_of_undecided_pixels_is_the_printed_formula() -> None:
    target = mask()
    share = target.mean().item()
    expected = (0.25 * share + 0.75 * (1 - share)) * 0.5**2 * math.log(2)
    assert losses.focal_loss(torch.zeros_like(target), target, *FOCAL) == pytest.approx([expected] * 2)


def test_dice_has_a_value_for_each_sample() -> None:
    target = torch.cat([mask(1), 1 - mask(1)])
    logits = (mask(2) * 2 - 1) * 30
    right, wrong = losses.dice_loss(logits, target)
    assert right < 1e-3 < 0.9 < wrong


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), support=st.sampled_from(["soft", "binary"]))
def test_reconstruction_ignores_any_change_of_the_background(seed: int, support: str) -> None:
    draw = torch.Generator().manual_seed(seed)
    enhanced, clear = (torch.randn(2, 5, 8, 8, generator=draw) for _ in range(2))
    target = (torch.rand(2, 1, 32, 32, generator=draw) > 0.5).float()
    target[..., : int(torch.randint(4, 28, (1,), generator=draw)), :] = 0
    cells = torch.nn.functional.adaptive_avg_pool2d(target, 8)
    outside = (cells == 0) if support == "soft" else (cells < 0.5)
    changed = enhanced + 100 * torch.randn(enhanced.shape, generator=draw) * outside
    before = losses.reconstruction_loss(enhanced, clear, target, support, EPSILON)
    assert torch.equal(before, losses.reconstruction_loss(changed, clear, target, support, EPSILON))
    if outside.any():
        everywhere = losses.reconstruction_loss(changed, clear, target, "global", EPSILON)
        assert not torch.equal(losses.reconstruction_loss(enhanced, clear, target, "global", EPSILON), everywhere)


@pytest.mark.parametrize("support", SUPPORTS)
def test_reconstruction_does_not_grow_with_the_object_or_the_channels(support: str) -> None:
    """A constant error of 2 costs 4, whatever the object's size."""
    for channels, low, high in ((3, 4, 12), (7, 0, 16), (1, 4, 8)):
        clear = torch.randn(1, channels, 4, 4)
        found = losses.reconstruction_loss(clear + 2, clear, mask(1, low=low, high=high), support, EPSILON)
        assert found.item() == pytest.approx(4, rel=1e-5)


def test_an_object_smaller_than_a_cell_counts_in_the_soft_support_only() -> None:
    target = torch.zeros(1, 1, 32, 32)
    target[..., 5, 5] = 1
    clear = torch.zeros(1, 2, 4, 4)
    assert losses.reconstruction_loss(clear + 1, clear, target, "soft", EPSILON).item() == pytest.approx(1, rel=1e-4)
    assert losses.reconstruction_loss(clear + 1, clear, target, "binary", EPSILON).item() == 0


def test_the_iou_estimate_is_compared_with_the_iou_reached() -> None:
    target = mask(1)
    logits = torch.full_like(target, -1.0)
    logits[..., 4:12, 4:8] = 1
    assert losses.measure_iou(logits, target).item() == pytest.approx(0.5)
    assert losses.iou_loss(torch.tensor([[0.8]]), logits, target).item() == pytest.approx(0.09, rel=1e-4)
