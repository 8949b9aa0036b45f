"""Which images, objects and levels a run is about, and how they are cut into work units."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dmseg import imaging
from dmseg.build import Benchmark
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.harness.options import RunOptions
from dmseg.types import LEVELS, Mask

Block = tuple[tuple[str, str], ...]
"""A work unit: consecutive (image_id, level) items."""


@dataclass(frozen=True, slots=True)
class Target:
    """One object of one image, as the manifest has it."""

    mask_id: str
    structure: str
    rle: str

    def reference(self) -> Mask:
        """Return the object's mask, bool (H, W)."""
        return imaging.decode_rle(json.loads(self.rle))


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """One image with the objects that are evaluated, in the order of their ids."""

    image_id: str
    dataset: str
    modality: str
    split: str
    case_id: str
    spacing: tuple[float, float] | None
    targets: tuple[Target, ...]


@dataclass(frozen=True)
class Selection:
    """What a run is about.

    Attributes:
        images: image_id -> image, in manifest order.
        levels: level ids, in benchmark order.
        plan_digests: (image_id, level) -> digest of the plan.
    """

    images: Mapping[str, SelectedImage]
    levels: tuple[str, ...]
    plan_digests: Mapping[tuple[str, str], str]

    @property
    def n_masks(self) -> int:
        """Number of objects."""
        return sum(len(image.targets) for image in self.images.values())

    def blocks(self, batch_images: int) -> list[Block]:
        """Return the work units: ``batch_images`` consecutive items: by image, within it by level."""
        items = [(image_id, level) for image_id in self.images for level in self.levels]
        return [tuple(items[start : start + batch_images]) for start in range(0, len(items), batch_images)]


def levels_of(benchmark: Benchmark, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return the levels to run in benchmark order; asking for all five means all that the benchmark has.

    Raises:
        UsageError: a level that the benchmark does not have.
    """
    if set(wanted) == set(LEVELS):
        return benchmark.levels
    for level in wanted:
        if level not in benchmark.levels:
            raise unknown_name(f"level of the benchmark {benchmark.path}", level, benchmark.levels)
    return tuple(level for level in benchmark.levels if level in wanted)


def select(benchmark: Benchmark, options: RunOptions) -> Selection:
    """Choose the images of the splits asked for that have objects in the evaluation subset.

    With a limit, the first so many of each dataset by image id.

    Raises:
        UsageError: nothing is left; the message says what the benchmark has.
        DataError: masks are missing from the manifest, so that nothing can be scored.
    """
    evaluated = benchmark.masks[benchmark.masks["evaluate"]].sort_values("mask_id")
    images = benchmark.images.sort_values("image_id")
    images = images[images["image_id"].isin(set(evaluated["image_id"]))]
    chosen = images[images["split"].isin(options.splits)]
    if options.limit is not None:
        chosen = chosen.groupby("dataset").head(options.limit)
    if chosen.empty:
        raise UsageError(_explain_empty(benchmark, images, options.splits))
    evaluated = evaluated[evaluated["image_id"].isin(set(chosen["image_id"]))]
    if evaluated["rle"].isna().any():
        without = ", ".join(sorted({mask_id.split("__", 1)[0] for mask_id in evaluated["mask_id"]}))
        raise DataError(
            f"{benchmark.path}: masks of {without} are not in this manifest; build the benchmark from raw data"
        )
    targets: dict[str, list[Target]] = {}
    for row in evaluated.to_dict("records"):
        targets.setdefault(row["image_id"], []).append(Target(row["mask_id"], row["structure"], row["rle"]))
    pictures = {row["image_id"]: _select_image(row, targets[row["image_id"]]) for row in chosen.to_dict("records")}
    plans = benchmark.degradations[benchmark.degradations["image_id"].isin(set(pictures))]
    keys = zip(plans["image_id"], plans["level"], strict=True)
    return Selection(pictures, options.levels, dict(zip(keys, plans["plan_digest"], strict=True)))


def _select_image(row: Mapping[Any, Any], targets: list[Target]) -> SelectedImage:
    known = not (pd.isna(row["spacing_y"]) or pd.isna(row["spacing_x"]))
    spacing = (float(row["spacing_y"]), float(row["spacing_x"])) if known else None
    names = {name: str(row[name]) for name in ("image_id", "dataset", "modality", "split", "case_id")}
    return SelectedImage(**names, spacing=spacing, targets=tuple(targets))


def _explain_empty(benchmark: Benchmark, images: pd.DataFrame, splits: tuple[str, ...]) -> str:
    counts = images["split"].value_counts()
    present = ", ".join(f"{split} ({counts[split]})" for split in sorted(counts.index)) or "none"
    return (
        f"{benchmark.path} has no images to evaluate in split {', '.join(splits)}; "
        f"images with objects to evaluate by split: {present}; choose with --split"
    )
