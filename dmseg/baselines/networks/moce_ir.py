"""MoCE-IR: a restoration network whose decoder blocks each choose one of four experts per image.

Published description: "Complexity Experts are Task-Discriminative Learners for Any Image Restoration" (CVPR 2025, arXiv
2411.18466). Encoder and bottleneck are Restormer's blocks; a decoder block runs transposed attention beside an adapter,
whose experts multiply queries and keys in the Fourier domain of patches of growing size, and joins both by cross
attention. The router sees the mean of the features and a frequency embedding of the bottleneck.

The published code adds Gaussian noise to the router's logits even in evaluation, and with several images in a batch it
gives every image all chosen experts. Here noise is an argument and each image has its own expert.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.restoration import (
    TABLE,
    BlockKind,
    FeatureNorm,
    GatedFeedForward,
    Resampling,
    RestorationNetwork,
    Stem,
    TransposedAttention,
    attend_channels,
    depthwise,
)

SHARED = TABLE["moce"]


def _kind(bias: bool) -> BlockKind:
    return BlockKind(SHARED["expansion"], bias, centred=True, eps=SHARED["eps"])


class EncoderBlock(nn.Module):
    """Restormer's block under MoCE-IR's names."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        kind = _kind(bias=True)
        self.norms = nn.ModuleList(FeatureNorm(channels, kind) for _ in range(2))
        self.mixer = TransposedAttention(channels, heads, kind)
        self.ffn = GatedFeedForward(channels, kind)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        features = features + self.mixer(self.norms[0](features))
        result: Tensor = features + self.ffn(self.norms[1](features))
        return result


class Group(nn.Module):
    """Blocks one after another, under the official name ``layers``."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W)."""
        for layer in self.layers:
            features = layer(features)
        return features


class CrossAttention(nn.Module):
    """Transposed attention of one feature map to another."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.q = nn.Conv2d(channels, channels, 1, bias=False)
        self.q_dwconv = depthwise(channels, 3, bias=False)
        self.kv = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.kv_dwconv = depthwise(2 * channels, SHARED["kernel"], bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, asking: Tensor, answering: Tensor) -> Tensor:
        """Attend from ``asking`` to ``answering``, both (B, C, H, W)."""
        keys, values = self.kv_dwconv(self.kv(answering)).chunk(2, 1)
        queries = self.q_dwconv(self.q(asking))
        mixed: Tensor = self.project_out(attend_channels(queries, keys, values, self.temperature, "softmax"))
        return mixed


class FourierAttention(nn.Module):
    """Queries convolved with keys, circularly within patches, weight the values."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.q = nn.Conv2d(channels, channels, 1, bias=False)
        self.q_dwconv = depthwise(channels, 3, bias=True)
        self.kv = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.kv_dwconv = depthwise(2 * channels, SHARED["kernel"], bias=True)
        self.norm = FeatureNorm(channels, _kind(bias=True))
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, C, H, W); the Fourier transforms are taken in single precision."""
        height, width = features.shape[-2:]
        keys, values = self.kv_dwconv(self.kv(features)).chunk(2, 1)
        queries = self.q_dwconv(self.q(features))
        product = torch.fft.rfft2(self._cut(queries).float()) * torch.fft.rfft2(self._cut(keys).float())
        patches = torch.fft.irfft2(product, s=(self.patch, self.patch))
        rows = patches.transpose(3, 4).flatten(4, 5).flatten(2, 3)
        weighted: Tensor = self.proj_out(self.norm(rows[..., :height, :width]) * values)
        return weighted

    def _cut(self, features: Tensor) -> Tensor:
        """Return (B, C, rows, columns, patch, patch), zeros added on the right and at the bottom."""
        side = self.patch
        padded = functional.pad(features, (0, -features.shape[-1] % side, 0, -features.shape[-2] % side))
        images, channels, height, width = padded.shape
        return padded.view(images, channels, height // side, side, width // side, side).transpose(3, 4)


class Expert(nn.Module):
    """A low-rank branch around Fourier attention, gated by the shared features."""

    def __init__(self, channels: int, rank: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.ModuleList(
            nn.Conv2d(*widths, 1, bias=False) for widths in ((channels, rank), (channels, rank), (rank, channels))
        )
        self.body = FourierAttention(rank, patch)

    def forward(self, features: Tensor, shared: Tensor) -> Tensor:
        """Transform (B, C, H, W) beside shared features of that shape."""
        inner = self.body(self.proj[0](features)) * functional.silu(self.proj[1](shared))
        result: Tensor = features + self.proj[2](inner)
        return result


class Router(nn.Module):
    """Logits of the experts from the features' mean and the frequency embedding.

    ``complexity`` is part of the official files and used in training only.
    """

    complexity: Tensor

    def __init__(self, channels: int, frequencies: int, sizes: list[int]) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(sizes), bias=False))
        self.freq_gate = nn.Linear(frequencies, len(sizes), bias=False)
        self.register_buffer("complexity", torch.tensor([size / max(sizes) for size in sizes]))

    def forward(self, features: Tensor, frequency: Tensor) -> Tensor:
        """Return logits (B, experts)."""
        logits: Tensor = self.gate(features) + self.freq_gate(frequency)
        return logits


class ExpertAdapter(nn.Module):
    """The experts and their router; each image passes through the one expert of its greatest logit."""

    def __init__(self, channels: int, frequencies: int) -> None:
        super().__init__()
        count = SHARED["experts"]
        # Each is wrapped, as in the official files. The last has full rank and the largest patches.
        self.experts = nn.ModuleList(
            nn.ModuleList([Expert(channels, channels // 2 ** (count - 1 - i), SHARED["first_patch"] * 2**i)])
            for i in range(count)
        )
        self.proj_out = nn.Conv2d(channels, channels, 1, bias=False)
        sizes = [sum(parameter.numel() for parameter in expert.parameters()) for expert in self.experts]
        self.routing = Router(channels, frequencies, sizes)

    def forward(self, features: Tensor, frequency: Tensor, shared: Tensor, noise: Tensor | None) -> Tensor:
        """Transform (B, C, H, W); ``noise`` (B, experts) is added to the router's logits."""
        logits = self.routing(features, frequency)
        gates, chosen = (logits if noise is None else logits + noise).softmax(-1).max(-1)
        experts: Any = self.experts
        outputs = [
            gates[i] * experts[int(expert)][0](features[i : i + 1], shared[i : i + 1])
            for i, expert in enumerate(chosen)
        ]
        result: Tensor = self.proj_out(torch.cat(outputs))
        return result


