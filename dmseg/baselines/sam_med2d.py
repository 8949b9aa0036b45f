"""SAM-Med2D, with and without adapter layers.

``iterative``: as the authors' predictor: ImageNet normalisation, then a nearest-neighbour stretch to 256 x 256; raw
logits are fed back; one mask. ``official``: as their test script: images smaller than 256 on both sides are centred
instead of stretched, channels stay in BGR order (they are never swapped there), three masks at every step of which the
one of best predicted IoU is taken, and its *probabilities* are fed back.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from dmseg.baselines.networks.sam import TABLE
from dmseg.baselines.prompted import InputFrame, PromptedAdapter, bilinear, stretch_frame
from dmseg.types import Image, Prompts


class SamMed2dAdapter(PromptedAdapter):
    """SAM-Med2D (ViT-B at 256 px)."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        table, side = TABLE["normalisation"], self.network.side
        height, width = image.shape[:2]
        channels = image[..., ::-1] if self.mode == "official" else image
        values = (channels.astype(np.float64) - table["mean"]) / table["std"]
        if self.mode == "official" and height < side and width < side:
            top, left = (side - height) // 2, (side - width) // 2
            square = np.zeros((side, side, 3))
            square[top : top + height, left : left + width] = values
            frame = InputFrame((height, width), (height, width), (1.0, 1.0), (left, top))
        else:
            square = cv2.resize(values, (side, side), interpolation=cv2.INTER_NEAREST)
            frame = stretch_frame(image, side)
        return torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1), dtype=np.float32)), frame

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        full = bilinear(low_res, (self.network.side, self.network.side))
        left, top = frame.offset
        content = full[..., top : top + frame.content[0], left : left + frame.content[1]]
        return (content if frame.content == frame.canvas else bilinear(content, frame.canvas))[:, 0]

    def multimask(self, prompts: Prompts) -> bool:
        return self.mode == "official"

    def feedback(self, low_res: Tensor) -> Tensor:
        return low_res.sigmoid() if self.mode == "official" else low_res
