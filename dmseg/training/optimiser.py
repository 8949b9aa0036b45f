"""AdamW with a learning rate per part, warm-up times cosine, averaged weights: all by torch, set up here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

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
                entries.append({"params": chosen, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(entries, betas=config.betas)


def rate_factor(step: int, total: int, warmup: int, final: float) -> float:
    """Return the share of the peak learning rate at optimiser step 0..total - 1: linear warm-up times a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total))))
    return min(1.0, (step + 1) / max(1, warmup)) * (final + (1 - final) * cosine)


def build_schedule(optimiser: torch.optim.Optimizer, total: int, config: TrainConfig, done: int = 0) -> LambdaLR:
    """Return torch's schedule of the learning rates over ``total`` optimiser steps, of which ``done`` are made."""
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group.pop("peak", group["lr"]))  # older states call it "peak"
    return LambdaLR(optimiser, lambda step: rate_factor(step, total, config.warmup, config.final_rate), done - 1)


class Average:
    """Exponential moving average of parameters, by torch's own function."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in parameters.items()}

    def update(self) -> None:
        """Move the averages towards the present weights."""
        self._move([self.values[name] for name in self._parameters], [*self._parameters.values()], None)

    @contextlib.contextmanager
    @torch.no_grad()
    def in_place_of_weights(self) -> Iterator[None]:
        """Put the averages in the place of the present weights during the body."""
        kept = {name: value.detach().clone() for name, value in self._parameters.items()}
        for name, value in self._parameters.items():
            value.copy_(self.values[name])
        try:
            yield
        finally:
            for name, value in self._parameters.items():
                value.copy_(kept[name])
