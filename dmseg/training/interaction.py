"""One interaction of a batch: prompts in, logits out, losses and gradients of the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dmseg.baselines.networks.sam import Encoded, PromptedNetwork, list_tensors, map_tensors
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.training import losses
from dmseg.training.config import TERMS, LossWeights
from dmseg.training.prompts import groups, tensors
from dmseg.types import Prompts


@dataclass(slots=True)
class ObjectBatch:
    """The objects of a batch while they are interacted with.

    Attributes:
        encoded: features of the B images.
        clear: embedding of the clear images (B, C, E, E), or None where nothing is reconstructed.
        image_index: (N,) image of each object.
        targets: (N, 1, h, w) float32.
        scale: input pixels per pixel of the low-resolution grid.
        logits: (N, 1, h, w) of the last interaction, detached, or None before the first.
        parts: objects -> their features, as computed and cut off.
    """

    encoded: Encoded
    clear: Tensor | None
    image_index: Tensor
    targets: Tensor
    scale: float
    logits: Tensor | None = None
    parts: dict[tuple[int, ...], tuple[Encoded, Encoded]] = field(default_factory=dict)

    def share(self, members: Tensor) -> Encoded:
        """Return the features of some objects, cut off from what they were computed by; they gather its gradients.

        Objects that share a call do so at every interaction, so this is done once for all of them.
        """
        key = tuple(members.tolist())
        if key not in self.parts:
            images = self.image_index[members]
            own = map_tensors(self.encoded, lambda value: value[images])
            self.parts[key] = own, map_tensors(own, lambda value: value.detach().requires_grad_(value.requires_grad))
        return self.parts[key][1]

    def backward(self, share: float) -> None:
        """Send ``share`` of the gradients that the features gathered to what they were computed by."""
        pairs = [
            (value, leaf.grad * share)
            for own, cut in self.parts.values()
            for value, leaf in zip(list_tensors(own), list_tensors(cut), strict=True)
            if leaf.grad is not None
        ]
        if pairs:
            torch.autograd.backward([value for value, _ in pairs], [gradient for _, gradient in pairs])


def answer(
    network: PromptedNetwork, samples: ObjectBatch, prompts: Sequence[Prompts], members: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits (n, 1, h, w), IoU estimates (n, 1) and enhanced features of the samples ``members``."""
    points, labels, box = tensors([prompts[i] for i in members.tolist()], samples.scale, samples.targets.device)
    encoded = samples.share(members)
    previous = None if samples.logits is None else samples.logits[members]
    if isinstance(network, EnhancedNetwork):
        return network.forward_enhanced(encoded, points, labels, box, previous, False)
    low_res, iou = network.forward_prompts(encoded, points, labels, box, previous, False)
    return low_res, iou, None


def loss_terms(
    logits: Tensor, iou: Tensor, enhanced: Tensor | None, clear: Tensor | None, target: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """Return each loss per sample, (n,); reconstruction only where there is something to reconstruct."""
    terms = {
        "dice": losses.dice_loss(logits, target),
        "focal": losses.focal_loss(logits, target, weights.focal_alpha, weights.focal_gamma),
        "iou": losses.iou_loss(iou, logits, target),
    }
    if enhanced is not None and clear is not None:
        terms["reconstruction"] = losses.reconstruction_loss(
            enhanced, clear, target, weights.reconstruction_support, weights.reconstruction_epsilon
        )
    return terms


def interact(
    network: PromptedNetwork,
    samples: ObjectBatch,
    prompts: Sequence[Prompts],
    weights: LossWeights,
    *,
    gradient: bool,
    share: float,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, float]:
    """Answer the prompts of all samples, add the gradients of their losses, and keep the logits, detached.

    Args:
        gradient: False only answers.
        share: what one sample's loss counts in the gradient.

    Returns:
        The sum over samples of each loss and of the IoU reached.
    """
    device = samples.targets.device
    kept = torch.empty_like(samples.targets)
    sums = dict.fromkeys((*TERMS, "reached"), 0.0)
    for group in groups(prompts):
        members = torch.tensor(group, device=device)
        target = samples.targets[members]
        with autocast(), torch.set_grad_enabled(gradient):
            logits, iou, enhanced = answer(network, samples, prompts, members)
        clear = None if samples.clear is None else samples.clear[samples.image_index[members]]
        with torch.set_grad_enabled(gradient):
            terms = loss_terms(logits, iou, enhanced, clear, target, weights)
            total = sum(
                (getattr(weights, name) * value for name, value in terms.items()), torch.zeros(1, device=device)
            )
        if gradient:
            (total.sum() * share).backward()
        kept[members] = logits.detach().float()
        for name, value in terms.items():
            sums[name] += float(value.detach().sum())
        sums["reached"] += float(losses.measure_iou(logits, target).sum())
    samples.logits = kept
    return sums
