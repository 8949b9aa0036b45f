"""What all SAM-style adapters share: canvas to network input and back, batching, feedback of the previous mask.

An adapter of one family says only how an image becomes input (:meth:`PromptedAdapter.prepare`) and how low-resolution
logits become canvas logits (:meth:`PromptedAdapter.finish`). The table of all families is in ``docs/models.md``.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dmseg.baselines.interface import Described, Prediction, find_refused_strokes
from dmseg.baselines.networks.precision import use_full_fp32
from dmseg.baselines.networks.sam import TABLE, Encoded, PromptedNetwork, map_tensors, parameter_count
from dmseg.errors import ModelError, unknown_name
from dmseg.types import Image, Prompts

MODES = ("iterative", "official")
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class InputFrame:
    """Where the canvas lies in the network's square input.

    Attributes:
        canvas: (height, width) of the stored image.
        content: (height, width) of the resized image, at the input's top left corner unless ``offset`` says else.
        scale: (x, y) factor from canvas pixels to input pixels.
        offset: (x, y) of the content's corner in input pixels.
    """

    canvas: tuple[int, int]
    content: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int] = (0, 0)

    def to_input(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Map canvas coordinates (..., 2) to input coordinates, float64."""
        return np.asarray(xy, dtype=np.float64) * self.scale + self.offset


@dataclass(frozen=True, slots=True)
class Embedding:
    """One image, encoded, with its frame."""

    encoded: Encoded
    frame: InputFrame


def longest_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Return (height, width) scaled so that the longer one is ``side``, rounded half up.

    >>> longest_side(210, 300, 1024)
    (717, 1024)
    """
    scale = side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def stretch_frame(image: Image, side: int) -> InputFrame:
    """Return the frame of an image that is stretched to a square of ``side``."""
    height, width = image.shape[:2]
    return InputFrame((height, width), (side, side), (side / width, side / height))


def is_ambiguous(prompts: Prompts) -> bool:
    """Tell whether a single click is all that is given: where Meta's predictors advise to ask for three masks."""
    return prompts.box is None and len(prompts.points) == 1


def min_max(image: NDArray[Any]) -> NDArray[np.float64]:
    """Stretch an image to [0, 1] over all pixels and channels; a constant one becomes 0."""
    values = image.astype(np.float64)
    low, high = values.min(), values.max()
    return np.asarray((values - low) / max(high - low, 1e-8))


