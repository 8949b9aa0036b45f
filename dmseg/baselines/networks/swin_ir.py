"""SwinIR as DCPT publishes it: window attention without position bias, windows that wrap around without a mask.

Published description: "SwinIR: Image Restoration Using Swin Transformer" (ICCV workshops 2021, arXiv 2108.10257).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.restoration import TABLE, RestorationNetwork

SHAPE = TABLE["dcpt_swinir"]


class WindowAttention(nn.Module):
    """Attention among the pixels of one window."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor) -> Tensor:
        """Attend within (windows, pixels, C)."""
        parts = self.qkv(windows).unflatten(2, (3, SHAPE["heads"], -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*parts.unbind(0))
        result: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = SHAPE["mlp_ratio"] * channels
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform (..., C)."""
        result: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return result


class SwinBlock(nn.Module):
    """Window attention and MLP on (B, H, W, C), each normed and added; ``shift`` rolls the image under the windows."""

    def __init__(self, channels: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, H, W, C), sides multiples of the window."""
        side, shift = SHAPE["window"], self.shift
        moved = self.norm1(features).roll((-shift, -shift), (1, 2))
        cells = moved.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        mixed = self.attn(cells.flatten(3, 4).flatten(0, 2)).view(cells.shape)
        features = features + mixed.transpose(2, 3).flatten(3, 4).flatten(1, 2).roll((shift, shift), (1, 2))
        result: Tensor = features + self.mlp(self.norm2(features))
        return result


class ResidualGroup(nn.Module):
    """Swin blocks and a 3x3 convolution, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        blocks = nn.ModuleList(SwinBlock(channels, SHAPE["window"] // 2 * (i % 2)) for i in range(SHAPE["blocks"]))
        self.residual_group = nn.ModuleDict({"blocks": blocks})
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, H, W, C)."""
        inner = features
        blocks: Any = self.residual_group["blocks"]
        for block in blocks:
            inner = block(inner)
        result: Tensor = self.conv(inner.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) + features
        return result


class SwinIR(RestorationNetwork):
    """DCPT's SwinIR: 454 official keys, 11.5 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        width, half = SHAPE["channels"], SHAPE["layers"] // 2
        self.multiple = SHAPE["multiple"]
        self.conv_first = nn.Conv2d(3, width, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(width)})
        self.encode_layers = nn.ModuleList(ResidualGroup(width) for _ in range(half))
        for index in range(half):
            self.add_module(f"decode_layers{index}", ResidualGroup(width))
        self.norm = nn.LayerNorm(width)
        self.conv_after_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], sides multiples of 8."""
        mean = torch.tensor(SHAPE["mean"], dtype=pixels.dtype, device=pixels.device)[:, None, None]
        centred = pixels - mean
        first = self.conv_first(centred)
        features = self.patch_embed["norm"](first.permute(0, 2, 3, 1))
        for layer in self.encode_layers:
            features = layer(features)
        for index in range(len(self.encode_layers)):
            features = self.get_submodule(f"decode_layers{index}")(features)
        deep = self.conv_after_body(self.norm(features).permute(0, 3, 1, 2)) + first
        restored: Tensor = centred + self.conv_last(deep) + mean
        return restored
