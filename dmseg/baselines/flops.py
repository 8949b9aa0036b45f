"""How much arithmetic a network needs for one image and one click, counted two ways and without running it.

Papers of this field print what the package ``thop`` counts, times two: multiply-accumulates of convolutions and linear
layers, and four operations per value of a normalisation. It looks at layers, so products inside of attention are
missing, and a transposed convolution is counted as if every output saw the whole kernel. The true count looks at
every matrix product and convolution that is executed (``torch.utils.flop_counter``). Networks are built on torch's
``meta`` device: shapes only, no memory, no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dmseg.baselines.networks.convolution import DepthwiseConv, PointwiseConv
from dmseg.baselines.networks.sam import PromptedNetwork, parameter_count

_CONVOLUTIONS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(DepthwiseConv, PointwiseConv),
)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
_TOKENS_OF_A_POINT = 2  # the click and the padding point that stands for "no box"


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters and floating-point operations of a network, for one image and one click.

    Attributes:
        parameters: how many.
        listed: operations as papers list them (thop's multiply-accumulates times two).
        true: operations of every product that is executed, attention included (a multiply-add is two).
    """

    parameters: int
    listed: int
    true: int


def cost(build: Callable[[], PromptedNetwork]) -> Cost:
    """Return the cost of the network that ``build`` makes, over encoder, one point prompt and decoder."""
    with torch.device("meta"):
        network = build().eval()
    counter = FlopCounterMode(display=False)
    with count_layers(network) as layers, counter, torch.no_grad():
        one_click(network)
    return Cost(parameter_count(network), 2 * sum(layers), counter.get_total_flops())


def one_click(network: PromptedNetwork) -> None:
    """Encode one image and decode one click; the prompt encoder only looks a click up, which is nothing to count."""
    device = next(network.parameters()).device
    encoded = network.encode(torch.empty(1, 3, network.side, network.side, device=device))
    width = encoded.embedding.shape[1]
    sparse = torch.empty(1, _TOKENS_OF_A_POINT, width, device=device)
    point, label = torch.empty(1, 1, 2, device=device), torch.ones(1, 1, dtype=torch.int64, device=device)
    dense = network.prompt_encoder.no_mask_embed.weight.detach().view(1, width, 1, 1).expand_as(encoded.embedding)
    network.decode(network.condition_on_prompts(encoded, point, label, None, dense), sparse, dense, False)


@contextmanager
def count_layers(module: nn.Module) -> Iterator[list[int]]:
    """Count multiply-accumulates as thop does while ``module`` runs; the list grows by one entry per layer executed."""
    counts: list[int] = []
    hooks = []
    for layer in module.modules():
        rule = _rule(layer)
        if rule is not None:
            hooks.append(layer.register_forward_hook(_make_counter(counts, rule)))
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _make_counter(counts: list[int], rule: Callable[[Any, Tensor, Tensor], int]) -> Callable[[Any, Any, Any], None]:
    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        counts.append(rule(layer, given[0], result))

    return note


def _rule(layer: nn.Module) -> Callable[[Any, Tensor, Tensor], int] | None:
    """Return how a layer is counted; as in thop by its exact type, so that subclasses are not."""
    kind = type(layer)
    if kind in _CONVOLUTIONS:
        return lambda layer, given, result: (
            result.numel() * (given.shape[1] // layer.groups) * prod(layer.weight.shape[2:])
        )
    if kind is nn.Linear:
        return lambda layer, given, result: result.numel() * layer.in_features
    if kind in _NORMALISATIONS:
        scaled = any(getattr(layer, name, False) for name in ("affine", "elementwise_affine"))
        return lambda layer, given, result: given.numel() * (4 if scaled else 2)
    return None
