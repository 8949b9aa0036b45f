"""One layout of memory for all that training computes on a CPU: channels last, gradients included.

torch adds and multiplies tensors of unlike layouts several times more slowly than alike ones. SAM's decoder copies what
it is given to channels-first, and some gradients come back that way; from there every sum mixes the two. Values stay
as they are, but for the order of sums inside of matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dmseg.baselines.networks.sam import PromptedNetwork


class _LastGradient(torch.autograd.Function):
    """The identity, whose gradient is laid out channels last."""

    @staticmethod
    def forward(context: Any, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return lay_channels_last(gradient)


def lay_channels_last(features: Tensor) -> Tensor:
    """Return (B, C, H, W) with its channels last in memory: as transposed matrices, faster than ``contiguous``."""
    if features.is_contiguous(memory_format=torch.channels_last):
        return features
    if not features.is_contiguous():
        return features.contiguous(memory_format=torch.channels_last)
    images, channels, *grid = features.shape
    rows = torch.stack([one.flatten(1).t().contiguous() for one in features])
    return rows.view(images, *grid, channels).permute(0, 3, 1, 2)


def keep_channels_last(network: PromptedNetwork) -> None:
    """Make a network compute and differentiate channels last; what it computes stays the same."""
    decoder = network.mask_decoder
    decoder.transformer.register_forward_pre_hook(_lay_inputs)
    decoder.output_upscaling.register_forward_hook(_lay_gradient)
    enhancer = getattr(network, "enhancer", None)
    if isinstance(enhancer, nn.Module):
        enhancer.register_forward_hook(_lay_gradient)


def _lay_inputs(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    image, positions, points = given
    return _LastGradient.apply(lay_channels_last(image)), lay_channels_last(positions), points


def _lay_gradient(module: nn.Module, given: tuple[Any, ...], features: Tensor) -> Tensor:
    result: Tensor = _LastGradient.apply(features)
    return result
