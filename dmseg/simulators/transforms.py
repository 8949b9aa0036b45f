"""The degradations as transforms of training pipelines, over the same plans; needs neither torchvision nor MONAI.

:class:`Degrade` is a callable on one image, as torchvision's transforms are; :class:`Degraded` works on a dictionary,
as MONAI's are. Both are pure: what an image gets depends on its key, the seed and the epoch, never on workers or order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmseg.errors import UsageError
from dmseg.rng import Stream
from dmseg.simulators.arrays import degrade
from dmseg.types import LEVELS, Window, check_level


@dataclass
class Degrade:
    """Degrade one image; the level is drawn from ``levels`` for each image and epoch.

    Attributes:
        modality: one of :data:`dmseg.types.MODALITIES`, or None (general operations only).
        levels: one level, or several to draw from.
        domain, ops, window: see :func:`dmseg.simulators.plan`.
        seed: of all draws.
        channels_first: arrays are (C, H, W) with C of 1 or 3, as tensors are.
        epoch: set it before each epoch (:meth:`set_epoch`) for new draws.

    Arrays, PIL images and torch tensors are accepted; an array comes back as an array, anything else as what it was.

    >>> import numpy as np
    >>> Degrade("mri", levels=("lq1", "lq3"))(np.full((32, 32), 100, np.uint8), key="patient 7").shape
    (32, 32)
    """

    modality: str | None
    levels: str | Sequence[str] = LEVELS
    domain: Sequence[str] | None = None
    ops: Sequence[str] | None = None
    window: Window | None = None
    seed: int = 0
    channels_first: bool = False
    epoch: int = 0

    def __post_init__(self) -> None:
        self.levels = (self.levels,) if isinstance(self.levels, str) else tuple(self.levels)
        if not self.levels:
            raise UsageError(f"give at least one level to draw from: {', '.join(LEVELS)}")
        self.levels = tuple(check_level(level) for level in self.levels)

    def set_epoch(self, epoch: int) -> None:
        """Make the draws of the next epoch differ from those of the last."""
        self.epoch = epoch

    def __call__(self, image: Any, key: str | None = None) -> Any:
        """Return the degraded image.

        Args:
            image: array, PIL image or torch tensor; see :class:`Degrade`.
            key: names the image; None: the digest of its pixels.
        """
        if not (isinstance(image, np.ndarray) or hasattr(image, "new_tensor") or hasattr(image, "mode")):
            raise UsageError(f"cannot degrade a {type(image).__name__}; give an array, a PIL image or a tensor")
        pixels = np.asarray(image)
        if self.channels_first and pixels.ndim == 3:
            pixels = pixels[0] if pixels.shape[0] == 1 else np.moveaxis(pixels, 0, 2)
        name = key if key is not None else hashlib.blake2b(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:32]
        name = f"{name}/{self.epoch}" if self.epoch else name
        level = Stream("transform", self.seed, name).choice(tuple(self.levels))
        made = degrade(
            pixels,
            level,
            modality=self.modality,
            domain=self.domain,
            ops=self.ops,
            key=name,
            seed=self.seed,
            window=self.window,
        )
        if self.channels_first:
            made = (
                made[None]
                if made.ndim == 2 and np.ndim(image) == 3
                else np.moveaxis(made, -1, 0)
                if made.ndim == 3
                else made
            )
        return _like(image, made)


def _like(original: Any, made: np.ndarray[Any, Any]) -> Any:
    """Return the result as what the caller gave: array, PIL image or tensor."""
    if isinstance(original, np.ndarray):
        return made
    if hasattr(original, "new_tensor"):
        return original.new_tensor(np.ascontiguousarray(made))
    from PIL import Image as Pillow

    return Pillow.fromarray(made)


@dataclass
class Degraded:
    """Degrade the images of a dictionary and leave everything else, masks too, as it is.

    Attributes:
        keys: entries that hold images.
        degrade: what is done to them.
        name_from: entry that names the case; None: the digest of the pixels.

    >>> import numpy as np
    >>> case = {"image": np.full((32, 32), 100, np.uint8), "label": np.zeros((32, 32), bool), "id": "case 3"}
    >>> out = Degraded(("image",), Degrade("ct", levels="lq2"), name_from="id")(case)
    >>> out["label"] is case["label"], out["image"].shape
    (True, (32, 32))
    """

    keys: Sequence[str]
    degrade: Degrade
    name_from: str | None = None

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dictionary with the images degraded."""
        missing = [key for key in (*self.keys, *([self.name_from] if self.name_from else [])) if key not in data]
        if missing:
            raise UsageError(f"the dictionary has no {', '.join(missing)}; it has: {', '.join(map(str, data))}")
        name = None if self.name_from is None else str(data[self.name_from])
        return {**data, **{key: self.degrade(data[key], key=name) for key in self.keys}}
