"""What a model has to offer so that the harness can run it, and what it hands back.

A model is any object with ``name``, ``capabilities``, ``encode`` and ``predict``. It works on the *canvas*: the grid of
the stored image. It owns every resizing and normalisation that it needs. It sees images and prompts, never the
reference masks nor the level of degradation. Conventions: uint8 RGB (H, W, 3); pixels (x right, y down), integer =
pixel centre; a logit above 0 is foreground.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol, runtime_checkable

from dmseg.types import Image, Mask, Prompts

CAPABILITIES: tuple[str, ...] = (
    *("points", "negative_points", "box", "mask_feedback", "batched_prompts"),
    *("scribbles", "lassos", "text"),
)
"""What a model may declare: foreground clicks, background clicks, a box, use of its previous output, several masks
answered in one call (without it the harness asks for one mask at a time), the two kinds of
:class:`~dmseg.types.Stroke`, which only recorded prompts hold, and a sentence, which the preset ``text`` gives."""
STROKE_CAPABILITIES = {"scribble": "scribbles", "lasso": "lassos"}
"""Kind of a stroke -> what a model that takes it declares."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for N masks.

    Attributes:
        logits: (N, H, W) on the canvas, a float array or a torch tensor on any device; above 0 is foreground.
        state: one opaque value per mask (low-resolution logits, ...), handed back with its next prompt, or None.
        scores: the model's own estimate of the IoU per mask: numbers, an array or a tensor (N,), or None.
    """

    logits: Any
    state: Sequence[Any] | None = None
    scores: Any = None


def find_refused_strokes(prompts: Iterable[Prompts], capabilities: Collection[str]) -> list[str]:
    """Return the kinds of strokes among the prompts that a model of these capabilities does not take.

    Prompts of people's own making may know no strokes.
    """
    kinds = {STROKE_CAPABILITIES[stroke.kind] for given in prompts for stroke in getattr(given, "strokes", ())}
    return sorted(kinds - set(capabilities))


class AnswerError(Exception):
    """A model's answer that is not what the interface asks for."""


def read_prediction(answer: Any) -> Prediction:
    """Return an answer as a :class:`Prediction`: one, or logits alone (array or tensor), or a tuple (logits, state,
    scores) of one to three, or a mapping with these keys.

    Raises:
        AnswerError: something else.
    """
    if hasattr(answer, "logits"):
        return Prediction(answer.logits, getattr(answer, "state", None), getattr(answer, "scores", None))
    if hasattr(answer, "shape"):
        return Prediction(answer)
    if isinstance(answer, Mapping) and "logits" in answer and set(answer) <= {"logits", "state", "scores"}:
        return Prediction(**answer)
    if isinstance(answer, tuple) and 1 <= len(answer) <= 3 and hasattr(answer[0], "shape"):
        return Prediction(*answer)
    kind = f"a mapping with {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else type(answer).__name__
    raise AnswerError(f"predict returned {kind}; return Prediction(logits, state), or the logits (N, H, W) alone")


@runtime_checkable
class ModelAdapter(Protocol):
    """The interface of every model.

    ``capabilities`` is a subset of :data:`CAPABILITIES`; a preset that needs more is refused before the run. Optional
    attributes are those of :class:`~dmseg.baselines.cards.ModelCard` (``version``, ``params``, ``paper_url``, ...) and
    ``weights_sha256``; they go into the run's record.
    """

    name: str
    capabilities: frozenset[str]

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return one embedding (anything) per image; called once per image and level.

        Args:
            images: B images, uint8 (H, W, 3) RGB; their sizes may differ. They are private copies.
        """
        ...

    def predict(
        self,
        embeddings: Sequence[Any],
        image_index: Sequence[int],
        prompts: Sequence[Prompts],
        state: Sequence[Any],
    ) -> Prediction:
        """Answer the prompts of N masks.

        Args:
            embeddings: what :meth:`encode` returned for the images of these masks.
            image_index: per mask, which embedding it belongs to.
            prompts: per mask, all prompts so far; within one call all have the same number of points, and all or none
                has a box, all or none a sentence, and all have strokes of the same kinds.
            state: per mask, its entry of the previous :attr:`Prediction.state`; None at the first step.
        """
        ...


class Described:
    """Says in a line what a model is, in Python and in a notebook; a base of the models that ship."""

    def __repr__(self) -> str:
        facts = []
        if (params := getattr(self, "params", None)) is not None:
            facts.append(f"{params / 1e6:.1f} M parameters" if params else "no weights")
        facts.append(f"takes {', '.join(sorted(getattr(self, 'capabilities', ())))}")
        if (device := getattr(self, "device", None)) is not None:
            facts.append(f"on {device}")
        return f"<model {getattr(self, 'name', type(self).__name__)}: {'; '.join(facts)}>"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


@runtime_checkable
class PreparingAdapter(Protocol):
    """What a model may offer beside :class:`ModelAdapter`, so that a GPU need not wait for the preparation of images.

    The harness then calls ``encode_prepared([prepare(image), ...])`` in place of ``encode``. ``prepare`` is called from
    several threads at once, also while the model computes; it must not change the model. ``encode_prepared`` and
    ``predict`` are called by one thread at a time.
    """

    def prepare(self, image: Image) -> Any:
        """Return whatever the model needs of one image, uint8 (H, W, 3) RGB; on the CPU."""
        ...

    def encode_prepared(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """Return one embedding per prepared image, as :meth:`ModelAdapter.encode` would."""
        ...


class SelfTestAdapter(Described, ABC):
    """A model that is shown the reference, to test the harness itself; only those of this package exist.

    The harness calls :meth:`predict_from_reference` in place of ``predict``. Runs of such a model are refused by the
    leaderboard.
    """

    name: str
    capabilities: frozenset[str] = frozenset(CAPABILITIES)

    def encode(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return nothing of use: the image is not looked at."""
        return [None] * len(images)

    @abstractmethod
    def predict_from_reference(self, references: Sequence[Mask], prompts: Sequence[Prompts]) -> Prediction:
        """Answer N masks from their references, bool (H, W) each."""
