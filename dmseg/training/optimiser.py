"""AdamW with a learning rate per part, warm-up and cosine; averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dmseg.training.config import TrainConfig


def adamw(groups: Mapping[str, Mapping[str, nn.Parameter]], config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW over the trained parts; only matrices decay, vectors and scalars do not."""
    entries = []
    for part, parameters in groups.items():
        for decays in (True, False):
            chosen = [parameter for parameter in parameters.values() if (parameter.dim() > 1) == decays]
            if chosen:
                rate = config.learning_rate[part]
                decay = config.weight_decay if decays else 0.0
                entries.append({"params": chosen, "lr": rate, "peak": rate, "weight_decay": decay})
    return torch.optim.AdamW(entries, betas=config.betas)


def rate_factor(step: int, total: int, warmup: int, final: float) -> float:
    """Return the share of the peak learning rate at optimiser step 0..total - 1: linear warm-up times a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total))))
    return min(1.0, (step + 1) / max(1, warmup)) * (final + (1 - final) * cosine)


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its peak learning rate times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


class Average:
    """Exponential moving average of parameters."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = parameters, decay
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the present weights."""
        for name, value in self._parameters.items():
            self.values[name].lerp_(value, 1 - self._decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averages and the present weights; a second call undoes it."""
        for name, value in self._parameters.items():
            kept = value.detach().clone()
            value.copy_(self.values[name])
            self.values[name] = kept
