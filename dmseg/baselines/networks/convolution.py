"""Convolutions whose training is slow on a CPU as torch does it: 1x1, and depth-wise ones with large kernels.

Parameters, names and results are those of ``nn.Conv2d`` (but for the order of sums); images come out channels last.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution with a bias as one matrix product over the positions of a channels-last image.

    Args:
        given, made: channels of input and output.
    """

    def __init__(self, given: int, made: int) -> None:
        super().__init__(given, made, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, given, H, W) to (B, made, H, W)."""
        rows = functional.linear(features.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


class DepthwiseConv(nn.Conv2d):
    """A depth-wise convolution with a bias and an odd kernel; its output has the input's size.

    Args:
        width: channels.
        kernel: side of the kernel.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        if features.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(features)
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            features, weight, bias = features.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        result: Tensor = _Depthwise.apply(features, weight, bias)
        return result


class _Depthwise(torch.autograd.Function):
    """The convolution with gradients made of forward convolutions, which are several times faster than torch's own.

    The input's gradient is the convolution of the output's with the turned kernel. The kernel's is, for each image and
    channel, the correlation of the padded input with the output's gradient: a depth-wise convolution whose kernel is as
    large as the image.
    """

    @staticmethod
    def forward(context: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        features = features.contiguous(memory_format=torch.channels_last)  # it may be a part of the channels of another
        context.save_for_backward(features, weight)
        return functional.conv2d(features, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        features, weight = context.saved_tensors
        wants_features, wants_weight, wants_bias = context.needs_input_grad
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        width, margin = weight.shape[0], weight.shape[-1] // 2
        of_features = of_weight = of_bias = None
        if wants_features:
            of_features = functional.conv2d(gradient, weight.flip(2, 3), padding=margin, groups=width)
        if wants_weight:
            batch, _, height, across = features.shape
            size = (1, batch * width, height + 2 * margin, across + 2 * margin)
            images = functional.pad(_channels_first(features), (margin,) * 4).view(size)
            kernels = _channels_first(gradient).view(batch * width, 1, height, across)
            each = functional.conv2d(images, kernels, groups=batch * width)
            of_weight = each.view(batch, *weight.shape).float().sum(0).to(weight.dtype)
        if wants_bias:
            of_bias = gradient.sum((0, 2, 3), dtype=torch.float32).to(gradient.dtype)
        return of_features, of_weight, of_bias


def _channels_first(features: Tensor) -> Tensor:
    """Return (B, C, H, W) in that order in memory: as transposed matrices, over twice as fast as ``contiguous``."""
    if features.is_contiguous():
        return features
    return torch.stack([one.permute(1, 2, 0).flatten(0, 1).t().contiguous() for one in features]).view(features.shape)
