"""Which images, levels and objects each batch holds, and how they are read. A pure function of config and batch.

One epoch visits every image of the splits once, in keyed order; each visit draws a level, objects and a turn. Neither
the number of processes nor a restart changes what a batch holds: a process takes every n-th visit of it.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg import simulators
from dmseg.baselines.prompted import InputFrame, PromptedAdapter
from dmseg.build import Benchmark
from dmseg.errors import DataError
from dmseg.rng import Stream
from dmseg.simulators import natural
from dmseg.training.augmentation import View, view
from dmseg.training.config import Stage, TrainConfig
from dmseg.training.prompts import KEY, Kind, draw_kind, first
from dmseg.types import MEDICAL, ROBUST, Image, Mask, Prompts, as_rgb

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """One image in one batch.

    Attributes:
        image_id, level, mask_ids: what is trained on.
        epoch: how often the image was visited before.
        turn: 0..7, quarter turns and a flip; 0 leaves it as it is.
        kind: kind of its first prompts, None where each object draws its own.
    """

    image_id: str
    level: str
    mask_ids: tuple[str, ...]
    epoch: int
    flip_rotation: int
    kind: Kind | None

    def key(self, mask_id: str) -> str:
        """Name an object at this visit: the key of its prompts."""
        return f"{mask_id}@{self.epoch}"


class BatchSchedule:
    """The batches of a run.

    Attributes:
        batches: how many there are.
        per_epoch: how many make an epoch, where epochs give the length; else 0.
        image_ids: the images, sorted.
    """

    def __init__(self, benchmark: Benchmark, config: TrainConfig, side: int) -> None:
        chosen = benchmark.images[benchmark.images["split"].isin(config.splits)]
        by_image = benchmark.masks.groupby("image_id")["mask_id"].agg(tuple).to_dict()
        self.image_ids = sorted(image_id for image_id in chosen["image_id"] if image_id in by_image)
        if not self.image_ids:
            raise DataError(f"{benchmark.path}: no images with objects in the splits {', '.join(config.splits)}")
        if benchmark.track == ROBUST:
            raise DataError(
                f"{benchmark.path}: is of the track {ROBUST}, whose degradations are for testing: train on the same "
                "photographs built with --track natural"
            )
        missing = [level for level in config.levels if level not in benchmark.levels]
        if missing:
            advice = "build it with all of them"
            if benchmark.track != MEDICAL:
                advice = f"of the track {benchmark.track} it cannot have them: take a preset that ends in -natural"
            raise DataError(f"{benchmark.path}: has no level {', '.join(missing)}; {advice}")
        self._masks = by_image
        self._config = config
        self.batches = config.batches or -(-config.epochs * len(self.image_ids) // config.batch)
        self.per_epoch = 0 if config.batches else -(-len(self.image_ids) // config.batch)
        stages = config.stages or (Stage(1.0, side, config.batch),)
        ends = [min(self.batches, round(stage.until * self.batches)) for stage in stages]
        self._plan: list[tuple[int, int, int, Stage]] = []  # first batch, end, first position, stage
        start = position = 0
        for stage, end in zip(stages, ends, strict=True):
            self._plan.append((start, end, position, stage))
            position += max(0, end - start) * stage.batch
            start = max(start, end)

    def side(self, batch: int) -> int:
        """Return the side of the images of a batch."""
        return self._stage(batch)[3].side

    def spans(self, first: int, end: int) -> Iterator[tuple[range, int]]:
        """Yield the batches from ``first`` to ``end`` in runs of one side, each with that side."""
        for start, stop, _, stage in self._plan:
            if batches := range(max(first, start), min(end, stop)):
                yield batches, stage.side

    def visits(self, batch: int) -> list[TrainingSample]:
        """Return what a batch holds, over all processes."""
        start, _, position, stage = self._stage(batch)
        first = position + (batch - start) * stage.batch
        n_kinds, seed = self._config.prompt_kinds, self._config.seed
        drawn = [draw_kind(f"kind@{batch}:{index}", seed) for index in range(n_kinds)]
        kinds: Sequence[Kind | None] = drawn or [None]
        return [self._visit(first + slot, kinds[slot % len(kinds)]) for slot in range(stage.batch)]

    def items(self, *, clear: bool) -> set[tuple[str, str]]:
        """Return each image and level that the run visits, and with ``clear`` its clear version, too."""
        visits = {(visit.image_id, visit.level) for batch in range(self.batches) for visit in self.visits(batch)}
        return visits | {(image_id, "clear") for image_id, _ in visits} if clear else visits

    def _stage(self, batch: int) -> tuple[int, int, int, Stage]:
        return next(entry for entry in self._plan if entry[0] <= batch < entry[1])

    def _visit(self, position: int, kind: Kind | None) -> TrainingSample:
        epoch, slot = divmod(position, len(self.image_ids))
        config = self._config
        image_id = self.image_ids[_order(config.seed, epoch, len(self.image_ids))[slot]]
        draw = Stream(KEY, config.seed, "visit", epoch, image_id)
        level = draw.choice(config.levels)
        turn = draw.integer(0, 7) if config.augment else 0
        known = self._masks[image_id]
        mask_ids = tuple(draw.sample(known, min(config.masks_per_image, len(known))))
        return TrainingSample(image_id, level, mask_ids, epoch, turn, kind)


@functools.lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> list[int]:
    return [int(place) for place in Stream(KEY, seed, "order", epoch).permutation(n)]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A batch, or one process's share of it, read.

    Attributes:
        visits: the images, B of them.
        pixels: (B, 3, S, S), or None where features are cached.
        clear: the same of the clear level, or None where it is not needed.
        image_index: (N,) index of each object's image.
        masks: N objects on the low-resolution grid, (h, w) bool.
        keys: names of objects and visits, N.
        prompts: first prompts, N.
    """

    visits: Sequence[TrainingSample]
    pixels: Tensor | None
    clear: Tensor | None
    image_index: Tensor
    masks: Sequence[Mask]
    keys: Sequence[str]
    prompts: Sequence[Prompts]

    @property
    def targets(self) -> Tensor:
        """The objects as (N, 1, h, w) float32."""
        return torch.from_numpy(np.stack(self.masks))[:, None].float()

    def pin_memory(self) -> Loaded:
        """Return the same with its images in memory that a GPU reads while it computes; torch's loader calls it."""
        pixels, clear = (images if images is None else images.pin_memory() for images in (self.pixels, self.clear))
        return replace(self, pixels=pixels, clear=clear)


