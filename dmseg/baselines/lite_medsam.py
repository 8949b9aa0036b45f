"""LiteMedSAM, and LiteMedSAM with its box alone (the paper's dagger row).

Longest side to 256 by area averaging, [0, 1] over the unpadded image, zero padding; boxes are cut to whole pixels.
The low-resolution logits have the input's size: they are cropped and resized to the canvas.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.baselines.medsam import BoxOnly
from dmseg.baselines.prompted import InputFrame, bilinear, longest_side, min_max, pad_to_square
from dmseg.types import Image


class LiteMedSamAdapter(BoxOnly):
    """LiteMedSAM (TinyViT at 256 px)."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        height, width = image.shape[:2]
        side = self.network.side
        content = longest_side(height, width, side)
        resized = cv2.resize(image, (content[1], content[0]), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(min_max(resized).transpose(2, 0, 1).astype(np.float32))
        factor = side / max(height, width)
        return pad_to_square(pixels, side), InputFrame((height, width), content, (factor, factor))

    def box(self, box: NDArray[Any], frame: InputFrame) -> NDArray[np.float64]:
        return np.trunc(super().box(box, frame))

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        return bilinear(low_res[..., : frame.content[0], : frame.content[1]], frame.canvas)[:, 0]
