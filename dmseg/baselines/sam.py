"""SAM (ViT-B, L, H) and MobileSAM as Meta's predictor feeds them.

Longest side to 1024 by PIL's bilinear filter, ImageNet normalisation, zero padding after it; low-resolution logits to
1024, cropped, to the canvas. ``mode="official"`` asks for three masks where a single click is all that is given (an
ambiguous prompt) and takes the one of best predicted IoU, as Meta's examples advise; ``iterative`` always takes the
single mask, so that one output is refined over all steps.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from dmseg.baselines.prompted import (
    InputFrame,
    PromptedAdapter,
    bilinear,
    is_ambiguous,
    longest_side,
    normalise_imagenet,
    pad_to_square,
)
from dmseg.types import Image, Prompts


def fit_frame(image: Image, side: int) -> InputFrame:
    """Return the frame of an image whose longest side becomes ``side``, content at the top left."""
    height, width = image.shape[:2]
    content = longest_side(height, width, side)
    return InputFrame((height, width), content, (content[1] / width, content[0] / height))


class SamAdapter(PromptedAdapter):
    """SAM and MobileSAM."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        frame = fit_frame(image, self.network.side)
        size = (frame.content[1], frame.content[0])
        resized = np.asarray(PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BILINEAR))
        pixels = torch.from_numpy(resized.transpose(2, 0, 1).astype(np.float32))
        return pad_to_square(normalise_imagenet(pixels), self.network.side), frame

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        full = bilinear(low_res, (self.network.side, self.network.side))
        return bilinear(full[..., : frame.content[0], : frame.content[1]], frame.canvas)[:, 0]

    def multimask(self, prompts: Prompts) -> bool:
        return self.mode == "official" and is_ambiguous(prompts)
