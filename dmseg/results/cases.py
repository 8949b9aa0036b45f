"""The rows of a run as arrays, mask x level x step: what tables, curves and ranking average.

One :class:`CaseTable` per split. A failed prediction has its worst value already in the rows; nothing is dropped here,
and a gap in the rows is an error, not a hole in a mean.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from dmseg.errors import DataError
from dmseg.results.columns import run_schema
from dmseg.results.parquet import TextCodes, read_batches
from dmseg.statistics import CaseBootstrap
from dmseg.types import ALL_LEVELS, SPLITS

METRICS: tuple[str, ...] = ("dice", "iou", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95")
"""Columns of steps.parquet that are averaged; all but ``hd95`` (pixels, lower is better) are shares of 0..1."""
COUNTS: tuple[str, ...] = ("intersection", "union")
"""Columns of runs whose preset gives sentences, in pixels: what cIoU is made of."""
LOWER_IS_BETTER = frozenset({"hd95"})
NOC_TARGET = 0.90
MAX_STEPS = 1000
ADVICE = "is this the folder of a dmseg run?"
"""What to do where a table lacks a column."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CaseTable:
    """Results of one model on one split.

    Attributes:
        split: seen, unseen or train.
        mask_ids, datasets, cases, modalities: one text per mask, N masks sorted by id.
        levels: the L levels of the run, in benchmark order.
        values: metric -> (N, L, T) float64, of the metrics that were read; with :data:`COUNTS`, where rows have them.
        failed: (N, L, T) bool, rows whose status is not ``ok``.
    """

    split: str
    mask_ids: tuple[str, ...]
    datasets: tuple[str, ...]
    cases: tuple[str, ...]
    modalities: tuple[str, ...]
    levels: tuple[str, ...]
    values: dict[str, Array]
    failed: NDArray[np.bool_]

    @property
    def steps(self) -> int:
        """Number T of interaction steps."""
        return int(self.failed.shape[2])

    @functools.cached_property
    def bootstrap(self) -> CaseBootstrap:
        """The draws of this split's cases; equal for all runs over the same masks."""
        return CaseBootstrap(self.datasets, self.cases)

    def scale(self, metric: str) -> Array:
        """Return a metric's values (N, L, T) as tables show them: shares in per cent, distances as they are."""
        return self.values[metric] * (1.0 if metric in LOWER_IS_BETTER else 100.0)

    def bootstrap_rows(self, rows: NDArray[np.intp]) -> CaseBootstrap:
        """Return the draws of the cases of some masks, (K,) places."""
        return CaseBootstrap([self.datasets[row] for row in rows], [self.cases[row] for row in rows])

    def first_step_reaching(self, iou: float = NOC_TARGET) -> Array:
        """Return the number of interactions until IoU >= ``iou``, T where never reached, (N, L) float64."""
        reached = self.values["iou"] >= iou
        return np.where(reached.any(axis=2), reached.argmax(axis=2) + 1, self.steps).astype(np.float64)


def measure_loss(before: Array, after: Array, metric: str) -> Array:
    """Return by how much values of a metric are worse after than before; below 0 they are better."""
    return after - before if metric in LOWER_IS_BETTER else before - after


_TEXTS = ("split", "level", "mask_id", "dataset", "case_id", "modality")


@dataclass(frozen=True, eq=False)
class _Rows:
    """The columns that are arranged, in file order; values in chunks, which are given away one metric at a time.

    Attributes:
        texts: column -> (place of each row's text (N,) int32, the texts, sorted).
        step: (N,) int32.
        failed: (N,) bool.
        values: metric -> chunks of float64, N in all.
    """

    texts: dict[str, tuple[NDArray[np.int32], list[str]]]
    step: NDArray[np.int32]
    failed: NDArray[np.bool_]
    values: dict[str, list[Array]]