class Loader:
    """Reads visits: images through the adapter's own preparation, objects onto the low-resolution grid.

    Small enough to be sent to worker processes: of the network it keeps the sides alone, as they are now.

    Args:
        pixels: whether images are needed, or cached features take their place.
        clear: whether the clear image is needed beside the degraded one.
    """

    def __init__(
        self, benchmark: Benchmark, adapter: PromptedAdapter, config: TrainConfig, *, pixels: bool, clear: bool
    ) -> None:
        self._benchmark, self._config, self._adapter = benchmark, config, copy.copy(adapter)
        self._side, self._grid = adapter.network.side, adapter.network.prompt_encoder.mask_input_size[0]
        self._adapter.network = SimpleNamespace(side=self._side)  # type: ignore[assignment]  # all that prepare asks
        self._pixels, self._clear = pixels, clear

    def load(self, visits: Sequence[TrainingSample]) -> Loaded:
        """Read visits."""
        read = [self._read(visit) for visit in visits]
        masks = [mask for _, _, part, _ in read for mask in part]
        counts = [len(part) for _, _, part, _ in read]
        return Loaded(
            visits=visits,
            pixels=_stack([pixels for pixels, _, _, _ in read]),
            clear=_stack([clear for _, clear, _, _ in read]),
            image_index=torch.repeat_interleave(torch.arange(len(visits)), torch.tensor(counts)),
            masks=masks,
            keys=[visit.key(mask_id) for visit in visits for mask_id in visit.mask_ids],
            prompts=[given for _, _, _, part in read for given in part],
        )

    def _read(self, visit: TrainingSample) -> tuple[Tensor | None, Tensor | None, list[Mask], list[Prompts]]:
        shapes = [self._benchmark.mask(mask_id) for mask_id in visit.mask_ids]
        seen = self._view(visit, shapes)
        shapes = [flip_and_rotate(mask, visit.flip_rotation) for mask in (seen.masks if seen else shapes)]
        pixels = clear = None
        if self._pixels:
            stored = self._benchmark.image(visit.image_id, "clear") if self._needs_clear(visit) else None
            original = seen.apply(stored) if seen and stored is not None else stored
            scan = stored[seen.window] if seen and stored is not None else stored
            pixels, frame = self._prepare(self._degrade(visit, original, scan), visit.flip_rotation)
            if self._clear and original is not None:
                clear, _ = self._prepare(original, visit.flip_rotation)
        else:
            frame = self._adapter.prepare(np.zeros((*shapes[0].shape, 3), np.uint8))[1]
        masks = [grid_mask(mask, frame, self._side, self._grid) for mask in shapes]
        keys = [visit.key(mask_id) for mask_id in visit.mask_ids]
        prompts = [first(mask, key, self._config.seed, visit.kind) for mask, key in zip(masks, keys, strict=True)]
        return pixels, clear, masks, prompts

    def _needs_clear(self, visit: TrainingSample) -> bool:
        return self._clear or self._config.degradation == "fresh" or visit.level == "clear"

    def _degrade(self, visit: TrainingSample, clear: Image | None, scan: Image | None) -> Image:
        """Return the image at the visit's level.

        Args:
            clear: as the visit sees it: degradation comes after appearance, as it does in a scanner.
            scan: the same part in its own tones, which show the scan's geometry.
        """
        if visit.level == "clear" and clear is not None:
            return clear
        if self._config.degradation == "fixed" or clear is None:
            return self._benchmark.image(visit.image_id, visit.level)
        return fresh_plan(self._benchmark, visit, clear, self._config.seed, scan).apply(clear, visit.level)

    def _view(self, visit: TrainingSample, masks: Sequence[Mask]) -> View | None:
        if self._config.appearance is None:
            return None
        draw = Stream(KEY, self._config.seed, "appearance", visit.epoch, visit.image_id)
        return view(self._config.appearance, masks, draw)

    def _prepare(self, image: Image, turn: int) -> tuple[Tensor, InputFrame]:
        return self._adapter.prepare(flip_and_rotate(as_rgb(image), turn))


