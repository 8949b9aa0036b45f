"""Calling a model so that whatever it does wrong costs its own masks only."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines import ModelAdapter, PreparingAdapter, SelfTestAdapter
from dmseg.baselines.interface import AnswerError, read_prediction
from dmseg.errors import MachineError
from dmseg.jobs import Calls, CallTimeoutError, limit_time
from dmseg.types import Image, Mask, Prompts

T = TypeVar("T")
_LONGEST_MESSAGE = 300

_NO_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory", "cannot allocate memory")
"""Texts, in lower case, of errors that mean lack of memory: torch's own, cuBLAS' and cuDNN's, the CPU allocator's."""

_GPU_LOST = (
    "device-side assert triggered",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "invalid program counter",
    "misaligned address",
    "hardware stack error",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "execution_failed",
    "fallen off the bus",
    "cuda error: unknown error",
)
"""Texts of CUDA errors after which every later call of the process fails, whatever it is about."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why there is no answer: ``status`` (error, oom, timeout) and one line for people."""

    status: str
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked about one mask; the reference is for self-tests only."""

    prompts: Prompts
    state: Any
    reference: Mask


@dataclass(frozen=True, slots=True)
class Answer:
    """One predicted mask, bool (H, W), and the model's state for its next step."""

    mask: Mask
    state: Any


