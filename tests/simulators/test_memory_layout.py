"""The memory layout of an array is no property of the image: no operation depends on it or passes on a surprise."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.simulators import OPS, apply


def picture(channels: int) -> np.ndarray:
    yy, xx = np.mgrid[:64, :64]
    grey = 60 + 120 * np.exp(-((yy - 20) ** 2 + (xx - 44) ** 2) / 150)
    return np.stack([grey, grey * 0.7, grey * 0.5], axis=2)[..., :channels].astype(np.uint8).squeeze()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(OPS))
def test_result_is_contiguous_and_does_not_depend_on_the_layout(name: str, channels: int) -> None:
    image = picture(channels)
    axes = [{"axis": axis} for axis in (0, 1)] if "axis" in OPS[name].parameters else [{}]
    for chosen in axes:
        expected = apply(name, image, key="layout", **chosen)
        turned = np.asfortranarray(image)
        assert not turned.flags.c_contiguous
        found = apply(name, turned, key="layout", **chosen)
        assert expected.flags.c_contiguous and found.flags.c_contiguous
        assert np.array_equal(expected, found)


def test_ghosting_after_ringing_keeps_the_picture_in_place() -> None:
    """Ringing along rows once handed on a transposed view, into whose copy the ghosts were then written and lost."""
    image = picture(3)
    rung = apply("gibbs_ringing", image, axis=0, fraction=0.6)
    ghosted = apply("mr_ghosting", rung, axis=0, ghosts=4, intensity=0.2, phase=0.0)
    assert np.corrcoef(ghosted.ravel(), image.ravel())[0, 1] > 0.95
