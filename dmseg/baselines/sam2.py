"""SAM 2.1 as Meta's image predictor feeds it, and MedSAM2 as its authors' scripts do.

The image is stretched to a square (SAM 2: 1024, as a tensor with anti-aliasing; MedSAM2: 512, by PIL's bicubic filter),
in [0, 1] with ImageNet's mean and deviation taken off. Low-resolution logits go to the canvas in one step; clipped to
+-32 they are the next step's feedback. ``mode="official"`` asks for three masks where a single click is all that is
given and takes the one of best predicted IoU; ``iterative`` always takes the single mask. In both, as the package has
it, an unstable single mask gives way to the best of the three.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from dmseg.baselines.prompted import (
    InputFrame,
    PromptedAdapter,
    bilinear,
    is_ambiguous,
    normalise_imagenet,
    stretch_frame,
)
from dmseg.types import Image, Prompts

_LARGEST_FEEDBACK = 32.0


class Sam2Adapter(PromptedAdapter):
    """SAM 2.1."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        side = self.network.side
        return normalise_imagenet(self.stretch(image, side)), stretch_frame(image, side)

    def stretch(self, image: Image, side: int) -> Tensor:
        """Return the image (3, side, side) on 0..255, float32."""
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        return functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)[0]

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        return bilinear(low_res, frame.canvas)[:, 0]

    def feedback(self, low_res: Tensor) -> Tensor:
        return low_res.clamp(-_LARGEST_FEEDBACK, _LARGEST_FEEDBACK)

    def multimask(self, prompts: Prompts) -> bool:
        return self.mode == "official" and is_ambiguous(prompts)


class MedSam2Adapter(Sam2Adapter):
    """MedSAM2."""

    def stretch(self, image: Image, side: int) -> Tensor:
        resized = PillowImage.fromarray(image).resize((side, side), PillowImage.Resampling.BICUBIC)
        return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).astype(np.float32))
