"""RobustSAM as its authors' evaluation feeds it: SAM's frame, but resized as a tensor with anti-aliasing.

``mode="official"`` runs plain SAM with these weights (``clear=True``), which is what the published predictor class
does; ``iterative`` uses the robust token and features, the method of the paper.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dmseg.baselines.networks.robust_sam import RobustSAMNetwork
from dmseg.baselines.prompted import InputFrame, normalise_imagenet, pad_to_square
from dmseg.baselines.sam import SamAdapter, fit_frame
from dmseg.types import Image, Prompts


class RobustSamAdapter(SamAdapter):
    """RobustSAM."""

    def __init__(self, name: str, network: RobustSAMNetwork, **options: Any) -> None:
        super().__init__(name, network, **options)
        network.clear = self.mode == "official"

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        frame = fit_frame(image, self.network.side)
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        resized = functional.interpolate(pixels, frame.content, mode="bilinear", align_corners=False, antialias=True)
        return pad_to_square(normalise_imagenet(resized[0]), self.network.side), frame

    def multimask(self, prompts: Prompts) -> bool:
        return False