def case_tables(steps: pd.DataFrame, *, splits: Sequence[str] = SPLITS) -> dict[str, CaseTable]:
    """Arrange the rows of ``steps.parquet`` by split; splits without rows are left out.

    Raises:
        DataError: rows are missing or doubled, hold more than one seed, or say different things of one mask; the
            message names the first such row.
    """
    _require_one_seed(steps["seed"].unique())
    texts = {}
    for name in _TEXTS:
        codes, found = pd.factorize(steps[name], sort=True)
        texts[name] = codes.astype(np.int32), [str(text) for text in found]
    present = [*METRICS, *(name for name in COUNTS if name in steps)]
    values = {name: [steps[name].to_numpy(dtype=np.float64)] for name in present}
    rows = _Rows(texts, steps["step"].to_numpy(dtype=np.int32), (steps["status"] != "ok").to_numpy(dtype=bool), values)
    return {split: table for split, table in _arrange(rows).items() if split in splits}


def read_case_tables(path: Path, metrics: Sequence[str] = METRICS, *, text: bool = False) -> dict[str, CaseTable]:
    """Read ``steps.parquet`` and arrange it as :func:`case_tables` does, without ever holding the rows as text.

    Args:
        path: the file.
        metrics: which to read; the tables have no others.
        text: whether the run's preset gives sentences; then :data:`COUNTS` are read besides.

    Raises:
        DataError: as :func:`case_tables` and :func:`dmseg.results.parquet.read_batches`.
    """
    metrics = [*metrics, *(COUNTS if text else ())]
    columns = [*_TEXTS, "seed", "step", "status", *metrics]
    texts, seeds = {name: TextCodes() for name in _TEXTS}, set[int]()
    steps, failed = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=bool)]
    values: dict[str, list[Array]] = {name: [] for name in metrics}
    for batch in read_batches(path, run_schema("steps", text=text), ADVICE, columns, coded=True):
        for name, codes in texts.items():
            codes.add(batch[name])
        seeds.update(pc.unique(batch["seed"]).to_pylist())
        steps.append(batch["step"].to_numpy())
        failed.append(pc.not_equal(batch["status"], "ok").to_numpy(zero_copy_only=False))
        for name, chunks in values.items():
            chunks.append(batch[name].to_numpy())
    _require_one_seed(seeds)
    finished = {name: codes.finish() for name, codes in texts.items()}
    return _arrange(_Rows(finished, np.concatenate(steps), np.concatenate(failed), values))


def _require_one_seed(seeds: Iterable[int]) -> None:
    found = sorted(map(int, seeds))
    if len(found) > 1:
        raise DataError(f"rows of several seeds ({found[:10]}); a run has one")


def _require_known_values(rows: _Rows) -> None:
    for name, allowed in (("level", ALL_LEVELS), ("split", SPLITS)):
        if unknown := set(rows.texts[name][1]) - set(allowed):
            raise DataError(f"steps.parquet: {name} {ascii(min(unknown))[:60]}; one of: {', '.join(allowed)}")
    step = rows.step
    if len(step) and not 1 <= int(step.min()) <= int(step.max()) <= MAX_STEPS:
        raise DataError(f"steps.parquet: steps {step.min()} to {step.max()}; 1 to {MAX_STEPS}")


def _arrange(rows: _Rows) -> dict[str, CaseTable]:
    """Return a table per split, in the order of :data:`~dmseg.types.SPLITS`; ``rows.values`` is empty afterwards."""
    _require_known_values(rows)
    split_codes, present = rows.texts["split"]
    place = np.empty(len(rows.step), dtype=np.int64)
    shapes: dict[str, tuple[slice, tuple[int, int, int], tuple[str, ...]]] = {}
    start = 0
    for split in (split for split in SPLITS if split in present):
        inside = split_codes == present.index(split)
        own, shape, levels = _find_places(rows, inside)
        place[inside] = own + start
        shapes[split] = slice(start, start + len(own)), shape, levels
        start += len(own)
    texts = {name: _scatter(place, [rows.texts[name][0]], np.int32) for name in _TEXTS[2:]}
    failed = _scatter(place, [rows.failed], np.bool_)
    values = {name: _scatter(place, rows.values.pop(name), np.float64) for name in list(rows.values)}
    tables = {}
    for split, (inside_split, shape, levels) in shapes.items():
        first = {
            name: _list_mask_texts(texts, name, rows, inside_split, shape)
            for name in ("mask_id", "dataset", "case_id", "modality")
        }
        tables[split] = CaseTable(
            split=split,
            mask_ids=first["mask_id"],
            datasets=first["dataset"],
            cases=first["case_id"],
            modalities=first["modality"],
            levels=levels,
            values={name: one[inside_split].reshape(shape) for name, one in values.items()},
            failed=failed[inside_split].reshape(shape),
        )
    return tables


