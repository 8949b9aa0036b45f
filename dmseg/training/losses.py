"""The losses of a prompted network, one value per sample; what is averaged over them is the training loss.

Axes: N samples, h x w the low-resolution grid (4E x 4E), C channels and E x E the grid of the image embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities p = sigmoid(logits) against the mask y, (N,).

    ``L = 1 - (2 sum p y + 1) / (sum p + sum y + 1)``, sums over all pixels of a sample; the ones keep it smooth where a
    mask has few pixels.

    Args:
        logits, target: (N, 1, h, w); target is 0 or 1.
    """
    probability, wanted = logits.float().sigmoid().flatten(1), target.flatten(1)
    overlap = (probability * wanted).sum(1)
    return 1 - (2 * overlap + 1) / (probability.sum(1) + wanted.sum(1) + 1)


def focal_loss(logits: Tensor, target: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the focal loss (Lin et al., ICCV 2017), its mean over the pixels of each sample, (N,).

    ``L = mean(-a (1 - q)^gamma log q)`` with q = p and a = alpha where y = 1, q = 1 - p and a = 1 - alpha where y = 0.
    """
    logits = logits.float()
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    missed = (target - logits.sigmoid()).abs()
    weight = alpha * target + (1 - alpha) * (1 - target)
    return (weight * missed**gamma * cross_entropy).flatten(1).mean(1)


def reconstruction_loss(enhanced: Tensor, clear: Tensor, target: Tensor, support: str, epsilon: float) -> Tensor:
    """Return the foreground reconstruction loss of enhanced features, (N,) (PGE-SAM, eq. 6).

    ``L = sum_{c,i} m_i (F^_{c,i} - F_{c,i})^2 / (C sum_i m_i + eps)``

    F^ are the enhanced features of the degraded image, F those of the clear one, m the object on the grid of the
    features. ``support`` says what m is: ``soft`` the object's share of each cell, so that an object smaller than a
    cell counts too (our choice); ``binary`` 1 where that share is at least a half, the mask that the paper broadcasts
    over channels; ``global`` 1 everywhere, which makes it the plain mean squared error of the ablation.

    Args:
        enhanced, clear: (N, C, E, E).
        target: (N, 1, h, w), 0 or 1, h and w multiples of E.
    """
    cells = functional.adaptive_avg_pool2d(target, (enhanced.shape[-2], enhanced.shape[-1]))
    if support == "binary":
        cells = (cells >= 0.5).to(cells)
    elif support == "global":
        cells = torch.ones_like(cells)
    squares = (enhanced.float() - clear.float()) ** 2 * cells
    return squares.sum((1, 2, 3)) / (enhanced.shape[1] * cells.sum((1, 2, 3)) + epsilon)


def measure_iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return the IoU of the masks ``logits > 0`` with the target, (N,); no gradient."""
    predicted, wanted = (logits.detach() > 0).flatten(1), (target > 0.5).flatten(1)
    union = (predicted | wanted).sum(1).clamp_min(1)
    return (predicted & wanted).sum(1) / union


def iou_loss(predicted: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return the squared error of the network's own IoU estimate (N, 1) against the IoU it reached, (N,).

    The paper does not train this output. Here it costs little and keeps the choice among several masks meaningful.
    """
    return (predicted[:, 0].float() - measure_iou(logits, target)) ** 2