class DecoderBlock(nn.Module):
    """Shared attention beside an adapter of experts, joined by cross attention; then the feed-forward part."""

    def __init__(self, channels: int, heads: int, frequencies: int) -> None:
        super().__init__()
        kind = _kind(bias=False)
        self.norms = nn.ModuleList(FeatureNorm(channels, kind) for _ in range(2))
        self.proj = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.shared = TransposedAttention(channels, heads, kind)
        self.mixer = CrossAttention(channels, heads)
        self.ffn = GatedFeedForward(channels, kind)
        self.adapter = ExpertAdapter(channels, frequencies)

    def forward(self, features: Tensor, frequency: Tensor, noise: Tensor | None) -> Tensor:
        """Transform (B, C, H, W)."""
        normed = self.norms[0](features)
        shared = self.shared(self.proj[0](normed))
        adapted = self.adapter(self.proj[1](normed), frequency, shared, noise)
        features = features + self.mixer(adapted, shared)
        result: Tensor = features + self.ffn(self.norms[1](features))
        return result


class FrequencyEmbedding(nn.Module):
    """High-pass responses of the bottleneck, averaged over the image and mixed; the kernels are learnt weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        high_pass = nn.ModuleDict({"conv": depthwise(channels, 3, bias=False)})
        self.high_conv = nn.ModuleList([high_pass])
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, C) for (B, C, H, W)."""
        layers: Any = self.high_conv
        filtered = layers[0]["conv"](features)
        embedding: Tensor = self.mlp(functional.gelu(filtered).mean((-2, -1)))
        return embedding


class MoCEIR(RestorationNetwork):
    """MoCE-IR of one size: ``moce_ir`` (25.4 M parameters) or ``moce_ir_s`` (11.5 M)."""

    def __init__(self, size: str = "moce_ir") -> None:
        super().__init__()
        widths, heads = TABLE[size]["channels"], SHARED["heads"]
        self.multiple = SHARED["multiple"]
        encoder, decoder = SHARED["encoder_blocks"], SHARED["decoder_blocks"]
        self.patch_embed = Stem(widths[0])
        self.freq_embed = FrequencyEmbedding(widths[-1])
        self.enc = nn.ModuleList(
            nn.ModuleList([_encoder_group(encoder[i], widths[i], heads[i]), Resampling(widths[i], halve=True)])
            for i in range(len(widths) - 1)
        )
        self.latent = _encoder_group(encoder[-1], widths[-1], heads[-1])
        self.dec = nn.ModuleList(
            nn.ModuleList(
                [
                    Resampling(widths[i + 1], halve=False),
                    nn.Conv2d(widths[i + 1], widths[i], 1, bias=False),
                    Group(DecoderBlock(widths[i], heads[i], widths[-1]) for _ in range(count)),
                ]
            )
            for i, count in zip(reversed(range(len(widths) - 1)), decoder, strict=True)
        )
        self.refinement = _encoder_group(SHARED["refinement_blocks"], widths[0], heads[0])
        self.output = nn.Conv2d(widths[0], 3, 3, padding=1, bias=False)

    @property
    def routers(self) -> int:
        """The number of routers, one per decoder block."""
        return sum(SHARED["decoder_blocks"])

    def forward(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Restore (B, 3, H, W), sides multiples of 8.

        Args:
            pixels: RGB in [0, 1].
            noise: (routers, B, experts), added to the routers' logits; None: none. The published code draws it anew for
                every image, with mean 0 and deviation 1/4.
        """
        features = self.patch_embed(pixels)
        skipped = []
        encoder: Any = self.enc
        decoder: Any = self.dec
        for group, halving in encoder:
            features = group(features)
            skipped.append(features)
            features = halving(features)
        features = self.latent(features)
        frequency = self.freq_embed(features)
        rows = iter([None] * self.routers if noise is None else noise)
        for doubling, fusion, group in decoder:
            features = fusion(torch.cat((doubling(features), skipped.pop()), 1))
            for block in group.layers:
                features = block(features, frequency, next(rows))
        restored: Tensor = self.output(self.refinement(features)) + pixels
        return restored


def _encoder_group(count: int, channels: int, heads: int) -> Group:
    return Group(EncoderBlock(channels, heads) for _ in range(count))
