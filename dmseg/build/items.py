"""A map-style dataset over a benchmark folder, as torch's ``DataLoader`` takes it; torch itself is not needed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmseg.build.benchmark import Benchmark, open_benchmark
from dmseg.errors import unknown_name
from dmseg.types import SPLITS

Item = dict[str, Any]


class BenchmarkDataset:
    """Items of one object each: the image at a level, and its mask. Hand it to a ``DataLoader``.

    Each item is a dictionary: ``image`` uint8 (3, H, W) RGB, ``mask`` bool (H, W), and the texts ``image_id``,
    ``mask_id``, ``dataset``, ``modality``, ``structure``, ``split``, ``level``. Arrays become tensors in torch's
    default collation. Sizes differ between images: use batches of one, a ``transform`` that makes them equal, or a
    ``collate_fn``. Workers may share it.

    Args:
        bench: benchmark folder, or an opened one.
        levels: level ids; each object is there once per level; None takes all of the benchmark.
        splits: splits to take.
        evaluated_only: only the evaluation subset.
        transform: called with each item; its result is what the dataset gives.

    Raises:
        DataError: the folder is no benchmark.
        UsageError: a level that the benchmark does not have, or an unknown split.
    """

    def __init__(
        self,
        bench: Benchmark | Path | str,
        *,
        levels: Sequence[str] | None = None,
        splits: Sequence[str] = ("train",),
        evaluated_only: bool = False,
        transform: Callable[[Item], Any] | None = None,
    ) -> None:
        self.bench = bench if isinstance(bench, Benchmark) else open_benchmark(bench)
        self.transform = transform
        levels = self.bench.levels if levels is None else levels
        _check("level of this benchmark", levels, self.bench.levels)
        _check("split", splits, SPLITS)
        images = {
            row["image_id"]: row
            for row in self.bench.manifest.images.select(["image_id", "dataset", "modality", "split"]).to_pylist()
            if row["split"] in splits
        }
        masks = self.bench.manifest.masks.select(["mask_id", "image_id", "structure", "evaluate"]).to_pylist()
        self._rows: list[Item] = [
            {**images[mask["image_id"]], "mask_id": mask["mask_id"], "structure": mask["structure"], "level": level}
            for mask in masks
            if mask["image_id"] in images and (mask["evaluate"] or not evaluated_only)
            for level in levels
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        row = self._rows[index]
        pixels = self.bench.image(row["image_id"], row["level"])
        colour = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        image = np.ascontiguousarray(colour.transpose(2, 0, 1))
        item = {"image": image, "mask": self.bench.mask(row["mask_id"]), **row}
        return item if self.transform is None else self.transform(item)


def _check(kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise unknown_name(kind, name, known)