def _stack(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.stack(present) if present else None


def fresh_plan(
    benchmark: Benchmark, visit: TrainingSample, clear: Image, seed: int, scan: Image | None = None
) -> simulators.Plan | natural.OnlinePlan:
    """Return a new degradation plan for a visit, of the benchmark's kind; of LQ-Seg it is its online version.

    Args:
        clear: what it is applied to.
        scan: the same part of the image in its own tones, on which the geometry of an ultrasound scan is measured;
            None: ``clear`` is the stored image.
    """
    stored = benchmark.plan(visit.image_id, benchmark.levels[-1])
    if not isinstance(stored, simulators.Plan):
        return natural.OnlinePlan(f"{visit.image_id}@{visit.epoch}", seed)
    geometry = stored.geometry
    if scan is not None and stored.modality == "ultrasound":
        geometry = simulators.observe(scan, modality=stored.modality, window=stored.window)["geometry"]
    return simulators.plan(
        f"{visit.image_id}@{visit.epoch}",
        modality=stored.modality,
        domain=[step.operation for step in stored.domain],
        image=clear,
        seed=seed,
        window=stored.window,
        geometry=geometry,
    )


def flip_and_rotate(array: NDArray[T], turn: int) -> NDArray[T]:
    """Return (H, W, ...) after ``turn % 4`` quarter turns, mirrored where ``turn`` is above 3."""
    result = np.rot90(array, turn % 4)
    return np.ascontiguousarray(result[:, ::-1] if turn > 3 else result)


def grid_mask(mask: Mask, frame: InputFrame, side: int, grid: int) -> Mask:
    """Return an object on the low-resolution grid: cells it covers by half or more, else those it covers most.

    Args:
        mask: (H, W) bool on the canvas, not empty.
        frame: where the canvas lies in the network's input.
        side, grid: of the input and of the low-resolution grid; ``side`` is a multiple of ``grid``.
    """
    height, width = frame.content
    content = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    x, y = frame.offset
    full = np.zeros((side, side), np.float32)
    full[y : y + height, x : x + width] = content
    step = side // grid
    covered = full.reshape(grid, step, grid, step).mean((1, 3))
    chosen: Mask = covered >= min(0.5, covered.max())
    return chosen
