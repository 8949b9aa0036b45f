"""One batch of training: interactions, gradients, optimiser steps."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.errors import DataError
from dmseg.rng import Stream, key_words
from dmseg.training import prompts as user
from dmseg.training.config import TERMS, TrainConfig
from dmseg.training.feed import Feed
from dmseg.training.interaction import ObjectBatch, interact
from dmseg.training.networks import TrainableModel
from dmseg.training.optimiser import Average, adamw, build_schedule
from dmseg.training.prompts import KEY
from dmseg.training.samples import Loaded
from dmseg.types import Prompts


class Learner:
    """A network with its optimiser.

    Attributes:
        settled: no gradient waits for an optimiser step.
        rate: learning rate of the first part at the next optimiser step.
    """

    def __init__(self, config: TrainConfig, trainee: TrainableModel, feed: Feed, fabric: Fabric) -> None:
        self._config, self._trainee, self._feed, self._fabric = config, trainee, feed, fabric
        self._parameters = list(trainee.parameters.values())
        self._optimiser = adamw(trainee.groups, config)
        self._average = Average(trainee.parameters, config.ema) if config.ema else None
        self._updates = feed.schedule.batches * config.updates_per_batch
        self._go_on_from(0)

    @property
    def settled(self) -> bool:
        """Whether all gradients have gone into a step."""
        return self._done % self._config.accumulate == 0 or self._done == self._updates

    @property
    def rate(self) -> float:
        """Learning rate of the first part, as the next optimiser step takes it."""
        return float(self._schedule.get_last_lr()[0])

    def state(self) -> dict[str, Any]:
        """Return what :meth:`restore` takes, as plain tensors and numbers."""
        network = self._trainee.network.state_dict()
        return {
            "updates": self._done,
            "network": {name: network[name] for name in self._trainee.state_names},
            "optimiser": self._optimiser.state_dict(),
            "average": self._average.values if self._average else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._trainee.network.load_state_dict(state["network"], strict=False)
        self._optimiser.load_state_dict(state["optimiser"])
        if self._average is not None:
            self._average.values = {name: value.to(self._fabric.device) for name, value in state["average"].items()}
        self._go_on_from(state["updates"])

    def _go_on_from(self, done: int) -> None:
        """Set the learning rates for what follows ``done`` updates."""
        self._done = done
        steps, total = (math.ceil(count / self._config.accumulate) for count in (done, self._updates))
        self._schedule = build_schedule(self._optimiser, total, self._config, steps)

    def use_averages(self) -> contextlib.AbstractContextManager[None]:
        """Put the averaged weights in the place of the present ones during the body; without averages, nothing."""
        return self._average.in_place_of_weights() if self._average else contextlib.nullcontext()

    def learn(self, index: int, loaded: Loaded) -> dict[str, float]:
        """Interact with batch ``index`` and step; return sums over its samples."""
        with self._key_generator(index):
            return self._learn(index, loaded)

    def _learn(self, index: int, loaded: Loaded) -> dict[str, float]:
        config, device = self._config, self._fabric.device
        each = config.updates == "interaction"
        encoded, clear = self._feed.features(loaded)
        network = self._trainee.network
        if config.laterals == "batch" and isinstance(network, EnhancedNetwork):
            with self._fabric.autocast():
                encoded = network.add_laterals(encoded)
        targets = loaded.targets.to(device)
        scale = network.side / targets.shape[-1]
        samples = ObjectBatch(encoded, clear, loaded.image_index.to(device), targets, scale)
        with_gradient = self._with_gradient(index)
        share = self._share(index, 1 if each else sum(with_gradient))
        prompts, sums = list(loaded.prompts), []
        for step, gradient in enumerate(with_gradient):
            if step:
                prompts = self._correct(prompts, loaded, samples)
            sums.append(
                interact(
                    network,
                    samples,
                    prompts,
                    config.losses,
                    gradient=gradient,
                    share=share,
                    autocast=self._fabric.autocast,
                )
            )
            last = step + 1 == len(with_gradient)
            if last:
                samples.backward(1 / sum(with_gradient) if each else 1.0)
            if (each and gradient) or last:
                self._update()
        return {**_sum_losses(sums, with_gradient), "with_gradient": sum(with_gradient) * len(loaded.keys)}

    def _share(self, index: int, counted: int) -> float:
        """Return what one sample counts in the gradient: the mean is over the samples of all processes."""
        n_all = sum(len(visit.mask_ids) for visit in self._feed.schedule.visits(index))
        return self._fabric.world_size / (n_all * counted * self._config.accumulate)

    def _with_gradient(self, index: int) -> list[bool]:
        """Return for each interaction of a batch whether it has a gradient."""
        config = self._config
        if config.gradient == "every":
            return [True] * config.interactions
        n = Stream(KEY, config.seed, "interactions", index).integer(2, config.interactions)
        return [True, *[False] * (n - 2), True]

    def _correct(self, prompts: Sequence[Prompts], loaded: Loaded, samples: ObjectBatch) -> list[Prompts]:
        if samples.logits is None:
            raise AssertionError("a corrective click needs a first answer")
        predicted = (samples.logits[:, 0] > 0).cpu().numpy()
        return [
            user.correct_prompts(given, mask, found, key, self._config.seed)
            for given, mask, found, key in zip(prompts, loaded.masks, predicted, loaded.keys, strict=True)
        ]

    def _update(self) -> None:
        """Count one update; with enough of them gathered, step."""
        self._done += 1
        if not self.settled:
            return
        self._share_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.clip)
        if not torch.isfinite(norm):
            raise DataError(
                f"training {self._config.model}: the gradient of update {self._done} is not finite; the last saved "
                "state is as it was. Try another run: a lower learning_rate, a longer warmup, or precision fp32"
            )
        self._optimiser.step()
        self._schedule.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average.update()

    def _share_gradients(self) -> None:
        """Replace the gradients by their mean over the processes; what has none in any of them keeps none.

        AdamW moves a parameter whose gradient is zero, and leaves one without a gradient as it is.
        """
        if self._fabric.world_size == 1:
            return
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in self._parameters]
        present = torch.tensor([float(one.grad is not None) for one in self._parameters], device=self._fabric.device)
        flat = torch.cat([present, *(gradient.flatten() for gradient in gradients)])
        flat = cast(Tensor, self._fabric.all_reduce(flat, reduce_op="mean"))
        present, *parts = torch.split(flat, [len(gradients), *(one.numel() for one in self._parameters)])
        for one, found, mean in zip(self._parameters, present.tolist(), parts, strict=True):
            one.grad = mean.view_as(one).clone() if found else None

    @contextlib.contextmanager
    def _key_generator(self, index: int) -> Iterator[None]:
        """Key torch's own generator (dropout) by the batch, and leave it as it was afterwards."""
        device = self._fabric.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(key_words(KEY, self._config.seed, "torch", index, self._fabric.global_rank)[0] >> 1)
            yield


def _sum_losses(sums: Sequence[dict[str, float]], with_gradient: Sequence[bool]) -> dict[str, float]:
    """Return the losses summed over interactions with gradient, and the IoU of the first and last interaction."""
    counted = [one for one, gradient in zip(sums, with_gradient, strict=True) if gradient]
    result = {name: sum(one[name] for one in counted) for name in TERMS}
    return {**result, "first_iou": sums[0]["reached"], "last_iou": sums[-1]["reached"]}
