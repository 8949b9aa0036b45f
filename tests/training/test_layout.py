"""Channels-last layout in training: the same answers and gradients, laid out alike."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from dmseg.baselines.loading import FAMILIES, add_modules
from dmseg.baselines.networks.sam import PromptedNetwork
from dmseg.training.layout import keep_channels_last, lay_channels_last


def _network() -> PromptedNetwork:
    torch.manual_seed(0)
    network = add_modules(FAMILIES["mini-sam"].build(), "mini-sam", {"enhancer": {}, "robust": False})
    torch.nn.init.normal_(network.enhancer.out.weight, std=0.02)  # it starts at zero: nothing before it would learn
    return network.eval()


def _learn(network: PromptedNetwork) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits of three clicked images and the gradients of every parameter that has one."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        encoded = network.encode_frozen(torch.rand(3, 3, network.side, network.side, generator=generator))
    points = torch.rand(3, 1, 2, generator=generator) * network.side
    logits, _, enhanced = network.forward_enhanced(encoded, points, torch.ones(3, 1), None, None, False)
    (logits.square().mean() + enhanced.square().mean()).backward()
    return logits.detach(), {name: one.grad for name, one in network.named_parameters() if one.grad is not None}


def test_answers_and_gradients_stay_the_same() -> None:
    plain = _network()
    laid = copy.deepcopy(plain)
    keep_channels_last(laid)
    logits, gradients = _learn(plain)
    same_logits, same_gradients = _learn(laid)
    torch.testing.assert_close(same_logits, logits, rtol=1e-4, atol=1e-5)
    assert set(same_gradients) == set(gradients)
    assert any(name.startswith("enhancer") for name in gradients)
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-3, atol=1e-4 * scale + 1e-9, msg=name)


def test_gradients_of_the_enhancer_are_channels_last() -> None:
    network = _network()
    keep_channels_last(network)
    seen: list[bool] = []

    def note(module: torch.nn.Module, given: tuple[Tensor, ...], made: tuple[Tensor, ...]) -> None:
        seen.extend(one.is_contiguous(memory_format=torch.channels_last) for one in made)

    for stage in network.enhancer.stages:
        stage.register_full_backward_hook(note)
    _learn(network)
    assert seen and all(seen)


def test_any_layout_becomes_channels_last_with_the_same_values() -> None:
    features = torch.rand(2, 5, 4, 3)
    for given in (features, features.contiguous(memory_format=torch.channels_last), features.transpose(2, 3)):
        laid = lay_channels_last(given)
        assert laid.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(laid, given)
