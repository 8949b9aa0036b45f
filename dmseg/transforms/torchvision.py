"""For torchvision's ``transforms.v2``: images and videos are degraded, masks, boxes and labels stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import MissingDependencyError, UsageError
from dmseg.transforms import arrays, draws
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.plain import as_array, like
from dmseg.transforms.settings import Options, check_probability, make_settings

try:
    import torch
    from PIL import Image as Pillow
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except ImportError as error:
    advice = 'install it with: pip install "dmseg-bench[torchvision]"'
    raise MissingDependencyError(f"dmseg.transforms.torchvision needs {error.name}; {advice}") from None


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not isinstance(value, tv_tensors.TVTensor)


UNIT = (0.0, 1.0)
"""Black and white of torchvision's float images, by its definition."""


class Degrade(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Degrade the images of a sample: a native transform of torchvision v2.

    Args:
        modality, options: see :class:`dmseg.transforms.Settings`.
        p: probability that a sample is degraded.
        name_from: entry of a dictionary sample that names the image, for keyed draws; None: the digest of its pixels.

    ``tv_tensors.Image``, PIL images and (as everywhere in v2) the first plain tensor of a sample without these are
    degraded; (C, H, W), and (B, C, H, W) with a draw for each image. ``tv_tensors.Video`` (T, C, H, W) gets one plan
    with fresh noise on every frame. All images of a sample of one size get the same draw. Floats are in [0, 1], as
    torchvision defines, unless ``value_range`` or ``window`` says otherwise. Draws come from PyTorch's generator.

    Raises:
        UsageError: when called: a sample without an image, several PIL images (one may be a mask), floats beyond the
            range.
    """

    _transformed_types = (_is_plain, tv_tensors.Image, tv_tensors.Video, Pillow.Image)

    def __init__(
        self,
        modality: str | None = None,
        *,
        p: float = 1.0,
        name_from: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        self.settings = make_settings(modality, options)
        self.p = check_probability(p)
        self.name_from = name_from
        self._name: str | None = None

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse a sample that would pass through unseen, or whose mask would be taken for an image."""
        if sum(isinstance(each, Pillow.Image) for each in flat_inputs) > 1:
            raise UsageError(
                "the sample holds several PIL images, all of them images to v2; wrap masks: tv_tensors.Mask(mask)"
            )
        if not any(self._needs_transform_list(flat_inputs)):
            kinds = ", ".join(sorted({type(each).__name__ for each in flat_inputs}))
            raise UsageError(f"the sample holds no image: {kinds}; arrays need v2.ToImage() before this transform")

    def forward(self, *inputs: Any) -> Any:
        """Degrade the images among the inputs, of any structure."""
        first = inputs[0] if inputs else None
        self._name = None
        if self.settings.keyed and self.name_from is not None:
            if not isinstance(first, Mapping) or self.name_from not in first:
                raise UsageError(f'the sample has no entry "{self.name_from}" to name its image')
            self._name = str(first[self.name_from])
        return super().forward(*inputs)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw one degradation for each image of the largest batch among the inputs."""
        counts = [each.shape[0] if _layout(each).startswith("B") else 1 for each in flat_inputs]
        first = flat_inputs[counts.index(max(counts))]
        images = as_array(first) if _layout(first).startswith("B") else [as_array(first)]
        return {"drawn": [self._draw(one, number) for number, one in enumerate(images)]}

    def _draw(self, image: NDArray[Any], number: int) -> Degradation | None:
        if self.settings.keyed:
            key = self._name or draws.make_pixel_key(image)
            key = f"{key}/{number}" if number and self._name else key
            return self.settings.draw(key) if self.settings.acts(key, self.p) else None
        word, acts = int(torch.randint(0, 2**63 - 1, ())), self.p >= 1 or float(torch.rand(())) < self.p
        return self.settings.draw(f"draw {word:016x}") if acts else None

    def _degrade(self, pixels: NDArray[Any], layout: str, drawn: Degradation) -> NDArray[Any]:
        return arrays.degrade_array(pixels, layout, drawn, self.settings, convention=UNIT)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Degrade one input with the degradations that were drawn."""
        layout, pixels = _layout(inpt), as_array(inpt)
        drawn = params["drawn"]
        if layout[0] != "B":
            made = pixels if drawn[0] is None else self._degrade(pixels, layout, drawn[0])
        else:
            made = np.empty_like(pixels)
            for source, target, one in zip(pixels, made, drawn, strict=False):
                target[...] = source if one is None else self._degrade(source, layout[1:], one)
        result = like(inpt, made)
        return tv_tensors.wrap(result, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else result


def _layout(image: Any) -> str:
    """Return the axes of an input."""
    if isinstance(image, Pillow.Image):
        return "HW" if len(image.getbands()) == 1 else "HWC"
    video = isinstance(image, tv_tensors.Video)
    layouts = {4: "DCHW", 5: "BDCHW"} if video else {2: "HW", 3: "CHW", 4: "BCHW"}
    if image.ndim not in layouts:
        raise UsageError(f"tensor of shape {tuple(image.shape)}; give (C, H, W) or (B, C, H, W), videos (T, C, H, W)")
    return layouts[image.ndim]
