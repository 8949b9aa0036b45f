"""NAFNet as DCPT publishes it: a U-shaped network of blocks without activation functions, without local statistics.

Published description: "Simple Baselines for Image Restoration" (ECCV 2022, arXiv 2204.04676). DCPT tests the plain
network over the whole image, not the one that takes its channel attention from windows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.restoration import TABLE, CentredNorm, RestorationNetwork, depthwise


class NAFBlock(nn.Module):
    """Two gated branches, each added to its input with learnt weights per channel; a gate multiplies two halves."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.conv1 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv2 = depthwise(2 * channels, 3, bias=True)
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv4 = nn.Conv2d(channels, 2 * channels, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.norm1 = CentredNorm(channels, eps=eps)
        self.norm2 = CentredNorm(channels, eps=eps)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        gated = _multiply_halves(self.conv2(self.conv1(self.norm1(features))))
        features = features + self.conv3(gated * self.sca(gated)) * self.beta
        gated = _multiply_halves(self.conv4(self.norm2(features)))
        result: Tensor = features + self.conv5(gated) * self.gamma
        return result


def _multiply_halves(features: Tensor) -> Tensor:
    first, second = features.chunk(2, 1)
    return first * second


class NAFNet(RestorationNetwork):
    """DCPT's NAFNet: 664 official keys, 67.9 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        shape = TABLE["dcpt_nafnet"]
        self.multiple = shape["multiple"]
        width, encoder, decoder = shape["channels"], shape["encoder_blocks"], shape["decoder_blocks"]

        def blocks(count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*(NAFBlock(channels, shape["eps"]) for _ in range(count)))

        widths = [width * 2**level for level in range(len(encoder) + 1)]
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders = nn.ModuleList(blocks(count, channels) for count, channels in zip(encoder, widths, strict=False))
        self.middle_blks = blocks(shape["middle_blocks"], widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))
            for channels in reversed(widths[1:])
        )
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths[:-1])
        for level, (count, channels) in enumerate(zip(decoder, reversed(widths[:-1]), strict=True)):
            self.add_module(f"decoder{level}", blocks(count, channels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], sides multiples of 16."""
        features = self.intro(pixels)
        skipped = []
        for encoder, halving in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skipped.append(features)
            features = halving(features)
        features = self.middle_blks(features)
        for level, doubling in enumerate(self.ups):
            features = self.get_submodule(f"decoder{level}")(doubling(features) + skipped.pop())
        restored: Tensor = self.ending(features) + pixels
        return restored
