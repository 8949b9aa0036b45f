"""The Feature Enhancer: three stages of a gate on an intermediate encoder feature and enhancement blocks.

Paper, section 3.2, equations 2 to 5. Axes: B images, N masks, C channels, E x E the embedding's grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.sam import ChannelNorm, feature_map
from dmseg.baselines.pge_sam.config import EnhancerConfig, Lateral
from dmseg.errors import UsageError


def _depthwise(width: int, kernels: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width) for kernel in kernels)


class EnhancerBlock(nn.Module, ABC):
    """The frame of EBlock and NAFBlock (equations 4, 5): spatial-channel module, then a gated feed-forward network,
    each normalised first, scaled by learned factors, and added to its input."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = ChannelNorm(width, eps=1e-6), ChannelNorm(width, eps=1e-6)
        self.project = nn.Conv2d(width, width, 1)
        self.expand = nn.Conv2d(width, 2 * width, 1)
        self.contract = nn.Conv2d(width, width, 1)
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
        self.split = nn.Conv2d(width, 2 * width, 1)
        self.spatial = _depthwise(width, kernels)
        self.merge = nn.Conv2d(len(kernels) * width, width, 1)
        self.attention = nn.Conv2d(width, width, 1)

    def mix(self, features: Tensor) -> Tensor:
        spatial, channel = self.split(features).chunk(2, 1)
        spatial = self.merge(torch.cat([convolution(spatial) for convolution in self.spatial], 1))
        weighted: Tensor = spatial + channel * self.attention(channel.mean((2, 3), keepdim=True))
        return weighted


class NAFBlock(EnhancerBlock):
    """NAFNet's block (the ablation): 3x3 depth-wise convolution, simple gate, simplified channel attention."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__(config)
        width = config.width
        self.split = nn.Conv2d(width, 2 * width, 1)
        self.spatial = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)

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
        self.of_lateral = nn.Conv2d(width, inner, kernel, padding=kernel // 2)
        self.of_current = nn.Conv2d(width, inner, kernel, padding=kernel // 2)
        self.scales = _depthwise(inner, () if plain else config.gate_kernels)
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, lateral: Tensor, projected: Tensor, current: Tensor) -> Tensor:
        """Return the selected lateral (N, C, E, E).

        Args:
            lateral: (B, C, E, E); projected: ``of_lateral(lateral)``, which no prompt changes; current: (N, C, E, E).
        """
        signal = functional.relu(projected + self.of_current(current))
        if len(self.scales):
            signal = functional.relu(torch.stack([scale(signal) for scale in self.scales]).sum(0))
        return lateral * torch.sigmoid(self.psi(signal))


class LateralProjection(nn.Module):
    """An intermediate encoder feature, brought to the embedding's grid and width."""

    def __init__(self, lateral: Lateral, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(lateral.width, width, lateral.kernel, lateral.stride, padding=lateral.kernel // 2)

    def forward(self, feature: Tensor, grid: int) -> Tensor:
        """Project (B, H, W, width) or (B, H * W, width) to (B, C, E, E)."""
        projected: Tensor = self.convolution(feature_map(feature))
        if projected.shape[-1] != grid:
            projected = functional.interpolate(projected, (grid, grid), mode="bilinear", align_corners=False)
        return projected


@dataclass(frozen=True, slots=True)
class Laterals:
    """The prompt-free part of the enhancer for B images, stage by stage along the channels.

    Attributes:
        features: (B, stages * C, E, E).
        projected: (B, stages * gate width, E, E), what the gates make of them.
    """

    features: Tensor
    projected: Tensor


class FeatureEnhancer(nn.Module):
    """Embedding in, embedding out (equations 2, 3); the output convolution starts at zero, so training starts at SAM.

    Args:
        config: see :class:`~dmseg.baselines.pge_sam.EnhancerConfig`.
    """

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        block = EBlock if config.block == "eblock" else NAFBlock
        self.stages = nn.ModuleList(
            nn.Sequential(*(block(config) for _ in range(config.blocks))) for _ in config.laterals
        )
        used = config.laterals if config.interaction else ()
        self.laterals = nn.ModuleList(LateralProjection(lateral, width) for lateral in used)
        self.gates = nn.ModuleList(Gate(config) for _ in used)
        self.out = nn.Conv2d(width, width, 3, padding=1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def prepare(self, intermediate: Mapping[str, Tensor], grid: int) -> Laterals | None:
        """Return all that no prompt changes, from the encoder's named features; None without interaction."""
        if not self.config.interaction:
            return None
        missing = [lateral.name for lateral in self.config.laterals if lateral.name not in intermediate]
        if missing:
            raise UsageError(f'this encoder has no feature "{missing[0]}"; it has {", ".join(intermediate)}')
        features = [
            project(intermediate[lateral.name], grid)
            for project, lateral in zip(self.laterals, self.config.laterals, strict=True)
        ]
        projected = [
            gate.get_submodule("of_lateral")(feature) for gate, feature in zip(self.gates, features, strict=True)
        ]
        return Laterals(torch.cat(features, 1), torch.cat(projected, 1))

    def forward(self, embedding: Tensor, laterals: Laterals | None, guidance: Tensor | None) -> Tensor:
        """Enhance for N masks.

        Args:
            embedding: (B, C, E, E), B = 1 (N masks of one image) or B = N.
            laterals: of :meth:`prepare`, same B.
            guidance: (N, C, E, E), or None without a guidance generator.

        Returns:
            (N, C, E, E), or (B, C, E, E) where nothing depends on the prompts.
        """
        current = embedding
        lateral = laterals.features.chunk(len(self.stages), 1) if laterals else ()
        projected = laterals.projected.chunk(len(self.stages), 1) if laterals else ()
        for index, stage in enumerate(self.stages):
            total = current if guidance is None else current + guidance
            if laterals is not None:
                total = total + self.gates[index](lateral[index], projected[index], current)
            current = stage(total)
        enhanced: Tensor = embedding + self.out(current)
        return enhanced
