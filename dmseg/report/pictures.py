"""The panels of a report: best, median and worst mask over the levels, and how a mask developed click by click.

A prediction is known only where the run kept it (the audited masks), so the panels choose among those. Where fewer than
three masks of a split were audited, they choose among all, leave out the predictions they do not have, and add the
audited ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dmseg.figures import contact_sheet, embed_png, panel
from dmseg.results.audit import AuditRecord
from dmseg.results.cases import CaseTable
from dmseg.types import LEVEL_LABELS, Prompts

PANEL_SIZE = 240
_LEAST = 3

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
    kept = {mask_id for mask_id, _, _ in predictions}
    audited = [i for i, mask_id in enumerate(table.mask_ids) if mask_id in kept]
    enough = len(audited) >= _LEAST
    chosen = _best_median_worst(table, audited if enough else list(range(len(table.mask_ids))))
    if not enough:
        chosen |= {f"Kept prediction {n}": i for n, i in enumerate(audited, 1) if i not in chosen.values()}
    asked = prompts[prompts["mask_id"].isin([table.mask_ids[i] for i in chosen.values()])]
    draw = _Drawing(table, asked, images, predictions, pixels)
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
    count: int = 5,
) -> NDArray[np.uint8]:
    """Draw the ``count`` masks with the lowest final Dice at the hardest level (ties: by id), a column per level.

    The other arguments are those of :func:`gallery`. Returns uint8 (H, W, 3) RGB.
    """
    dice = 100 * table.values["dice"][:, :, -1]
    chosen = sorted(range(len(dice)), key=lambda i: (dice[i, -1], table.mask_ids[i]))[:count]
    asked = prompts[prompts["mask_id"].isin([table.mask_ids[i] for i in chosen])]
    draw = _Drawing(table, asked, images, predictions, pixels)
    return contact_sheet(
        [[draw.draw(i, level, table.steps) for level in table.levels] for i in chosen],
        [f"{table.mask_ids[i]}\n{table.split}, Dice " + ", ".join(f"{one:.1f}" for one in dice[i]) for i in chosen],
        [LEVEL_LABELS[level] for level in table.levels],
        cell=PANEL_SIZE,
    )


def _best_median_worst(table: CaseTable, candidates: list[int]) -> dict[str, int]:
    """Return the places of up to three different masks, by final Dice at the hardest level (ties: by id)."""
    dice = table.values["dice"][:, -1, -1]
    ranked = sorted(candidates, key=lambda i: (-dice[i], table.mask_ids[i]))
    places = {"Best": ranked[0], "Worst": ranked[-1], "Median": ranked[len(ranked) // 2]}
    return {name: places[name] for name in ("Best", "Median", "Worst") if name == "Best" or places[name] != ranked[0]}


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is needed to draw any panel of one split."""

    table: CaseTable
    prompts: pd.DataFrame
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
        rows = self.prompts[(self.prompts["mask_id"] == mask_id) & (self.prompts["level"] == level)]
        kept = self.predictions.get((mask_id, level, step))
        return panel(
            self.pixels.image(self.images[mask_id], level),
            self.pixels.mask(mask_id),
            kept.mask() if kept else None,
            prompts_until(rows, step),
            size=PANEL_SIZE,
        )


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