class GuardedModel:
    """A model behind a guard: failures come back as values, and never cost a mask that is not theirs.

    A call that fails for several masks is made again for each mask alone; out of memory, it is made again for either
    half, and later calls of its kind (of the encoder, of the decoder) stay that small. An error after which a GPU
    answers nothing any more is not the masks': it ends the run as a :class:`~dmseg.errors.MachineError`.

    Args:
        model: the model.
        timeout: seconds that one call may take, or None; enforced in the main thread of a process on POSIX.
        threshold: probability (sigmoid of the logit) above which a pixel is foreground.
        calls: told of every call; those that it knows to end badly are not made (see :class:`dmseg.jobs.Watched`).

    Attributes:
        halvings: how often a batch was halved for lack of memory.
    """

    def __init__(
        self,
        model: ModelAdapter | SelfTestAdapter,
        timeout: float | None = None,
        *,
        threshold: float = 0.5,
        calls: Calls | None = None,
    ) -> None:
        self._model = model
        self._timeout = timeout
        self._cut = math.log(threshold / (1 - threshold))
        self._calls = calls or Calls()
        self._largest: dict[str, int] = {}
        self.halvings = 0

    def encode(self, images: Sequence[Image], name: str = "") -> list[Any]:
        """Return one embedding or :class:`CallFailure` per image, uint8 (H, W, 3); the model gets copies.

        ``name`` says which call of a run this is.
        """
        return self.encode_prepared(self.prepare(images, name), name)

    def prepare(self, images: Sequence[Image], name: str = "") -> list[Any]:
        """Return per image what :meth:`encode_prepared` takes, or :class:`CallFailure`.

        Threads that share the model may do this at any time, also while another one is at the network.
        """
        if not isinstance(self._model, PreparingAdapter):
            return [image.copy() for image in images]
        prepare = self._model.prepare
        return self._all(images, lambda some: [prepare(image.copy()) for image in some], f"prepare {name}")

    def encode_prepared(self, prepared: Sequence[Any], name: str = "") -> list[Any]:
        """Return one embedding or failure per result of :meth:`prepare`; one thread at a time."""
        usable = [one for one in prepared if not isinstance(one, CallFailure)]
        encoded = iter(self._all(usable, self._encode, f"encode {name}") if usable else ())
        return [one if isinstance(one, CallFailure) else next(encoded) for one in prepared]

    def predict(self, embedding: Any, questions: Sequence[Question], name: str = "") -> list[Answer | CallFailure]:
        """Return one answer or failure per question about one image; ``name`` as in :meth:`encode`."""
        return self._all(questions, lambda asked: self._answers(embedding, asked), f"predict {name}")

    def _all(self, items: Sequence[Any], call: Callable[[Sequence[Any]], list[Any]], name: str) -> list[Any]:
        kind = name.partition(" ")[0]
        largest = self._largest.get(kind, sys.maxsize)
        if len(items) > largest:
            return self._in_parts(items, largest, call, name)
        failure = self._find_lost(name)
        if failure is None:
            try:
                return self._call(items, call, name)
            except (Exception, SystemExit, CallTimeoutError) as error:
                failure = _failure(error, self._timeout)
                _check_gpu(failure, name)
        if failure.status == "oom":
            _free_memory()
        if len(items) == 1:
            return [failure]
        if failure.status != "oom":
            return self._in_parts(items, 1, call, name)
        self._largest[kind] = min(largest, len(items) // 2)
        self.halvings += 1
        return self._in_parts(items, len(items) // 2, call, name)

    def _in_parts(
        self, items: Sequence[Any], size: int, call: Callable[[Sequence[Any]], list[Any]], name: str
    ) -> list[Any]:
        parts = [items[start : start + size] for start in range(0, len(items), size)]
        return [
            result for place, part in enumerate(parts) for result in self._all(part, call, f"{name} /{size}.{place}")
        ]

    def _call(self, items: Sequence[Any], call: Callable[[Sequence[Any]], list[Any]], name: str) -> list[Any]:
        self._calls.tell(name)
        try:
            with limit_time(self._timeout):
                results = call(items)
                _wait(self._model)
                return results
        finally:
            self._calls.tell(None)

    def _find_lost(self, name: str) -> CallFailure | None:
        """Return the failure of a call that has ended a process before, None for any other."""
        how = self._calls.lost.get(name)
        if how == "timeout":
            return CallFailure("timeout", f"no answer within {self._timeout:g} s")
        return None if how is None else CallFailure("error", "the process ended during this call")

    def _encode(self, prepared: Sequence[Any]) -> list[Any]:
        model = self._model
        encode = model.encode_prepared if isinstance(model, PreparingAdapter) else model.encode
        embeddings = encode(list(prepared))
        if len(embeddings) != len(prepared):
            raise AnswerError(f"encode returned {len(embeddings)} embeddings for {len(prepared)} images")
        return list(embeddings)

    def _answers(self, embedding: Any, asked: Sequence[Question]) -> list[Answer | CallFailure]:
        prompts = [_private(question.prompts) for question in asked]
        if isinstance(self._model, SelfTestAdapter):
            prediction = self._model.predict_from_reference([question.reference.copy() for question in asked], prompts)
        else:
            states = [question.state for question in asked]
            prediction = read_prediction(self._model.predict([embedding], [0] * len(asked), prompts, states))
        logits, kept = prediction.logits, prediction.state
        expected = (len(asked), *asked[0].reference.shape)
        if tuple(getattr(logits, "shape", ())) != expected:
            raise AnswerError(f"logits of shape {_shape_text(logits)}; expected {expected}: masks, rows, columns")
        if kept is not None and len(kept) != len(asked):
            raise AnswerError(f"{len(kept)} states for {len(asked)} masks")
        masks, has_nan = _threshold(logits, self._cut)
        return [
            CallFailure("error", "NaN in the logits") if nan else Answer(mask, None if kept is None else kept[place])
            for place, (mask, nan) in enumerate(zip(masks, has_nan, strict=True))
        ]


def _private(prompts: Prompts) -> Prompts:
    box = None if prompts.box is None else prompts.box.copy()
    strokes = tuple(replace(stroke, path=stroke.path.copy()) for stroke in prompts.strokes)
    return replace(prompts, points=prompts.points.copy(), labels=prompts.labels.copy(), box=box, strokes=strokes)


def _shape_text(logits: Any) -> str:
    return str(tuple(logits.shape)) if hasattr(logits, "shape") else f"none ({type(logits).__name__})"


def _threshold(logits: Any, cut: float) -> tuple[NDArray[np.bool_], list[bool]]:
    """Return masks (N, H, W), logits above ``cut``, and which of them hold NaN.

    Tensors are compared where they lie, only bits are moved.
    """
    if hasattr(logits, "detach"):
        values = logits.detach()
        masks, has_nan = values > cut, (values != values).reshape(len(values), -1).any(dim=1)
        return masks.cpu().numpy(), has_nan.tolist()
    array = np.asarray(logits)
    if array.dtype.kind not in "fiub":
        raise AnswerError(f"logits of dtype {array.dtype}; expected numbers")
    return array > cut, (array != array).reshape(len(array), -1).any(axis=1).tolist()


def _failure(error: BaseException, timeout: float | None) -> CallFailure:
    if isinstance(error, CallTimeoutError):
        return CallFailure("timeout", f"no answer within {timeout:g} s")
    if isinstance(error, TimeoutError):
        return CallFailure("timeout", str(error)[:_LONGEST_MESSAGE] or "a time limit of the model's own")
    text = (str(error).strip().splitlines() or [""])[0]
    message = text if isinstance(error, AnswerError) else f"{type(error).__name__}: {text}"
    out_of_memory = isinstance(error, MemoryError) or any(sign in text.lower() for sign in _NO_MEMORY)
    return CallFailure("oom" if out_of_memory else "error", message[:_LONGEST_MESSAGE])


def _check_gpu(failure: CallFailure, name: str) -> None:
    """Raise MachineError for an error after which the GPU answers nothing any more."""
    if failure.status == "error" and any(sign in failure.message.lower() for sign in _GPU_LOST):
        raise MachineError(
            f"the GPU gave up during the call [{name}]: {failure.message}; every later call of this process would fail "
            "too, so nothing of it is counted. Run the same command again, it goes on from where it stopped; if this "
            "call ends so again, try --device cpu"
        )


def _wait(model: Any) -> None:
    """Wait until a GPU has done what it was asked: its time and its errors belong to this call, not to the next."""
    torch = sys.modules.get("torch")
    device = getattr(model, "device", None)
    if torch is not None and str(device).startswith("cuda") and torch.cuda.is_available():
        torch.cuda.synchronize(device)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
