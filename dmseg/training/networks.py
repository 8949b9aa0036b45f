"""From a configuration to a network with its weights, its trainable parts, and the preparation of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dmseg.baselines.families import FAMILIES, load_network_model
from dmseg.baselines.networks.mini import build_mini_sam
from dmseg.baselines.networks.sam import Encoded, PromptedNetwork
from dmseg.baselines.pge_sam import EnhancedNetwork, build, enhancer_config
from dmseg.baselines.prompted import PromptedAdapter
from dmseg.baselines.sam import SamAdapter
from dmseg.baselines.trained import load_trained, read_trained
from dmseg.errors import UsageError, unknown_name
from dmseg.files import sha256_file
from dmseg.rng import key_words
from dmseg.training.config import TrainConfig
from dmseg.training.prompts import KEY

MINI = "mini-sam"
ENHANCER_TABLES = {
    MINI: MINI,
    "lite-medsam": "lite-medsam",
    "mobile-sam": "mobile-sam",
    "medsam": "vit-b",
    "sam-vit-b": "vit-b",
    "sam-vit-l": "vit-l",
}
"""Base network -> name of its enhancer's table."""

_MODULES = {
    "all": ("image_encoder", "prompt_encoder", "mask_decoder", "enhancer", "guidance"),
    "enhancer": ("enhancer", "guidance"),
    "mask_decoder": ("mask_decoder",),
    "prompt_encoder": ("prompt_encoder",),
}
_OUTPUT_TOKEN = "mask_decoder.mask_tokens.weight"


@dataclass(frozen=True, slots=True)
class Trainee:
    """A network about to be trained.

    Attributes:
        network: with the weights it starts from; only its trained parts require gradients.
        adapter: how the base network's pictures are prepared.
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
        """Whether pictures are encoded without gradients."""
        return "all" not in self.groups

    @property
    def state_names(self) -> list[str]:
        """Names in the network's ``state_dict()`` that training changes: parameters and buffers of trained parts."""
        prefixes = tuple(f"{module}." for part in self.groups for module in _MODULES.get(part, ()))
        names = set(self.parameters)
        return [name for name in self.network.state_dict() if name in names or name.startswith(prefixes)]

    def modes(self) -> None:
        """Put trained parts into training mode and the rest into evaluation mode, batch normalisation included."""
        self.network.eval()
        for part in self.groups:
            for name in _MODULES.get(part, ()):
                module = getattr(self.network, name, None)
                if module is not None:
                    module.train()

    def encode(self, pixels: Tensor) -> Encoded:
        """Return the base encoder's features of (B, 3, S, S)."""
        if isinstance(self.network, EnhancedNetwork):
            return self.network.encode_frozen(pixels)
        return self.network.encode(pixels)


def build_trainee(config: TrainConfig, weights: Path | str | None, device: torch.device) -> Trainee:
    """Return the network of a configuration, ready to be trained on ``device``.

    Args:
        weights: of the base network; None: the installed ones.

    Raises:
        UsageError: an unknown base, or weights that are missing or given where training starts from nothing.
        ModelError: weights that are unreadable or of another network.
    """
    adapter, digest = _base(config, weights)
    network = adapter.network
    if config.enhancer is not None:
        if config.base not in ENHANCER_TABLES:
            raise unknown_name("base of an enhancer", config.base, ENHANCER_TABLES)
        choices = enhancer_config(ENHANCER_TABLES[config.base], config.enhancer)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_torch_seed(config.seed, "enhancer"))
            network = build(network, choices)
        adapter.network = network
    network.to(device).requires_grad_(False)
    groups = {part: trained_parameters(network, part) for part in config.trained}
    for group in groups.values():
        for parameter in group.values():
            parameter.requires_grad_(True)
    trainee = Trainee(network, adapter, digest, groups)
    trainee.modes()
    return trainee


def trained_parameters(network: PromptedNetwork, part: str) -> dict[str, nn.Parameter]:
    """Return the parameters of one part of a network by name."""
    if part == "output_token":
        return {name: value for name, value in network.named_parameters() if name == _OUTPUT_TOKEN}
    prefixes = tuple(f"{module}." for module in _MODULES[part])
    return {
        name: value
        for name, value in network.named_parameters()
        if name.startswith(prefixes) and value.is_floating_point()
    }


def _torch_seed(seed: int, purpose: str) -> int:
    return key_words(KEY, seed, purpose)[0] >> 1


def _base(config: TrainConfig, weights: Path | str | None) -> tuple[PromptedAdapter, str]:
    if config.base != MINI and config.base not in FAMILIES:
        raise unknown_name("base network", config.base, (MINI, *FAMILIES))
    if config.start == "random":
        if weights is not None:
            raise UsageError('this training starts from nothing (start = "random"): leave out --base-weights')
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_torch_seed(config.seed, "base"))
            network = build_mini_sam() if config.base == MINI else FAMILIES[config.base].build()
        kind = SamAdapter if config.base == MINI else FAMILIES[config.base].adapter
        return kind(config.base, network), ""
    if config.base != MINI:
        adapter = load_network_model(config.base, weights, "cpu", "fp32")
        return adapter, adapter.weights_sha256 or ""
    if weights is None:
        raise UsageError(f'"{config.model}" stands on trained weights of {MINI}: give them with --base-weights FILE')
    network, path = build_mini_sam(), Path(weights)
    load_trained(network, read_trained(path), path)
    return SamAdapter(MINI, network), sha256_file(path)
