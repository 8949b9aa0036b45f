"""Transforms give what the plan gives, for arrays, images and tensors, and never touch masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from dmseg.errors import UsageError
from dmseg.simulators import degrade
from dmseg.simulators.transforms import Degrade, Degraded
from dmseg.types import LEVELS


class Tensor:
    """What the transform uses of a torch tensor."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values

    @property
    def ndim(self) -> int:
        return self.values.ndim

    def new_tensor(self, values: np.ndarray) -> Tensor:
        return Tensor(values)


def test_transform_equals_the_function(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("ct", size=64)
    out = Degrade("ct", levels="lq3plus", seed=3)(image, key="case")
    assert np.array_equal(out, degrade(image, "lq3plus", modality="ct", key="case", seed=3))


def test_level_is_drawn_per_image_and_epoch_and_repeats(picture) -> None:  # type: ignore[no-untyped-def]
    images = [picture("mri", seed=k, size=64) for k in range(12)]
    transform = Degrade("mri", levels=LEVELS)
    first = [transform(image) for image in images]
    assert all(np.array_equal(a, b) for a, b in zip(first, map(transform, images), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, images, strict=True))
    transform.set_epoch(1)
    assert any(not np.array_equal(a, b) for a, b in zip(first, map(transform, images), strict=True))


def test_pictures_and_tensors_come_back_as_they_came(picture) -> None:  # type: ignore[no-untyped-def]
    image = picture("endoscopy", size=64)
    wanted = Degrade("endoscopy", levels="lq2")(image, key="k")
    made = Degrade("endoscopy", levels="lq2")(Pillow.fromarray(image), key="k")
    assert isinstance(made, Pillow.Image) and np.array_equal(np.asarray(made), wanted)
    tensor = Degrade("endoscopy", levels="lq2", channels_first=True)(Tensor(np.moveaxis(image, 2, 0).copy()), key="k")
    assert isinstance(tensor, Tensor) and np.array_equal(np.moveaxis(tensor.values, 0, 2), wanted)
    grey = Degrade("mri", levels="lq1", channels_first=True)(picture("mri", size=64)[None], key="g")
    assert grey.shape == (1, 64, 64)


def test_dictionary_keeps_its_masks(picture) -> None:  # type: ignore[no-untyped-def]
    case = {"image": picture("ct", size=64), "label": np.ones((64, 64), bool), "id": "case"}
    out = Degraded(("image",), Degrade("ct", levels="lq1"), name_from="id")(case)
    assert out["label"] is case["label"] and out["id"] == "case"
    assert np.array_equal(out["image"], degrade(case["image"], "lq1", modality="ct", key="case"))


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="at least one level"):
        Degrade("ct", levels=())
    with pytest.raises(UsageError, match='did you mean "lq1"'):
        Degrade("ct", levels="lq11")
    with pytest.raises(UsageError, match="has no image"):
        Degraded(("image",), Degrade("ct"))({"picture": 1})
    with pytest.raises(UsageError, match="cannot degrade a list"):
        Degrade("ct", levels="lq1")([[1] * 32] * 32)
