"""The simulated user of training: the evaluation's first prompts, corrective clicks of mixed rules, keyed by visit.

Clicks live on the network's low-resolution grid (4E x 4E), where its logits and the losses are, so that no canvas
has to be made at each interaction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dmseg.protocol import Click, first_prompts, next_click, preset, with_click
from dmseg.rng import Stream
from dmseg.types import Mask, Prompts

KEY = "dmseg-train/1"
"""First part of every key of training that the prompt protocol does not make itself."""

Kind = tuple[int, bool]
"""Number of points, and whether there is a box: only samples of one kind can share a call of the network."""

_FIRST = preset("dmseg")
_LARGE = np.ones((32, 32), dtype=np.bool_)
_LARGE[:, 16:] = False
_ATTEMPTS = 100  # the rarest of the seven kinds comes once in 24 draws


def kind_of(prompts: Prompts) -> Kind:
    """Return the kind of some prompts."""
    return len(prompts.points), prompts.box is not None


def draw_kind(key: str, seed: int) -> Kind:
    """Return the kind of prompts that a key draws, as often as the evaluation gives it to a large object."""
    return kind_of(first_prompts(_FIRST, _LARGE, key, seed))


def first(mask: Mask, key: str, seed: int, kind: Kind | None = None) -> Prompts:
    """Return the first prompts of one object: several clicks or a jittered box, as the evaluation gives them.

    Args:
        mask: (h, w) bool on the low-resolution grid, not empty.
        key: names object and visit.
        kind: draw until the prompts are of this kind; an object too small for it gets what it draws last.
    """
    given = first_prompts(_FIRST, mask, key, seed)
    attempt = 0
    while kind is not None and kind_of(given) != kind and attempt < _ATTEMPTS:
        attempt += 1
        given = first_prompts(_FIRST, mask, f"{key}~{attempt}", seed)
    return given


def correct_prompts(prompts: Prompts, mask: Mask, predicted: Mask, key: str, seed: int) -> Prompts:
    """Return the next prompts: one click more, by one of three rules drawn per click (``corrective="mixed"``).

    The evaluation stops where nothing is wrong; here such a sample gets a random click on the object, so that every
    sample of a batch takes part in every interaction.
    """
    click = next_click(mask, predicted, corrective="mixed", prompts=prompts, mask_id=key, seed=seed)
    if click is None:
        rows, columns = np.nonzero(mask)
        place = Stream(KEY, seed, key, "confirm", prompts.step + 1).integer(0, len(rows) - 1)
        click = Click(int(columns[place]), int(rows[place]), 1)
    return with_click(prompts, click)


def groups(prompts: Sequence[Prompts]) -> list[list[int]]:
    """Return the samples that may share a call: as many points, alike in having a box; never padded, as evaluated."""
    members: dict[Kind, list[int]] = {}
    for index, given in enumerate(prompts):
        members.setdefault(kind_of(given), []).append(index)
    return [members[kind] for kind in sorted(members)]


def tensors(
    prompts: Sequence[Prompts], scale: float, device: torch.device
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return points (N, K, 2), labels (N, K) and boxes (N, 4) of one group in input pixels, None where not given.

    Args:
        scale: input pixels per pixel of the low-resolution grid; pixel centres map to pixel centres.
    """

    def to_input(values: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy((np.stack(values) + 0.5) * scale - 0.5).to(device, torch.float32)

    points = labels = box = None
    if len(prompts[0].points):
        points = to_input([given.points for given in prompts])
        labels = torch.from_numpy(np.stack([given.labels for given in prompts])).to(device, torch.int64)
    if prompts[0].box is not None:
        box = to_input([np.asarray(given.box) for given in prompts])
    return points, labels, box
