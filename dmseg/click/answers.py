"""Asking the models: a pure function of view, model and prompts, with what was asked before kept.

An answer to k prompts needs the model's state after k - 1, so the prompts before are found among those kept, or asked
again. Nothing belongs to a session: two people who give the same prompts get the same masks, whatever else they do.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from dmseg.baselines import ModelAdapter, SelfTestAdapter
from dmseg.click.views import GalleryEntry, ImageGallery, ShownView
from dmseg.errors import ModelError, UsageError
from dmseg.types import Mask, Prompts

T = TypeVar("T")
KEPT_EMBEDDINGS = 12
KEPT_STATES = 512
MOST_PROMPTS = 100
"""Prompts that one object may have: far more than people give."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One step of a person: a click (x, y, label) or, as the first step only, a box (x0, y0, x1, y1)."""

    kind: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClickAnswer:
    """A mask, bool (H, W), and the milliseconds that encoding (0 where it was kept) and prediction took."""

    mask: Mask
    encode_ms: float
    predict_ms: float


@dataclass(frozen=True, slots=True)
class _Step:
    """What is kept of one answer."""

    mask: Mask
    state: Any


class _Kept(OrderedDict[Hashable, Any]):
    """A dictionary that forgets what was used longest ago."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def find(self, key: Hashable) -> Any:
        """Return a value, or None."""
        if key in self:
            self.move_to_end(key)
        return super().get(key)

    def put(self, key: Hashable, value: T) -> T:
        """Keep a value and return it."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
        return value


class Answerer:
    """Models over a gallery.

    Args:
        gallery: the images.
        models: name -> model, as the page shows them.
    """

    def __init__(self, gallery: ImageGallery, models: Mapping[str, ModelAdapter]) -> None:
        for name, model in models.items():
            if isinstance(model, SelfTestAdapter):
                raise UsageError(f'model "{name}" is a self-test that sees the reference; give a model')
        self.gallery, self.models = gallery, dict(models)
        self._locks = {name: threading.Lock() for name in models}
        self._embeddings = {name: _Kept(KEPT_EMBEDDINGS) for name in models}
        self._steps = {name: _Kept(KEPT_STATES) for name in models}

    def prepare(self, name: str, view: ShownView) -> float:
        """Encode an image before anybody clicks, and return the milliseconds that it took.

        Raises:
            UsageError: an unknown model or view.
            ModelError: the model fails.
        """
        self._check_model(name)
        self.gallery.check(view)
        with self._locks[name]:
            return self._encode(name, view)[1]

    def answer(self, name: str, view: ShownView, prompts: Sequence[Prompt]) -> ClickAnswer:
        """Return the mask after all prompts.

        Raises:
            UsageError: an unknown model or view, or prompts that make no sense.
            ModelError: the model fails, or answers with something unusable.
        """
        self._check_model(name)
        entry = self.gallery.check(view)
        check_prompts(prompts, entry, self.models[name].capabilities)
        with self._locks[name]:
            embedding, encode_ms = self._encode(name, view)
            begun = time.perf_counter()
            step = self._step(name, view, embedding, tuple(prompts), (entry.height, entry.width))
            return ClickAnswer(step.mask, encode_ms, (time.perf_counter() - begun) * 1000)

    def _check_model(self, name: str) -> None:
        if name not in self.models:
            raise UsageError(f'no model "{name}" on this page; one of: {", ".join(self.models)}')

    def _encode(self, name: str, view: ShownView) -> tuple[Any, float]:
        kept = self._embeddings[name].find(view)
        if kept is not None:
            return kept[0], 0.0
        begun = time.perf_counter()
        embedding = _call(name, lambda: self.models[name].encode([self.gallery.pixels(view).copy()]))[0]
        self._embeddings[name].put(view, (embedding,))
        return embedding, (time.perf_counter() - begun) * 1000

    def _step(
        self, name: str, view: ShownView, embedding: Any, prompts: tuple[Prompt, ...], shape: tuple[int, int]
    ) -> _Step:
        kept: _Step | None = self._steps[name].find((view, prompts))
        if kept is not None:
            return kept
        before = self._step(name, view, embedding, prompts[:-1], shape).state if len(prompts) > 1 else None
        asked = gather_prompts(prompts)
        prediction = _call(name, lambda: self.models[name].predict([embedding], [0], [asked], [before]))
        logits = prediction.logits
        logits = np.asarray(logits.detach().float().cpu() if hasattr(logits, "detach") else logits)
        if logits.shape != (1, *shape):
            raise ModelError(f'model "{name}" answered with logits of shape {logits.shape}; expected {(1, *shape)}')
        step = _Step(logits[0] > 0, None if prediction.state is None else prediction.state[0])
        return self._steps[name].put((view, prompts), step)


def _call(name: str, call: Any) -> Any:
    """Call a model; what it raises becomes one line for people."""
    try:
        return call()
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(f'model "{name}": {type(error).__name__}: {first[:300]}') from error


def check_prompts(prompts: Sequence[Prompt], entry: GalleryEntry, capabilities: frozenset[str]) -> None:
    """Refuse prompts that make no sense for an image or a model.

    Raises:
        UsageError: none or too many, a box that is not first, places outside of the image, or kinds that the model does
            not take.
    """
    if not 1 <= len(prompts) <= MOST_PROMPTS:
        raise UsageError(f"{len(prompts)} prompts; give 1 to {MOST_PROMPTS}")
    for place, prompt in enumerate(prompts):
        if prompt.kind == "box":
            x0, y0, x1, y1 = prompt.values
            inside = 0 <= x0 <= x1 <= entry.width - 1 and 0 <= y0 <= y1 <= entry.height - 1
            if place:
                raise UsageError("a box can only be the first prompt of an object; undo the clicks before it")
        else:
            x, y, label = prompt.values
            inside = 0 <= x <= entry.width - 1 and 0 <= y <= entry.height - 1 and label in (0, 1)
        if not inside:
            raise UsageError(f"{prompt.kind} {prompt.values} lies outside of the {entry.width} x {entry.height} image")
    kinds = {
        "box" if prompt.kind == "box" else ("negative_points", "points")[int(prompt.values[2])] for prompt in prompts
    }
    missing = sorted(kinds - capabilities)
    if missing:
        raise UsageError(
            f"this model takes no {', '.join(missing).replace('_', ' ')}; it takes {', '.join(sorted(capabilities))}"
        )
    if prompts[0].kind == "point" and prompts[0].values[2] == 0:
        raise UsageError("the first click says where the object is; give a positive one")


def gather_prompts(prompts: Sequence[Prompt]) -> Prompts:
    """Return all prompts so far as a model is given them."""
    points = [prompt.values for prompt in prompts if prompt.kind == "point"]
    boxes = [prompt.values for prompt in prompts if prompt.kind == "box"]
    return Prompts(
        points=np.array([values[:2] for values in points], np.float32).reshape(-1, 2),
        labels=np.array([values[2] for values in points], np.int8),
        box=np.array(boxes[0], np.float32) if boxes else None,
        step=len(prompts),
    )
