"""The panels of a report: best, median and worst mask over the levels, and how a mask developed click by click.

A run keeps the predictions of these masks, and of the audited ones. A run of an older dmseg, or one that was submitted,
has only the latter: then the panels choose among those, or, where there are fewer than three, among all and leave out
the predictions they lack. Panels are cut to the object and its surroundings.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.figures import contact_sheet, embed_png, panel
from dmseg.results.audit import AuditRecord
from dmseg.results.cases import CaseTable
from dmseg.results.shown import WORST_CASES, choose_cases, find_worst
from dmseg.types import LEVEL_LABELS, Prompts

PANEL_SIZE = 240
_LEAST = 3
_LEAST_WINDOW = 64
_WHOLE = 0.8
"""Share of the image's longer side from which a window is not worth cutting."""

Predictions = Mapping[tuple[str, str, int], AuditRecord]
"""(mask_id, level, step) -> prediction, for the masks that the run kept."""


class Pixels(Protocol):
    """What the panels need of a benchmark."""

    def image(self, image_id: str, level: str) -> NDArray[np.uint8]:
        """Return the picture of one image at one level."""

    def mask(self, mask_id: str) -> NDArray[np.bool_]:
        """Return one reference mask."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One embedded picture: ``data:`` address, alternative text, caption."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True, slots=True)
class PanelRow:
    """Panels of one mask under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """All panels of one split; ``with_predictions`` is False where the run kept fewer than three masks of it."""

    over_levels: tuple[PanelRow, ...]
    over_steps: tuple[PanelRow, ...]
    with_predictions: bool


def gallery(
    table: CaseTable, prompts: pd.DataFrame, images: Mapping[str, str], predictions: Predictions, pixels: Pixels
) -> Gallery:
    """Draw the panels of one split.

    Args:
        prompts: rows of prompts.parquet.
        images: mask_id -> image_id.
        predictions: the masks that the run kept.
        pixels: the benchmark that the run was made on.
    """
    kept = {mask_id for mask_id, level, step in predictions if (level, step) == (table.levels[-1], table.steps)}
    audited = [i for i, mask_id in enumerate(table.mask_ids) if mask_id in kept]
    chosen = _best_median_worst(table, list(range(len(table.mask_ids))))
    enough = {table.mask_ids[place] for place in chosen.values()} <= kept
    if not enough and len(audited) >= _LEAST:
        chosen, enough = _best_median_worst(table, audited), True
    if not enough:
        chosen |= {f"Kept prediction {n}": i for n, i in enumerate(audited, 1) if i not in chosen.values()}
    asked = prompts[prompts["mask_id"].isin([table.mask_ids[i] for i in chosen.values()])]
    draw = _Drawing(table, _group_prompts(asked), images, predictions, pixels)
    hardest, steps = table.levels[-1], range(1, table.steps + 1)
    over_levels = tuple(
        PanelRow(f"{name}: {table.mask_ids[i]}", tuple(draw.panel(i, level, table.steps) for level in table.levels))
        for name, i in chosen.items()
    )
    over_steps = tuple(
        PanelRow(
            f"{name} at {LEVEL_LABELS[hardest]}, step by step: {table.mask_ids[i]}",
            tuple(draw.panel(i, hardest, step) for step in steps),
        )
        for name, i in chosen.items()
        if name == "Worst" and table.steps > 1
    )
    return Gallery(over_levels, over_steps, enough)


def worst_sheet(
    table: CaseTable,
    prompts: pd.DataFrame,
    images: Mapping[str, str],
    predictions: Predictions,
    pixels: Pixels,
    count: int = WORST_CASES,
) -> NDArray[np.uint8]:
    """Draw the ``count`` masks with the lowest final Dice at the hardest level (ties: by id), a column per level.

    The other arguments are those of :func:`gallery`. Returns uint8 (H, W, 3) RGB.
    """
    dice = 100 * table.values["dice"][:, :, -1]
    chosen = find_worst(table.mask_ids, dice[:, -1].tolist(), count)
    asked = prompts[prompts["mask_id"].isin([table.mask_ids[i] for i in chosen])]
    draw = _Drawing(table, _group_prompts(asked), images, predictions, pixels)
    return contact_sheet(
        [[draw.draw(i, level, table.steps) for level in table.levels] for i in chosen],
        [f"{table.mask_ids[i]}\n{table.split}, Dice " + ", ".join(f"{one:.1f}" for one in dice[i]) for i in chosen],
        [LEVEL_LABELS[level] for level in table.levels],
        cell=PANEL_SIZE,
    )


