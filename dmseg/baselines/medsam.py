"""MedSAM, and MedSAM with its box alone (the paper's dagger row).

The image is stretched to 1024 x 1024 (cubic, anti-aliased, back to 8 bit) and to [0, 1]; there is no padding. The
mask is probability first, then resized, then compared with one half; canvas logits are the logit of the resized
probability, so that 0 is the same threshold. ``mode="official"`` ignores clicks and the previous mask, as the authors'
predictor does; it therefore needs a box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmseg.baselines.cubic import stretch_cubic
from dmseg.baselines.networks.sam import PromptedNetwork
from dmseg.baselines.prompted import InputFrame, PromptedAdapter, bilinear, min_max, stretch_frame
from dmseg.types import Image, Prompts


class BoxOnly(PromptedAdapter):
    """A family whose authors give a box and nothing else; ``mode="official"`` drops clicks and feedback."""

    def __init__(self, name: str, network: PromptedNetwork, **options: Any) -> None:
        super().__init__(name, network, **options)
        if self.mode == "official":
            self.capabilities = frozenset({"box", "batched_prompts"})

    def select_prompts(self, prompts: Any) -> Any:
        points, labels, box = super().select_prompts(prompts)
        return (None, None, box) if self.mode == "official" else (points, labels, box)

    def _answer(self, embedding: Any, prompts: Any, state: Any) -> tuple[Tensor, Tensor, Tensor]:
        return super()._answer(embedding, prompts, [None] * len(prompts) if self.mode == "official" else state)

    def multimask(self, prompts: Prompts) -> bool:
        return False


class MedSamAdapter(BoxOnly):
    """MedSAM (ViT-B)."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        side = self.network.side
        stretched = stretch_cubic(image, side)
        low, high = int(stretched.min()), int(stretched.max())
        table = np.zeros(256, np.float32)
        table[low : high + 1] = min_max(np.arange(low, high + 1))
        return torch.from_numpy(table[stretched]), stretch_frame(image, side)

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        return torch.logit(bilinear(low_res.sigmoid(), frame.canvas)[:, 0], eps=1e-7)
