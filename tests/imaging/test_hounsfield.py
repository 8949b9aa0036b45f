"""CT that is not in Hounsfield units: recognised by where its values lie, converted by name, refused otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg import imaging
from dmseg.errors import DataError, UsageError
from dmseg.types import Window


def _body(side: int = 96) -> np.ndarray:
    """Return HU of a body in air: fat, soft tissue, some bone; noise of 8 HU."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    radius = np.hypot(x, 1.3 * y)
    hu = np.full((side, side), -1000.0)
    hu[radius < 0.45] = -100
    hu[radius < 0.38] = 50
    hu[np.hypot(x, y - 0.25) < 0.06] = 700
    return np.round(hu + np.random.default_rng(3).normal(0, 8, hu.shape)).astype(np.int16)


CONVERSIONS = {
    "hu+32768": lambda hu: (hu.astype(np.int32) + 32768).astype(np.uint16),
    "hu+1024": lambda hu: np.maximum(hu + 1024, 0).astype(np.uint16),
    "hu-1024": lambda hu: (hu - 1024).astype(np.int16),
    "hu-unsigned": lambda hu: hu.view(np.uint16),
    "0..1": lambda hu: np.clip((hu + 160) / 400, 0, 1).astype(np.float32),
    "0..255": lambda hu: np.clip((hu + 160) * (255 / 400), 0, 255).astype(np.int16),
    "-1..1": lambda hu: np.clip((hu - 40) / 200, -1, 1).astype(np.float32),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_scale_is_recognised_and_its_conversion_gives_the_hounsfield_units_back(name: str) -> None:
    hu = _body()
    values = CONVERSIONS[name](hu)
    assert name in imaging.recognise_scale(values).names
    with pytest.raises(DataError, match=f"not in Hounsfield units.*--rescale {name.replace('+', '[+]')}"):
        imaging.check_hounsfield(values, "a.png")
    rescale = imaging.parse_rescale(name, Window(40, 400))
    seen = np.clip(hu, -160, 240)
    assert np.abs(np.clip(rescale.to_hu(values), -160, 240) - seen).max() <= 1.6  # a step of 255 in 400 HU
    assert np.allclose(rescale.from_hu(rescale.to_hu(values), values.dtype), values)


@pytest.mark.parametrize("padding", [None, -2000, -3024])
def test_hounsfield_units_are_recognised_with_and_without_padding(padding: int | None) -> None:
    hu = _body()
    if padding is not None:
        y, x = np.mgrid[:96, :96] - 47.5
        hu[np.hypot(x, y) > 47] = padding
    assert imaging.recognise_scale(hu).names == ("hu",)
    assert imaging.recognise_scale(hu.astype(np.float32)).names == ("hu",)
    imaging.check_hounsfield(hu, "a.dcm")


def test_unknown_scales_are_refused_with_what_was_seen() -> None:
    scaled = ((_body().astype(float) + 1100) * 30).astype(np.uint16)
    for values in (scaled, np.zeros((9, 9), np.int16), np.full((9, 9), np.nan), _body() / 300.0):
        with pytest.raises(DataError, match=r"a.png: a CT image that is not in Hounsfield units.*A[.][.]B=C[.][.]D"):
            imaging.check_hounsfield(values, "a.png")


def test_spans_are_linear_and_bad_names_are_usage_errors() -> None:
    rescale = imaging.parse_rescale("0..4095=-1000..3095")
    assert rescale.to_hu(np.array([0, 1040], np.uint16)).tolist() == [-1000, 40]
    assert imaging.parse_rescale("hu+1000").from_hu(np.array([-2000, 40.4]), np.dtype(np.uint16)).tolist() == [0, 1040]
    for text in ("hu*2", "1..0", "0..1", "0..1=5..2", "", "hu+"):
        with pytest.raises(UsageError, match="--rescale"):
            imaging.parse_rescale(text)


def test_a_window_that_shows_nothing_is_an_error_and_one_that_shows_little_is_not() -> None:
    hu = _body()
    for values in (CONVERSIONS["hu+32768"](hu), CONVERSIONS["0..1"](hu), np.full((8, 8), np.nan, np.float32)):
        with pytest.raises(DataError, match=r"40/400.*shows nothing"):
            imaging.check_visible(values, Window(40, 400), "a.png")
    imaging.check_visible(hu, Window(40, 400), "a.png")
    dot = np.full((96, 96), -1000, np.int16)
    dot[40:44, 40:44] = 60
    imaging.check_visible(dot, Window(40, 400), "a.png")