def _best_median_worst(table: CaseTable, candidates: list[int]) -> dict[str, int]:
    """Return the places of up to three different masks, by final Dice at the hardest level (ties: by id)."""
    dice = table.values["dice"][:, -1, -1]
    places = choose_cases([table.mask_ids[i] for i in candidates], [float(dice[i]) for i in candidates])
    return {name: candidates[place] for name, place in places.items()}


def choose_window(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 (exclusive) of what is drawn: the object in the middle of a square twice its size.

    At least 64 pixels; the whole image where the object fills most of it, or where there is none.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, width, height
    side = max(2 * int(rows[-1] - rows[0] + 1), 2 * int(columns[-1] - columns[0] + 1), _LEAST_WINDOW)
    if side >= _WHOLE * max(height, width):
        return 0, 0, width, height
    tall, wide = min(side, height), min(side, width)
    y0 = int(np.clip((rows[0] + rows[-1] + 1 - tall) // 2, 0, height - tall))
    x0 = int(np.clip((columns[0] + columns[-1] + 1 - wide) // 2, 0, width - wide))
    return x0, y0, x0 + wide, y0 + tall


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is needed to draw any panel of one split."""

    table: CaseTable
    prompts: Mapping[tuple[str, str], pd.DataFrame]
    images: Mapping[str, str]
    predictions: Predictions
    pixels: Pixels

    def panel(self, place: int, level: str, step: int) -> Panel:
        """Draw one mask at one level after one step, for a page."""
        mask_id, picture = self.table.mask_ids[place], self.draw(place, level, step)
        at = (place, self.table.levels.index(level), step - 1)
        dice = f"Dice {100 * self.table.values['dice'][at]:.1f}"
        failed = ", failed" if self.table.failed[at] else ""
        where = f"{LEVEL_LABELS[level]}, step {step}"
        return Panel(embed_png(picture), f"{mask_id}, {where}: {dice}{failed}", f"{where}: {dice}{failed}")

    def draw(self, place: int, level: str, step: int) -> NDArray[np.uint8]:
        """Draw one mask at one level after one step: contours, clicks, box."""
        mask_id = self.table.mask_ids[place]
        kept = self.predictions.get((mask_id, level, step))
        reference = self.pixels.mask(mask_id)
        x0, y0, x1, y1 = choose_window(reference)
        prompts = prompts_until(self.prompts[mask_id, level], step)
        shift = np.array([x0, y0], dtype=np.float32)
        return panel(
            self.pixels.image(self.images[mask_id], level)[y0:y1, x0:x1],
            reference[y0:y1, x0:x1],
            kept.mask()[y0:y1, x0:x1] if kept else None,
            dataclasses.replace(
                prompts,
                points=prompts.points - shift,
                box=None if prompts.box is None else prompts.box - np.tile(shift, 2),
            ),
            size=PANEL_SIZE,
        )


def _group_prompts(prompts: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Return (mask_id, level) -> its rows; none where there are none."""
    groups: Any = prompts.groupby(["mask_id", "level"], observed=True)
    return defaultdict(lambda: prompts.iloc[:0], list(groups))


def prompts_until(rows: pd.DataFrame, step: int) -> Prompts:
    """Return all prompts of one mask and level given up to ``step``, in the order given."""
    given = rows[rows["step"] <= step].sort_values(["step", "index"])
    points = given[given["kind"] == "point"]
    boxes = given[given["kind"] == "box"]
    corners: Any = boxes[["x0", "y0", "x1", "y1"]].to_numpy(dtype=np.float32)
    return Prompts(
        points=points[["x", "y"]].to_numpy(dtype=np.float32).reshape(-1, 2),
        labels=points["label"].to_numpy(dtype=np.int8),
        box=corners[-1] if len(corners) else None,
        step=step,
    )
