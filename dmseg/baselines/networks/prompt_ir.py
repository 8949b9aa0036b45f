"""PromptIR as DCPT publishes it: Restormer with learnt prompts that each decoder level mixes in.

Published description: "PromptIR: Prompting for All-in-One Blind Image Restoration" (NeurIPS 2023, arXiv 2306.13090).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.restoration import (
    TABLE,
    BlockKind,
    Resampling,
    RestorationNetwork,
    Stem,
    TransformerBlock,
    repeat_blocks,
)


class PromptGeneration(nn.Module):
    """A mixture of learnt maps, its weights decided by the mean of the features, resized to their grid."""

    def __init__(self, count: int, channels: int, side: int, features: int) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, count, channels, side, side))
        self.linear_layer = nn.Linear(features, count)
        self.conv3x3 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the prompt (B, channels, H, W) for features (B, C, H, W)."""
        weights = self.linear_layer(features.mean((-2, -1))).softmax(1)
        mixture = torch.einsum("bn,nchw->bchw", weights, self.prompt_param[0])
        resized = functional.interpolate(mixture, features.shape[-2:], mode="bilinear", align_corners=False)
        prompt: Tensor = self.conv3x3(resized)
        return prompt


class PromptIR(RestorationNetwork):
    """DCPT's PromptIR: 542 official keys, 35.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        shape, own = TABLE["restormer"], TABLE["dcpt_promptir"]
        self.multiple = shape["multiple"]
        kind = BlockKind(shape["expansion"], False, own["centred"], own["eps"], own["gate"])
        width, heads, blocks = shape["channels"], shape["heads"], shape["blocks"]
        first, second, third = own["prompt_channels"]

        def stage(count: int, channels: int, number: int) -> nn.Sequential:
            return nn.Sequential(*repeat_blocks(count, channels, number, kind))

        self.patch_embed = Stem(width)
        for index, (channels, side) in enumerate(zip(own["prompt_channels"], own["prompt_sides"], strict=True)):
            prompt = PromptGeneration(own["prompts"], channels, side, 2 ** (index + 1) * width)
            self.add_module(f"prompt{index + 1}", prompt)
        self.encoder_level1 = stage(blocks[0], width, heads[0])
        self.down1_2 = Resampling(width, halve=True)
        self.encoder_level2 = stage(blocks[1], 2 * width, heads[1])
        self.down2_3 = Resampling(2 * width, halve=True)
        self.encoder_level3 = stage(blocks[2], 4 * width, heads[2])
        self.down3_4 = Resampling(4 * width, halve=True)
        self.latent = stage(blocks[3], 8 * width, heads[3])
        self.up4_3 = Resampling(4 * width, halve=False)
        self.reduce_chan_level3 = nn.Conv2d(6 * width, 4 * width, 1, bias=False)
        self.noise_level3 = TransformerBlock(8 * width + third, own["prompt_heads"], kind)
        self.reduce_noise_level3 = nn.Conv2d(8 * width + third, 4 * width, 1, bias=False)
        self.decoder_level3 = stage(blocks[2], 4 * width, heads[2])
        self.up3_2 = Resampling(4 * width, halve=False)
        self.reduce_chan_level2 = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.noise_level2 = TransformerBlock(4 * width + second, own["prompt_heads"], kind)
        self.reduce_noise_level2 = nn.Conv2d(4 * width + second, 4 * width, 1, bias=False)
        self.decoder_level2 = stage(blocks[1], 2 * width, heads[1])
        self.up2_1 = Resampling(2 * width, halve=False)
        self.noise_level1 = TransformerBlock(2 * width + first, own["prompt_heads"], kind)
        self.reduce_noise_level1 = nn.Conv2d(2 * width + first, 2 * width, 1, bias=False)
        self.decoder_level1 = stage(blocks[0], 2 * width, heads[0])
        self.refinement = stage(shape["refinement_blocks"], 2 * width, heads[0])
        self.output = nn.Conv2d(2 * width, 3, 3, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], sides multiples of 8."""
        first = self.encoder_level1(self.patch_embed(pixels))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        features = self._add_prompt(self.latent(self.down3_4(third)), 3)
        features = self.decoder_level3(self.reduce_chan_level3(torch.cat((self.up4_3(features), third), 1)))
        features = self._add_prompt(features, 2)
        features = self.decoder_level2(self.reduce_chan_level2(torch.cat((self.up3_2(features), second), 1)))
        features = self._add_prompt(features, 1)
        features = self.decoder_level1(torch.cat((self.up2_1(features), first), 1))
        restored: Tensor = self.output(self.refinement(features)) + pixels
        return restored

    def _add_prompt(self, features: Tensor, level: int) -> Tensor:
        """Mix the prompt of a level into its features."""
        prompt = self.get_submodule(f"prompt{level}")(features)
        joined = self.get_submodule(f"noise_level{level}")(torch.cat((features, prompt), 1))
        result: Tensor = self.get_submodule(f"reduce_noise_level{level}")(joined)
        return result
