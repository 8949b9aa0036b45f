"""Images that look different at every visit: what changes, what never does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmseg.errors import UsageError
from dmseg.rng import Stream
from dmseg.training.augmentation import Augmentation, view
from dmseg.training.config import load_config

PLAIN = Augmentation(
    window=1.0, gamma=1.0, black=0.0, white=0.0, inverted=0.0, tinted=0.0, tint=1.0, drawn=0.0,
    radius=(0.02, 0.25), flat=0.4, waves=0.5, difference=(20.0, 90.0), texture=1.0, blur=2.0,
)  # fmt: skip


def picture(seed: int = 0, shape: tuple[int, int] = (60, 90)) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 160, (*shape, 3), dtype=np.uint8)


def block(top: int, left: int, height: int, width: int, shape: tuple[int, int] = (60, 90)) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top : top + height, left : left + width] = True
    return mask


def test_no_change_asked_for_changes_nothing() -> None:
    image, mask = picture(), block(10, 20, 12, 30)
    seen = view(PLAIN, [mask], Stream("plain"))
    assert np.array_equal(seen.apply(image), image) and np.array_equal(seen.masks[0], mask)


def test_the_same_key_gives_the_same_picture_and_the_given_one_is_not_touched() -> None:
    chosen = load_config("mini-sam").appearance
    assert chosen is not None
    image = picture()
    kept = image.copy()
    masks = [block(10, 20, 12, 30), block(40, 5, 8, 9)]
    results = [view(chosen, masks, Stream("key", n)).apply(image).tobytes() for n in (0, 1, 2, 3, 0, 1, 2, 3)]
    assert results[:4] == results[4:] and len(set(results)) == 4
    assert np.array_equal(image, kept)


@given(st.integers(0, 10_000))
def test_objects_are_never_cut_by_the_window_nor_lost(key: int) -> None:
    masks = [block(50, 80, 10, 10), block(20, 30, 1, 1)]
    seen = view(replace(PLAIN, window=0.3), masks, Stream("window", key))
    height, width = seen.masks[0].shape
    assert [mask.sum() for mask in seen.masks] == [100, 1]
    assert height >= 40 and width >= 60 and seen.apply(picture()).shape == (height, width, 3)


@given(st.integers(0, 10_000))
def test_drawn_objects_take_the_place_of_the_pictures_own_and_can_be_seen(key: int) -> None:
    flat = np.full((80, 80, 3), 120, np.uint8)
    own = [block(0, 0, 5, 5, (80, 80)), block(9, 9, 5, 5, (80, 80))]
    seen = view(replace(PLAIN, drawn=1.0, blur=0.0, texture=0.0), own, Stream("drawn", key))
    found = seen.apply(flat)
    assert len(seen.masks) == 2 and all(mask.any() for mask in seen.masks)
    assert not (seen.masks[0] & seen.masks[1]).any()
    untouched = ~(seen.masks[0] | seen.masks[1])
    assert np.array_equal(found[untouched], flat[untouched])
    difference = np.abs(found.astype(int) - flat).max(2)
    assert all(difference[mask].min() >= 19 for mask in seen.masks)  # 20, rounded


def test_a_drawn_object_stays_visible_where_grey_ends() -> None:
    for grey in (0, 255):
        flat = np.full((80, 80, 3), grey, np.uint8)
        for key in range(20):
            seen = view(replace(PLAIN, drawn=1.0, blur=0.0), [block(0, 0, 5, 5, (80, 80))], Stream("edge", key))
            assert np.abs(seen.apply(flat).astype(int) - grey)[seen.masks[0]].min() >= 19


def test_grey_stays_grey_unless_it_is_tinted() -> None:
    grey, mask = picture()[..., 0], block(10, 20, 12, 30)
    for tinted in (0.0, 1.0):
        chosen = replace(PLAIN, gamma=2.0, tint=2.0, tinted=tinted, drawn=1.0)
        seen = view(chosen, [mask], Stream("grey", int(tinted)))
        found, colour = seen.apply(grey), seen.apply(np.repeat(grey[..., None], 3, 2))
        assert found.ndim == (3 if tinted else 2)
        assert np.array_equal(colour if tinted else colour[..., 0], found)
        assert tinted or (colour == colour[..., :1]).all()


@given(st.integers(0, 10_000))
def test_tones_keep_their_order_or_turn_it_around(key: int) -> None:
    chosen = replace(PLAIN, gamma=2.0, black=0.3, white=0.3, inverted=0.5, tinted=0.5, tint=1.5)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    found = view(chosen, [block(0, 0, 1, 1, (1, 256))], Stream("tones", key)).apply(ramp)[0].astype(int)
    steps = np.diff(found, axis=0)
    assert (steps >= 0).all() or (steps <= 0).all()
    assert np.ptp(found, axis=0).min() > 80


def test_kept_features_refuse_changing_pictures() -> None:
    with pytest.raises(UsageError, match='appearance = "none"'):
        load_config("mini-ft", ["cache=true", "augment=false"])


def test_stored_levels_refuse_an_appearance_which_comes_before_degradation() -> None:
    with pytest.raises(UsageError, match='degradation = "fresh"'):
        load_config("mini-sam", ["levels=['clear', 'lq3']"])
    assert load_config("mini-sam", ["levels=['clear', 'lq3']", "appearance=none"]).appearance is None
    assert load_config("mini-sam", ["levels=['clear', 'lq3']", "degradation=fresh"]).appearance is not None
