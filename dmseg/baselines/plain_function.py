"""A plain function as a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.interface import Described, Prediction, find_refused_strokes
from dmseg.baselines.user_models import source_digest
from dmseg.errors import ModelError
from dmseg.types import Image, Prompts

PlainFunction = Callable[..., Any]
"""``f(image, points, labels, box, previous_logits) -> logits``: image uint8 (H, W, 3); points (K, 2) x, y; labels (K,)
1 or 0; box (4,) or None; previous_logits what the function returned for this mask before, or None; logits (H, W)."""


STATED = ("params", "code_url", "paper_url", "license", "input_size", "trained_on", "mode", "weights_sha256")
"""What a model may state about itself as attributes."""


class FunctionAdapter(Described):
    """Wraps a plain function; each call gets its own copy of the image, so that no mask can disturb another."""

    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback"})

    def __init__(self, function: PlainFunction, name: str | None = None) -> None:
        self.function = function
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.version = str(getattr(function, "version", None) or source_digest(function) or "unversioned")
        for key in STATED:
            if hasattr(function, key):  # an attribute of the function: disc.license = "MIT"
                setattr(self, key, getattr(function, key))

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        return list(images)

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> Prediction:
        refused = find_refused_strokes(prompts, self.capabilities)
        if refused:
            raise ModelError(f'model "{self.name}" is a plain function, which takes no {" and no ".join(refused)}')
        answers = [
            self.function(embeddings[index].copy(), given.points, given.labels, given.box, previous)
            for index, given, previous in zip(image_index, prompts, state, strict=True)
        ]
        return Prediction(np.stack([_private_array(answer) for answer in answers]), state=answers)


def _private_array(answer: Any) -> NDArray[Any]:
    """Return logits (array, nested lists or tensor) as an array that the function cannot change any more."""
    return np.array(answer.detach().float().cpu() if hasattr(answer, "detach") else answer)
