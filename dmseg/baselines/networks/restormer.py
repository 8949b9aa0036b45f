"""Restormer as DCPT publishes it: Restormer's shape with norms that keep the mean, and ReLU in place of softmax.

Published descriptions: "Restormer" (CVPR 2022, arXiv 2111.09881); "Universal Image Restoration Pre-training via
Degradation Classification" (DCPT, ICLR 2025, arXiv 2501.15510).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.restoration import (
    TABLE,
    BlockKind,
    Resampling,
    RestorationNetwork,
    Stem,
    repeat_blocks,
)


class BlockStack(nn.Module):
    """Transformer blocks under the official name ``body``."""

    def __init__(self, count: int, channels: int, heads: int, kind: BlockKind) -> None:
        super().__init__()
        self.body = nn.Sequential(*repeat_blocks(count, channels, heads, kind))

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        result: Tensor = self.body(features)
        return result


class Restormer(RestorationNetwork):
    """DCPT's Restormer: 406 official keys, 26.1 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        shape, own = TABLE["restormer"], TABLE["dcpt_restormer"]
        self.multiple = shape["multiple"]
        kind = BlockKind(shape["expansion"], False, own["centred"], own["eps"], own["gate"])
        width, heads, blocks = shape["channels"], shape["heads"], shape["blocks"]
        self.patch_embed = Stem(width)
        self.encoder_level1 = BlockStack(blocks[0], width, heads[0], kind)
        self.down1_2 = Resampling(width, halve=True)
        self.encoder_level2 = BlockStack(blocks[1], 2 * width, heads[1], kind)
        self.down2_3 = Resampling(2 * width, halve=True)
        self.encoder_level3 = BlockStack(blocks[2], 4 * width, heads[2], kind)
        self.down3_4 = Resampling(4 * width, halve=True)
        self.latent = BlockStack(blocks[3], 8 * width, heads[3], kind)
        self.up4_3 = Resampling(8 * width, halve=False)
        self.reduce_chan_level3 = nn.Conv2d(8 * width, 4 * width, 1, bias=False)
        self.decoder_level3 = BlockStack(blocks[2], 4 * width, heads[2], kind)
        self.up3_2 = Resampling(4 * width, halve=False)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.decoder_level2 = BlockStack(blocks[1], 2 * width, heads[1], kind)
        self.up2_1 = Resampling(2 * width, halve=False)
        self.decoder_level1 = BlockStack(blocks[0], 2 * width, heads[0], kind)
        self.refinement = BlockStack(shape["refinement_blocks"], 2 * width, heads[0], kind)
        self.output = nn.Conv2d(2 * width, 3, 3, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], sides multiples of 8."""
        first = self.encoder_level1(self.patch_embed(pixels))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        features = self.latent(self.down3_4(third))
        features = self.decoder_level3(self.reduce_chan_level3(torch.cat((self.up4_3(features), third), 1)))
        features = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(features), second), 1)))
        features = self.decoder_level1(torch.cat((self.up2_1(features), first), 1))
        restored: Tensor = self.output(self.refinement(features)) + pixels
        return restored
