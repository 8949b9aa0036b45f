"""From a configuration to a network with its weights, its trainable parts, and the preparation of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dmseg.baselines.loading import FAMILIES, add_modules, load_network_model
from dmseg.baselines.networks.robust_sam import ROBUST_PARTS
from dmseg.baselines.networks.sam import Encoded, PromptedNetwork
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.errors import UsageError, unknown_name
from dmseg.rng import key_words
from dmseg.training.config import TrainConfig
from dmseg.training.layout import keep_channels_last
from dmseg.training.prompts import KEY

MINI = "mini-sam"
_MODULES = {
    "all": ("image_encoder", "prompt_encoder", "mask_decoder", "enhancer", "guidance"),
    "enhancer": ("enhancer", "guidance"),
    "mask_decoder": ("mask_decoder",),
    "prompt_encoder": ("prompt_encoder",),
    "robust": tuple(f"mask_decoder.{name}" for name in ROBUST_PARTS),
}
"""Trained part -> modules; ``mask_decoder`` leaves those of ``robust`` out."""
_OUTPUT_TOKEN = "mask_decoder.mask_tokens.weight"


@dataclass(frozen=True, slots=True)
class TrainableModel:
    """A network about to be trained.

    Attributes:
        network: with the weights it starts from; only its trained parts require gradients.
        adapter: how the base network's images are prepared.
        base_sha256: of the base's weights file; empty where it starts from random weights.
        groups: trained part -> its parameters by name.
    """

    network: PromptedNetwork
    adapter: PromptedAdapter
    base_sha256: str
    groups: dict[str, dict[str, nn.Parameter]]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All trained parameters by name."""
        return {name: parameter for group in self.groups.values() for name, parameter in group.items()}

    @property
    def encoder_frozen(self) -> bool:
        """Whether images are encoded without gradients."""
        return "all" not in self.groups

    @property
    def state_names(self) -> list[str]:
        """Names in the network's ``state_dict()`` that training changes: parameters and buffers of trained parts."""
        names = set(self.parameters)
        return [
            name
            for name in self.network.state_dict()
            if name in names or any(_within(name, part) for part in self.groups)
        ]

    def modes(self) -> None:
        """Put trained parts into training mode and the rest into evaluation mode, batch normalisation included."""
        self.network.eval()
        for part in self.groups:
            for name, module in self.network.named_modules():
                if name in _MODULES.get(part, ()):
                    module.train()

    def encode(self, pixels: Tensor) -> Encoded:
        """Return the base encoder's features of (B, 3, S, S)."""
        return self.network.encode_frozen(pixels)


def build_trainable_model(config: TrainConfig, weights: Path | str | None, device: torch.device) -> TrainableModel:
    """Return the network of a configuration, ready to be trained on ``device``.

    Args:
        weights: of the base network; None: the installed ones.

    Raises:
        UsageError: an unknown base, or weights that are missing or given where training starts from nothing.
        ModelError: weights that are unreadable or of another network.
    """
    adapter, digest = _base(config, weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_derive_torch_seed(config.seed, "enhancer"))
        network = add_modules(adapter.network, config.base, {"enhancer": config.enhancer, "robust": config.robust})
    adapter.network = network
    adapter.device = device
    network.to(device).requires_grad_(False)
    groups = {part: list_trained_parameters(network, part) for part in config.trained}
    for group in groups.values():
        for parameter in group.values():
            parameter.requires_grad_(True)
    if device.type == "cpu":
        keep_channels_last(network)
    trainee = TrainableModel(network, adapter, digest, groups)
    trainee.modes()
    return trainee


def list_trained_parameters(network: PromptedNetwork, part: str) -> dict[str, nn.Parameter]:
    """Return the parameters of one part of a network by name."""
    if part == "output_token":
        return {name: value for name, value in network.named_parameters() if name == _OUTPUT_TOKEN}
    return {name: value for name, value in network.named_parameters() if _within(name, part)}


def _within(name: str, part: str) -> bool:
    """Whether a tensor lies in a trained part."""
    prefixes = tuple(f"{module}." for module in _MODULES.get(part, ()))
    others = tuple(f"{module}." for module in _MODULES["robust"]) if part == "mask_decoder" else ()
    return name.startswith(prefixes) and not name.startswith(others)


def _derive_torch_seed(seed: int, purpose: str) -> int:
    return key_words(KEY, seed, purpose)[0] >> 1


def _base(config: TrainConfig, weights: Path | str | None) -> tuple[PromptedAdapter, str]:
    known = [name for name, family in FAMILIES.items() if not family.bases]
    if config.base not in known:
        raise unknown_name("base network", config.base, known)
    if config.start == "random":
        if weights is not None:
            raise UsageError('this training starts from nothing (start = "random"): leave out --base-weights')
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_derive_torch_seed(config.seed, "base"))
            network = FAMILIES[config.base].build()
        return FAMILIES[config.base].adapter(config.base, network), ""
    adapter = load_network_model(config.base, weights, "cpu", "fp32")
    return adapter, adapter.weights_sha256 or ""
