"""Convolutions that a CPU trains fast are those of torch, results and gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="networks need the extra [models]")

from torch import nn  # noqa: E402

from dmseg.baselines.networks.convolution import DepthwiseConv, PointwiseConv  # noqa: E402


def gradients(layer: nn.Module, given: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    given = given.clone().requires_grad_(True)
    layer.zero_grad()
    result = layer(given.chunk(2, 1)[1])  # a part of the channels of another, as in the enhancer's blocks
    result.backward(upstream)
    assert given.grad is not None
    return [result.detach(), given.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (lambda: PointwiseConv(6, 5), lambda: nn.Conv2d(6, 5, 1)),
        (lambda: DepthwiseConv(6, 3), lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6)),
        (lambda: DepthwiseConv(6, 9), lambda: nn.Conv2d(6, 6, 9, padding=4, groups=6)),
    ],
)
def test_results_and_gradients_are_those_of_torch(ours, torchs, layout):
    torch.manual_seed(0)
    layer, reference = ours(), torchs()
    reference.load_state_dict(layer.state_dict())
    given = torch.randn(3, 12, 11, 8).contiguous(memory_format=layout)
    upstream = torch.randn(3, reference.out_channels, 11, 8)
    for found, expected in zip(gradients(layer, given, upstream), gradients(reference, given, upstream), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_only_what_needs_a_gradient_gets_one():
    layer = DepthwiseConv(4, 3)
    layer.weight.requires_grad_(False)
    given = torch.randn(2, 4, 5, 5, requires_grad=True)
    layer(given).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None and given.grad is not None


def test_under_autocast_it_computes_as_torch_does_there():
    layer = DepthwiseConv(4, 5)
    given = torch.randn(2, 4, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(given)
        with torch.no_grad():
            expected = layer(given)
    assert found.dtype == expected.dtype == torch.bfloat16 and torch.equal(found.detach(), expected)
