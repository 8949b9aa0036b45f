"""Original layouts of the ultrasound sets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dmseg.phantoms import breast
from dmseg.phantoms.encoding import grey_mask, png
from dmseg.phantoms.folder import Folder, Item
from dmseg.rng import Stream
from dmseg.types import Image


def _rgb(grey: Image) -> Image:
    return np.repeat(grey[..., None], 3, axis=2)


def busi(folder: Folder, items: Iterable[Item]) -> None:
    """``Dataset_BUSI_with_GT/<class>/<class> (N).png``, masks ``_mask.png``, ``_mask_1.png``; one black normal."""
    for item in items:
        kind = item.content.facts["kind"]
        stem = f"Dataset_BUSI_with_GT/{kind}/{kind} ({item.number + 1})"
        folder.put(f"{stem}.png", png(_rgb(item.content.image)), item.key)
        for index, structure in enumerate(item.content.structures):
            suffix = f"_{index}" if index else ""
            folder.put(f"{stem}_mask{suffix}.png", png(grey_mask(structure.mask)), f"{item.key}/lesion{index}")
    key = f"{folder.name}/{folder.seed}/normal"
    normal = breast.breast(Stream(key), (290, 360), "normal").image
    folder.put("Dataset_BUSI_with_GT/normal/normal (1).png", png(_rgb(normal)), key)
    folder.put("Dataset_BUSI_with_GT/normal/normal (1)_mask.png", png(np.zeros_like(normal)), key)
