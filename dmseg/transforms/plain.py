"""Plain callables: one image (array, PIL image or tensor), or the images of a dictionary; no library is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import UsageError
from dmseg.transforms import arrays, draws
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.settings import Options, check_probability, make_settings

_PIL_MODES = ("L", "RGB", "RGBA", "I;16")


class Degrade:
    """Degrade one image, anew at every call.

    Args:
        modality, options: see :class:`dmseg.transforms.Settings`.
        layout: axes of the arrays and tensors: HWC, CHW, DHW, CDHW, BCHW, ...; channels and batch may be missing.
        p: probability that a call changes its image.
        generator: where fresh draws come from; None: a new one, of ``seed``.

    Images of a batch each get a draw of their own. An array, tensor or PIL image comes back as what it was, of the same
    type and range; the one given is never changed.

    >>> import numpy as np
    >>> grey = np.full((32, 32), 100, np.uint8)
    >>> first = Degrade("mri", seed=3)(grey)
    >>> first.shape, bool((first == Degrade("mri", seed=3)(grey)).all())
    ((32, 32), True)
    """

    def __init__(
        self,
        modality: str | None = None,
        *,
        layout: str = "HWC",
        p: float = 1.0,
        generator: np.random.Generator | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.settings = make_settings(modality, options)
        self.layout = arrays.check_layout(layout)
        self.p = check_probability(p)
        self.generator = generator if generator is not None else np.random.default_rng(self.settings.seed)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make keyed draws those of another epoch; fresh ones need it not."""
        self.epoch = epoch

    def draw(self, key: str | None = None) -> Degradation | None:
        """Return what the next call would do to an image, or None where ``p`` leaves it alone."""
        if self.settings.keyed:
            if key is None:
                raise UsageError("a keyed draw needs the key of its image")
            key = f"{key}/{self.epoch}" if self.epoch else key
            return self.settings.draw(key) if self.settings.acts(key, self.p) else None
        word, acts = int(self.generator.integers(0, 2**63)), self.p >= 1 or self.generator.random() < self.p
        return self.settings.draw(draws.make_fresh_key(word)) if acts else None

    def __call__(self, image: Any, key: str | None = None) -> Any:
        """Return the degraded image.

        Args:
            image: array, PIL image or torch tensor.
            key: names the image where draws are ``keyed``; None: the digest of its pixels.

        Raises:
            UsageError: something else, values whose black and white are not known, a shape that is not the layout's.
        """
        pixels = as_array(image)
        layout = "HWC"[: pixels.ndim] if _is_pillow(image) else arrays.fit_layout(self.layout, pixels.shape)
        images = np.moveaxis(pixels, layout.index("B"), 0) if "B" in layout else pixels[None]
        names = [key if "B" not in layout or key is None else f"{key}/{b}" for b in range(len(images))]
        if self.settings.keyed and key is None:
            names = [draws.make_pixel_key(one) for one in images]
        return like(image, self._apply(pixels, layout, [self.draw(name) for name in names]))

    def replay(self, image: Any, drawn: Degradation) -> Any:
        """Return an image with a given degradation: the same pixels for the same image."""
        pixels = as_array(image)
        layout = "HWC"[: pixels.ndim] if _is_pillow(image) else arrays.fit_layout(self.layout, pixels.shape)
        return like(image, arrays.degrade_array(pixels, layout, drawn, self.settings))

    def _apply(self, pixels: NDArray[Any], layout: str, drawn: Sequence[Degradation | None]) -> NDArray[Any]:
        if "B" not in layout:
            only = drawn[0]
            return pixels.copy() if only is None else arrays.degrade_array(pixels, layout, only, self.settings)
        axis = layout.index("B")
        made = np.empty_like(pixels)
        for b, one in enumerate(drawn):
            at = (slice(None),) * axis + (b,)
            if one is None:
                made[at] = pixels[at]
            else:
                made[at] = arrays.degrade_array(pixels[at], layout.replace("B", ""), one, self.settings)
        return made


def _is_pillow(image: Any) -> bool:
    return hasattr(image, "mode") and hasattr(image, "getbands")


def as_array(image: Any) -> NDArray[Any]:
    """Return the pixels of an array, a tensor on any device or a PIL image.

    Raises:
        UsageError: something else, or a PIL image of a mode that is no plain grey or colour.
    """
    if isinstance(image, np.ndarray):
        return image
    if hasattr(image, "new_tensor"):
        tensor = image.detach().cpu()
        return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
    if _is_pillow(image):
        if image.mode not in _PIL_MODES:
            raise UsageError(f"PIL image of mode {image.mode}; convert it to one of {', '.join(_PIL_MODES)}")
        pixels = np.asarray(image)
        return pixels[..., :3] if image.mode == "RGBA" else pixels
    raise UsageError(f"cannot degrade a {type(image).__name__}; give an array, a PIL image or a tensor")


def like(original: Any, made: NDArray[Any]) -> Any:
    """Return pixels as what the caller gave: array, tensor of its type and device, or PIL image (with its alpha)."""
    if isinstance(original, np.ndarray):
        return made
    if hasattr(original, "new_tensor"):
        return original.new_tensor(np.ascontiguousarray(made))
    from PIL import Image as Pillow

    image = Pillow.fromarray(np.ascontiguousarray(made))
    if original.mode == "RGBA":
        image.putalpha(original.getchannel("A"))
    return image


class Degraded:
    """Degrade the images of a dictionary, alike, and leave everything else, masks too, as it is.

    Args:
        keys: entries that hold images.
        degrade: what is done to them.
        name_from: entry that names the case, for keyed draws; None: the digest of the pixels.

    >>> import numpy as np
    >>> case = {"image": np.full((32, 32), 100, np.uint8), "label": np.zeros((32, 32), bool), "id": "case 3"}
    >>> out = Degraded(("image",), Degrade("ct", levels="lq2", keyed=True), name_from="id")(case)
    >>> out["label"] is case["label"], out["image"].shape
    (True, (32, 32))
    """

    def __init__(self, keys: str | Sequence[str], degrade: Degrade, name_from: str | None = None) -> None:
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)
        self.degrade, self.name_from = degrade, name_from

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new dictionary with the images degraded."""
        wanted = (*self.keys, *([self.name_from] if self.name_from else []))
        missing = [key for key in wanted if key not in data]
        if missing:
            raise UsageError(f"the dictionary has no {', '.join(missing)}; it has: {', '.join(map(str, data))}")
        name = None if self.name_from is None else str(data[self.name_from])
        if name is None and self.degrade.settings.keyed:
            name = draws.make_pixel_key(as_array(data[self.keys[0]]))
        drawn = self.degrade.draw(name)
        return (
            dict(data)
            if drawn is None
            else {**data, **{key: self.degrade.replay(data[key], drawn) for key in self.keys}}
        )