def _find_places(
    rows: _Rows, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], tuple[int, int, int], tuple[str, ...]]:
    """Return where each row of one split belongs among its masks x levels x steps, that shape, and the levels."""
    mask_codes, level_codes = (rows.texts[name][0][inside] for name in ("mask_id", "level"))
    mask_texts, level_texts = (rows.texts[name][1] for name in ("mask_id", "level"))
    masks = np.flatnonzero(np.bincount(mask_codes, minlength=len(mask_texts)))
    found = {level_texts[code] for code in np.flatnonzero(np.bincount(level_codes))}
    levels = tuple(level for level in ALL_LEVELS if level in found)
    mask_place = np.zeros(len(mask_texts), dtype=np.int64)
    mask_place[masks] = np.arange(len(masks))
    level_place = np.array([levels.index(text) if text in found else 0 for text in level_texts], dtype=np.int64)
    step = rows.step[inside]
    shape = (len(masks), len(levels), int(step.max()))
    place = (mask_place[mask_codes] * shape[1] + level_place[level_codes]) * shape[2] + step - 1
    _require_every_row_once(place, shape, [mask_texts[code] for code in masks], levels)
    return place, shape, levels


def _scatter(place: NDArray[np.int64], chunks: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    made: NDArray[Any] = np.empty(len(place), dtype=kind)
    start = 0
    for chunk in chunks:
        made[place[start : start + len(chunk)]] = chunk
        start += len(chunk)
    return made


def _list_mask_texts(
    texts: dict[str, NDArray[Any]], name: str, rows: _Rows, inside: slice, shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Return a text per mask; rows of one mask that say different things are refused."""
    codes, known = texts[name][inside].reshape(shape[0], -1), rows.texts[name][1]
    differs = (codes != codes[:, :1]).any(axis=1)
    if differs.any():
        mask = int(differs.argmax())
        mask_id = rows.texts["mask_id"][1][texts["mask_id"][inside].reshape(shape[0], -1)[mask, 0]]
        said = ", ".join(known[code] for code in np.unique(codes[mask])[:3])
        raise DataError(f"steps.parquet: mask {mask_id} has rows of {name} {said}; a mask has one")
    return tuple(known[code] for code in codes[:, 0])


def _require_every_row_once(
    place: NDArray[np.int64], shape: tuple[int, int, int], mask_ids: Sequence[str], levels: Sequence[str]
) -> None:
    size = math.prod(shape)
    if len(place) == size and (np.bincount(place, minlength=size) == 1).all():
        return
    taken, counts = np.unique(place, return_counts=True)  # one row of step 1000 must not ask for room for all of them
    gap = int(np.flatnonzero(np.append(taken, -1) != np.arange(len(taken) + 1))[0])
    doubled = taken[counts > 1]
    wrong = min([gap, *doubled[:1].tolist()]) if len(taken) < size else int(doubled[0])
    number = int(counts[taken == wrong].sum())
    mask, level, step = np.unravel_index(wrong, shape)
    raise DataError(
        f"steps.parquet has {number} rows for mask {mask_ids[mask]}, level {levels[level]}, "
        f"step {step + 1} ({len(doubled) + size - len(taken)} such places); each mask, level and step needs exactly "
        "one: finish the run with the same dmseg evaluate command"
    )
