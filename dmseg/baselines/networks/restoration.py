"""Parts that the restoration networks share: transposed attention, gated feed-forward, norms, changes of resolution.

Published descriptions: Restormer (CVPR 2022, arXiv 2111.09881), which PromptIR and MoCE-IR build on. Axes: B images,
C channels, H and W rows and columns. Parameter names are those of the official files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.tables import read_packaged_table

TABLE = read_packaged_table(__name__.rpartition(".")[0], "restoration.toml")


class RestorationNetwork(nn.Module):
    """A network from a degraded image to a restored one: RGB in [0, 1], (B, 3, H, W) to the same shape, not clamped.

    Attributes:
        multiple: H and W have to be multiples of this.
    """

    multiple: int

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return official key -> live tensor, in the order of the official file."""
        return OrderedDict(self.state_dict())


@dataclass(frozen=True, slots=True)
class BlockKind:
    """How the transformer blocks of one network are built.

    Attributes:
        expansion: hidden width of the feed-forward part, relative to the block's.
        bias: the convolutions have biases.
        centred: the norm takes the mean off and has a bias (Restormer's "WithBias"), or neither ("BiasFree").
        eps: of the norm.
        gate: ``softmax`` or ``relu`` of the attention's logits.
    """

    expansion: float
    bias: bool
    centred: bool
    eps: float
    gate: str = "softmax"


class CentredNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ScaleNorm(nn.Module):
    """Division by the channels' standard deviation, (B, C, H, W); the mean stays."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        deviation = (features.var(1, keepdim=True, unbiased=False) + self.eps).sqrt()
        return features / deviation * self.weight[:, None, None]


class FeatureNorm(nn.Module):
    """One of the two norms, under the official name ``body``."""

    def __init__(self, channels: int, kind: BlockKind) -> None:
        super().__init__()
        self.body = CentredNorm(channels, eps=kind.eps) if kind.centred else ScaleNorm(channels, kind.eps)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        normalised: Tensor = self.body(features)
        return normalised


class GatedFeedForward(nn.Module):
    """GDFN: two halves of a depthwise 3x3 convolution, one the GELU gate of the other."""

    def __init__(self, channels: int, kind: BlockKind) -> None:
        super().__init__()
        hidden = int(channels * kind.expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=kind.bias)
        self.dwconv = depthwise(2 * hidden, 3, kind.bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=kind.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        gate, value = self.dwconv(self.project_in(features)).chunk(2, 1)
        result: Tensor = self.project_out(functional.gelu(gate) * value)
        return result


class TransposedAttention(nn.Module):
    """MDTA: attention among channels, so that its cost grows with the area and not with its square."""

    def __init__(self, channels: int, heads: int, kind: BlockKind) -> None:
        super().__init__()
        self.gate = kind.gate
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=kind.bias)
        self.qkv_dwconv = depthwise(3 * channels, 3, kind.bias)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=kind.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Attend within (B, C, H, W)."""
        queries, keys, values = self.qkv_dwconv(self.qkv(features)).chunk(3, 1)
        mixed: Tensor = self.project_out(attend_channels(queries, keys, values, self.temperature, self.gate))
        return mixed


class TransformerBlock(nn.Module):
    """Restormer's block: normed attention and normed feed-forward, each added to its input."""

    def __init__(self, channels: int, heads: int, kind: BlockKind) -> None:
        super().__init__()
        self.norm1 = FeatureNorm(channels, kind)
        self.attn = TransposedAttention(channels, heads, kind)
        self.norm2 = FeatureNorm(channels, kind)
        self.ffn = GatedFeedForward(channels, kind)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        features = features + self.attn(self.norm1(features))
        result: Tensor = features + self.ffn(self.norm2(features))
        return result


class Stem(nn.Module):
    """The first 3x3 convolution, under the official name ``proj``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 3, padding=1, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed (B, 3, H, W)."""
        features: Tensor = self.proj(pixels)
        return features


class Resampling(nn.Module):
    """Half the side and twice the channels (``halve``), or the reverse, by a 3x3 convolution and a pixel shuffle."""

    def __init__(self, channels: int, halve: bool) -> None:
        super().__init__()
        convolution = nn.Conv2d(channels, channels // 2 if halve else 2 * channels, 3, padding=1, bias=False)
        self.body = nn.Sequential(convolution, nn.PixelUnshuffle(2) if halve else nn.PixelShuffle(2))

    def forward(self, features: Tensor) -> Tensor:
        """Resample (B, C, H, W)."""
        resampled: Tensor = self.body(features)
        return resampled


def depthwise(channels: int, side: int, bias: bool) -> nn.Conv2d:
    """Return a depthwise convolution of ``side`` squared that keeps the size."""
    return nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=bias)


def attend_channels(queries: Tensor, keys: Tensor, values: Tensor, temperature: Tensor, gate: str) -> Tensor:
    """Mix the channels of ``values`` by the likeness of the channels of ``queries`` and ``keys``, all (B, C, H, W).

    Args:
        temperature: (heads, 1, 1), one factor per head; C is a multiple of the number of heads.
        gate: ``softmax`` or ``relu`` of the logits.
    """
    shape = queries.shape
    split = (shape[0], temperature.shape[0], -1, shape[2] * shape[3])
    queries, keys, values = (part.reshape(split) for part in (queries, keys, values))
    queries, keys = functional.normalize(queries, dim=-1), functional.normalize(keys, dim=-1)
    logits = queries @ keys.transpose(-2, -1) * temperature
    weights = logits.softmax(-1) if gate == "softmax" else logits.relu()
    return (weights @ values).reshape(shape)


def repeat_blocks(count: int, channels: int, heads: int, kind: BlockKind) -> Iterator[TransformerBlock]:
    """Yield ``count`` new transformer blocks."""
    return (TransformerBlock(channels, heads, kind) for _ in range(count))
