"""The Feature Enhancer: three stages of a gate on an intermediate encoder feature and enhancement blocks.

Paper, section 3.2, equations 2 to 5. Axes: B images, N masks, C channels, E x E the embedding's grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.convolution import DepthwiseConv, PointwiseConv
from dmseg.baselines.networks.sam import ChannelNorm, feature_map
from dmseg.baselines.pge_sam.config import EnhancerConfig, Lateral
from dmseg.errors import UsageError


def _depthwise(width: int, kernels: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(DepthwiseConv(width, kernel) for kernel in kernels)


def _project(given: int, made: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    if kernel == stride == 1:
        return PointwiseConv(given, made)
    return nn.Conv2d(given, made, kernel, stride, padding=kernel // 2)


class EnhancerBlock(nn.Module, ABC):
    """The frame of EBlock and PlainBlock (equations 4, 5): spatial-channel module, then a gated feed-forward network,
    each normalised first, scaled by learned factors, and added to its input."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = ChannelNorm(width, eps=1e-6), ChannelNorm(width, eps=1e-6)
        self.project = PointwiseConv(width, width)
        self.expand = PointwiseConv(width, 2 * width)
        self.contract = PointwiseConv(width, width)
        start = config.residual_start
        self.beta, self.gamma = (nn.Parameter(torch.full((1, width, 1, 1), start)) for _ in range(2))

    @abstractmethod
    def mix(self, features: Tensor) -> Tensor:
        """Return what the spatial-channel module makes of normalised features, before its projection."""

    def forward(self, features: Tensor) -> Tensor:
        """Enhance (N, C, E, E)."""
        features = features + self.beta * self.project(self.mix(self.norm1(features)))
        left, right = self.expand(self.norm2(features)).chunk(2, 1)
        result: Tensor = features + self.gamma * self.contract(left * right)
        return result


class EBlock(EnhancerBlock):
    """Parallel depth-wise convolutions on one half, simplified channel attention on the other, summed."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__(config)
        width, kernels = config.width, config.block_kernels
        self.split = PointwiseConv(width, 2 * width)
        self.spatial = _depthwise(width, kernels)
        self.merge = PointwiseConv(len(kernels) * width, width)
        self.attention = PointwiseConv(width, width)

    def mix(self, features: Tensor) -> Tensor:
        spatial, channel = self.split(features).chunk(2, 1)
        spatial = self.merge(torch.cat([convolution(spatial) for convolution in self.spatial], 1))
        weighted: Tensor = spatial + channel * self.attention(channel.mean((2, 3), keepdim=True))
        return weighted


class PlainBlock(EnhancerBlock):
    """NAFNet's block (the ablation): 3x3 depth-wise convolution, simple gate, simplified channel attention."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__(config)
        width = config.width
        self.split = PointwiseConv(width, 2 * width)
        self.spatial = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = PointwiseConv(width, width)

    def mix(self, features: Tensor) -> Tensor:
        left, right = self.spatial(self.split(features)).chunk(2, 1)
        gated = left * right
        weighted: Tensor = gated * self.attention(gated.mean((2, 3), keepdim=True))
        return weighted


class Gate(nn.Module):
    """A soft map that selects from an intermediate feature what the current feature asks for.

    MSAG has 3x3 projections and parallel large depth-wise convolutions; the plain attention gate (the ablation) has
    1x1 projections and neither.
    """

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        plain = config.gate == "attention-gate"
        kernel = 1 if plain else 3
        width, inner = config.width, config.gate_width
        self.of_lateral = _project(width, inner, kernel)
        self.of_current = _project(width, inner, kernel)
        self.scales = _depthwise(inner, () if plain else config.gate_kernels)
        self.psi = PointwiseConv(inner, 1)

    def forward(self, lateral: Tensor, projected: Tensor, current: Tensor) -> Tensor:
        """Return the selected lateral (N, C, E, E).

        Args:
            lateral: (B, C, E, E); projected: ``of_lateral(lateral)``, which no prompt changes; current: (N, C, E, E).
        """
        signal = functional.relu(projected + self.of_current(current))
        if len(self.scales):
            first, *others = (scale(signal) for scale in self.scales)
            signal = functional.relu(sum(others, first))
        return lateral * torch.sigmoid(self.psi(signal))


class LateralProjection(nn.Module):
    """An intermediate encoder feature, brought to the embedding's grid and width."""

    def __init__(self, lateral: Lateral, width: int) -> None:
        super().__init__()
        self.convolution = _project(lateral.width, width, lateral.kernel, lateral.stride)

    def forward(self, feature: Tensor, grid: int) -> Tensor:
        """Project (B, H, W, width) or (B, H * W, width) to (B, C, E, E)."""
        projected: Tensor = self.convolution(feature_map(feature))
        if projected.shape[-1] != grid:
            projected = functional.interpolate(projected, (grid, grid), mode="bilinear", align_corners=False)
        return projected


class FeatureEnhancer(nn.Module):
    """Embedding in, embedding out (equations 2, 3); the output convolution starts at zero, so training starts at SAM.

    Args:
        config: see :class:`~dmseg.baselines.pge_sam.EnhancerConfig`.
    """

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        block = EBlock if config.block == "eblock" else PlainBlock
        self.stages = nn.ModuleList(
            nn.Sequential(*(block(config) for _ in range(config.blocks))) for _ in config.laterals
        )
        used = config.laterals if config.interaction else ()
        self.laterals = nn.ModuleList(LateralProjection(lateral, width) for lateral in used)
        self.gates = nn.ModuleList(Gate(config) for _ in used)
        self.out = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def prepare(self, intermediate: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
        """Return all that no prompt changes, from the encoder's named features; nothing without interaction.

        For stage 0, 1, ...: ``lateral 0`` (B, C, E, E), the feature on the embedding's grid; ``projected 0`` (B, gate
        width, E, E), what the stage's gate makes of it.
        """
        prepared = {}
        for stage, (project, gate) in enumerate(zip(self.laterals, self.gates, strict=True)):
            name = self.config.laterals[stage].name
            if name not in intermediate:
                raise UsageError(f'this encoder has no feature "{name}"; it has {", ".join(intermediate)}')
            feature = project(intermediate[name], grid)
            prepared[f"lateral {stage}"] = feature
            prepared[f"projected {stage}"] = gate.get_submodule("of_lateral")(feature)
        return prepared

    def forward(self, embedding: Tensor, prepared: Mapping[str, Tensor], guidance: Tensor | None) -> Tensor:
        """Enhance for N masks.

        Args:
            embedding: (B, C, E, E), B = 1 (N masks of one image) or B = N.
            prepared: of :meth:`prepare`, same B.
            guidance: (N, C, E, E), or None without a guidance generator.

        Returns:
            (N, C, E, E), or (B, C, E, E) where nothing depends on the prompts.
        """
        # One layout for all: sums of unlike layouts are several times as slow on a CPU.
        embedding = current = embedding.contiguous(memory_format=torch.channels_last)
        for index, stage in enumerate(self.stages):
            total = current if guidance is None else current + guidance
            if prepared:
                total = total + self.gates[index](prepared[f"lateral {index}"], prepared[f"projected {index}"], current)
            current = stage(total)
        enhanced: Tensor = embedding + self.out(current)
        return enhanced