class PromptedAdapter(Described, ABC):
    """Base of the adapters; see :class:`dmseg.baselines.interface.ModelAdapter`.

    Args:
        name: the model's name.
        network: a built network with its weights.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        mode: ``iterative`` follows the paper's protocol (all prompts and the previous logits go in, one mask comes
            out); ``official`` does what the authors' own predictor does where that differs.
        precision: ``fp32``, ``bf16`` or ``fp16`` (autocast).
    """

    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback", "batched_prompts"})
    modes: tuple[str, ...] = MODES

    def __init__(
        self,
        name: str,
        network: PromptedNetwork,
        device: str = "cpu",
        mode: str = "iterative",
        precision: str = "fp32",
    ) -> None:
        if mode not in self.modes:
            raise unknown_name("mode", mode, self.modes)
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        self.name = name
        self.card = name  # of the model card, where the weights' own name is another
        self.params = parameter_count(network)
        self.mode = mode
        self.weights_sha256: str | None = None
        self.precision = precision
        self.device = torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)

    # What a family says

    @abstractmethod
    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        """Return the network's input (3, S, S) float32 and its frame, from uint8 RGB (H, W, 3)."""

    @abstractmethod
    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        """Return canvas logits (N, H, W) from low-resolution logits (N, 1, 4E, 4E)."""

    def multimask(self, prompts: Prompts) -> bool:
        """Say whether three masks are asked for, of which the one of best predicted IoU is taken."""
        return False

    def box(self, box: NDArray[Any], frame: InputFrame) -> NDArray[np.float64]:
        """Return a box (4,) in input pixels."""
        return frame.to_input(box.reshape(2, 2)).reshape(4)

    def feedback(self, low_res: Tensor) -> Tensor:
        """Return what the mask prompt of the next step is, from low-resolution logits (N, 1, 4E, 4E)."""
        return low_res

    # What they share

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """Encode uint8 RGB images, one pass for all."""
        return self.encode_prepared([self.prepare(image) for image in images])

    def encode_prepared(self, prepared: Sequence[tuple[Tensor, InputFrame]]) -> list[Embedding]:
        """Encode what :meth:`prepare` made of images, one pass for all."""
        with self._use_precision():
            encoded = self.network.encode(torch.stack([pixels for pixels, _ in prepared]).to(self.device))
        return [Embedding(_one_image(encoded, index), frame) for index, (_, frame) in enumerate(prepared)]

    def predict(
        self,
        embeddings: Sequence[Embedding],
        image_index: Sequence[int],
        prompts: Sequence[Prompts],
        state: Sequence[Any],
    ) -> Prediction:
        """Answer N masks; those of one image with equally many points, alike in box and feedback, in one pass."""
        groups: OrderedDict[tuple[int, int, bool, bool], list[int]] = OrderedDict()
        for mask, (image, given, previous) in enumerate(zip(image_index, prompts, state, strict=True)):
            kind = (image, len(given.points), given.box is not None, previous is not None)
            groups.setdefault(kind, []).append(mask)
        logits: list[Tensor | None] = [None] * len(prompts)
        low_res: list[Tensor | None] = [None] * len(prompts)
        scores: list[Tensor | None] = [None] * len(prompts)
        for (image, *_), members in groups.items():
            canvas, low, iou = self._answer(
                embeddings[image], [prompts[i] for i in members], [state[i] for i in members]
            )
            for row, mask in enumerate(members):
                logits[mask], low_res[mask], scores[mask] = canvas[row], low[row], iou[row]
        # The scores stay where they are: to look at one would make the CPU wait for the GPU.
        return Prediction(_stack(logits), low_res, _stack(scores))

    def forward_prompts(
        self,
        embedding: Embedding,
        points: NDArray[Any] | None,
        labels: NDArray[Any] | None,
        box: NDArray[Any] | None,
        mask_input: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode N masks of one image from canvas coordinates.

        Args:
            points: (N, K, 2) or None; labels: (N, K) or None; box: (N, 4) or None.
            mask_input: (N, 1, 4E, 4E) or None.

        Returns:
            Low-resolution logits (N, M, 4E, 4E) and predicted IoU (N, M), float32.
        """
        frame, device = embedding.frame, self.device

        def tensor(array: NDArray[Any] | None, kind: torch.dtype) -> Tensor | None:
            return None if array is None else torch.as_tensor(np.ascontiguousarray(array), dtype=kind, device=device)

        with self._use_precision():
            low_res, iou = self.network.forward_prompts(
                embedding.encoded,
                tensor(None if points is None else frame.to_input(points), torch.float32),
                tensor(labels, torch.int64),
                tensor(None if box is None else np.stack([self.box(one, frame) for one in box]), torch.float32),
                mask_input,
                multimask,
            )
        return low_res.float(), iou.float()

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return official key -> live tensor, in the order of the official file."""
        return self.network.official_state_dict()

    def _answer(
        self, embedding: Embedding, prompts: Sequence[Prompts], state: Sequence[Any]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Answer masks of one image that are alike: canvas logits (N, H, W), feedback (N, 1, 4E, 4E), IoU (N,)."""
        first = prompts[0]
        points, labels, box = self.select_prompts(prompts)
        refused = find_refused_strokes(prompts, self.capabilities)
        if refused or (points is None and box is None):
            kinds = sorted(self.capabilities - {"batched_prompts", "mask_feedback"})
            raise ModelError(f'model "{self.name}" cannot use these prompts: it needs {" or ".join(kinds)}')
        mask_input = torch.stack(list(state)) if state[0] is not None else None
        low_res, iou = self.forward_prompts(embedding, points, labels, box, mask_input, self.multimask(first))
        best = iou.argmax(1)
        rows = torch.arange(len(prompts), device=best.device)
        low_res = low_res[rows, best][:, None]
        return self.finish(low_res, embedding.frame), self.feedback(low_res), iou[rows, best]

    def select_prompts(
        self, prompts: Sequence[Prompts]
    ) -> tuple[NDArray[Any] | None, NDArray[Any] | None, NDArray[Any] | None]:
        """Return points (N, K, 2), labels (N, K) and boxes (N, 4) in canvas pixels, None for what is not given."""
        has_points, has_box = len(prompts[0].points) > 0, prompts[0].box is not None
        return (
            np.stack([given.points for given in prompts]) if has_points else None,
            np.stack([given.labels for given in prompts]) if has_points else None,
            np.stack([np.asarray(given.box) for given in prompts]) if has_box else None,
        )

    @contextlib.contextmanager
    def _use_precision(self) -> Any:
        """No gradients; autocast where a reduced precision was asked for; else all of fp32 (:func:`use_full_fp32`)."""
        kind = PRECISIONS[self.precision]
        autocast = torch.autocast(self.device.type, dtype=kind, enabled=kind is not None)
        with torch.inference_mode(), autocast, use_full_fp32():
            yield


def _one_image(encoded: Encoded, index: int) -> Encoded:
    """Return image ``index`` of a batched encoding, its batch axis kept, in memory of its own.

    A view would keep the encodings of the whole batch until the last image is done.
    """

    def take(value: Tensor) -> Tensor:
        part = value[index : index + 1]
        return part if len(value) == 1 else part.clone(memory_format=torch.preserve_format)

    return map_tensors(encoded, take)


def _stack(parts: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([part for part in parts if part is not None])


def normalise_imagenet(image: Tensor) -> Tensor:
    """Return (3, h, w) on 0..255 with the ImageNet mean taken off and divided by its deviation."""
    table = TABLE["normalisation"]
    mean, deviation = (torch.tensor(table[name], dtype=image.dtype)[:, None, None] for name in ("mean", "std"))
    return (image - mean) / deviation


def pad_to_square(image: Tensor, side: int) -> Tensor:
    """Return (3, h, w) padded with zeros on the right and at the bottom to (3, side, side)."""
    return functional.pad(image, (0, side - image.shape[-1], 0, side - image.shape[-2]))


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, 1, h, w) to ``size``, pixel centres aligned as in the official code."""
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
