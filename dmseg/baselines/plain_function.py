"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dmseg.baselines.interface import CAPABILITIES, Prediction
from dmseg.baselines.source import source_digest
from dmseg.types import Image, Prompts

PlainFunction = Callable[..., Any]
"""``f(image, points, labels, box, previous_logits) -> logits``: image uint8 (H, W, 3); points (K, 2) x, y; labels (K,)
1 or 0; box (4,) or None; previous_logits what the function returned for this mask before, or None; logits (H, W)."""


class FunctionAdapter:
    """Wraps a plain function; each call gets its own copy of the picture, so that no mask can disturb another."""

    capabilities = frozenset(CAPABILITIES) - {"batched_prompts"}

    def __init__(self, function: PlainFunction, name: str | None = None) -> None:
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.version = source_digest(function) or "unversioned"

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        return list(images)

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        answers = [
            self.function(embeddings[index].copy(), given.points, given.labels, given.box, previous)
            for index, given, previous in zip(image_index, prompts, state, strict=True)
        ]
        # The function may hand out a buffer of its own and change it later: what is kept is a copy.
        kept = [answer.copy() if isinstance(answer, np.ndarray) else answer for answer in answers]
        stacked = np.stack(kept) if all(isinstance(answer, np.ndarray) for answer in kept) else _stack_tensors(kept)
        return Prediction(stacked, state=answers)


def _stack_tensors(answers: Sequence[Any]) -> Any:
    """Return tensors as one array (N, H, W); whatever has no ``detach`` is taken as array-like."""
    return np.stack(
        [np.asarray(a.detach().float().cpu() if hasattr(a, "detach") else a, dtype=np.float32) for a in answers]
    )
