"""``info`` and ``splits``: tables that describe a benchmark, and an image of how large its objects are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from dmseg import datasets
from dmseg.build.benchmark import Benchmark
from dmseg.build.raw import list_names
from dmseg.build.tracks import list_acting, read_plan
from dmseg.figures import draw_histogram
from dmseg.files import write_bytes
from dmseg.imaging import png_bytes
from dmseg.tables import read_packaged_table
from dmseg.types import MEDICAL, SPLITS

PAPER_SPLITS: dict[str, int] = read_packaged_table("dmseg.build", "build.toml")["paper"]["splits"]
"""Images per split as the paper prints them."""


def counts_by(bench: Benchmark, column: str) -> pd.DataFrame:
    """Return images, cases, objects, evaluated objects and median object area per value of an images column.

    Args:
        bench: the opened benchmark.
        column: ``dataset``, ``modality`` or ``split``.

    Returns:
        One row per value, sorted, indexed by it; ``area_percent`` is the median object's share of its image.
    """
    images = bench.images
    masks = bench.masks.merge(images[["image_id", column, "height", "width"]], on="image_id")
    masks["area_percent"] = 100 * masks["area"] / (masks["height"] * masks["width"])
    grouped = images.groupby(column, observed=True)
    objects = masks.groupby(column, observed=True)
    return pd.DataFrame(
        {
            "images": grouped.size(),
            "cases": grouped["case_id"].nunique(),
            "objects": objects.size(),
            "evaluated": objects["evaluate"].sum(),
            "area_percent": objects["area_percent"].median().round(2),
        }
    )


def level_table(bench: Benchmark) -> pd.DataFrame:
    """Return, per level, the number of images and the operations that act there with how often each was drawn.

    Index: level ids. Columns: ``images``, then one per operation, in the order of how often it acts.
    """
    counts: dict[str, Counter[str]] = {level: Counter() for level in bench.levels}
    rows = bench.manifest.degradations
    for level, text in zip(rows["level"].to_pylist(), rows["plan"].to_pylist(), strict=True):
        counts[level]["images"] += 1
        counts[level].update(list_acting(read_plan(text), level))
    table = pd.DataFrame(counts).T.fillna(0).astype(int)
    order = table.drop(columns="images").sum().sort_values(ascending=False, kind="stable").index
    return table[["images", *order]]


def measure_capped_shares(bench: Benchmark) -> dict[str, float]:
    """Return, per modality and for ``all``, the share of images whose degradation the visibility cap weakened."""
    rows = bench.manifest.degradations
    modality = bench.images.set_index("image_id")["modality"]
    factors: dict[str, float] = {}
    for image_id, text in zip(rows["image_id"].to_pylist(), rows["plan"].to_pylist(), strict=True):
        factor = getattr(read_plan(text), "visibility", None)  # LQ-Seg has no cap
        factors[image_id] = 1.0 if factor is None else factor
    capped = pd.Series(factors, dtype=float) < 1
    shares = capped.groupby(modality.reindex(capped.index).astype(str)).mean()
    named = {str(name): float(share) for name, share in shares.items()}
    return {"all": float(capped.mean()) if len(capped) else 0.0, **named}


def split_counts(bench: Benchmark) -> pd.DataFrame:
    """Return images per dataset and split, with the paper's totals in the last rows.

    Index: datasets in the order of the paper's table, then ``all`` and ``paper``. Columns: train, seen, unseen, total,
    and ``paper``, the dataset's number of images in the paper. Of photographs the paper says nothing.
    """
    images = bench.images
    table = pd.crosstab(images["dataset"], images["split"]).reindex(columns=list(SPLITS), fill_value=0)
    known = [name for name in list_names() if name in table.index]
    table = table.reindex([*known, *(name for name in table.index if name not in known)])
    table["total"] = table.sum(axis=1)
    if bench.track != MEDICAL:  # the paper prints no numbers of photographs
        table.loc["all"] = table.sum()
        return table
    table["paper"] = [datasets.recipe(name).expected_images if name in known else 0 for name in table.index]
    table.loc["all"] = table.sum()
    table.loc["paper"] = [*(PAPER_SPLITS[split] for split in SPLITS), *(2 * [sum(PAPER_SPLITS.values())])]
    return table


def write_histogram(bench: Benchmark, out: Path) -> None:
    """Write a PNG with one histogram per dataset: objects by their share of the image area, logarithmic."""
    sizes = bench.images[["image_id", "dataset", "height", "width"]]
    masks = bench.masks.merge(sizes, on="image_id")
    masks["percent"] = 100 * masks["area"] / (masks["height"] * masks["width"])
    lowest, highest, per_decade = -3, 2, 4
    edges = np.linspace(lowest, highest, (highest - lowest) * per_decade + 1)
    ticks = [((power - lowest) * per_decade, f"{10.0**power:g}") for power in range(lowest, highest + 1)]
    panels = []
    for name, values in masks.groupby("dataset")["percent"]:
        logarithms = np.log10(values.clip(10.0**lowest, 100.0))  # an empty object counts among the smallest
        title = f"{name}: {len(values)} objects, median {values.median():.2g} %"
        counts = np.histogram(logarithms, edges)[0].tolist()
        panels.append(draw_histogram(counts, title, "share of the image area, %", ticks))
    columns = min(3, len(panels))
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % columns)
    rows = [np.hstack(panels[start : start + columns]) for start in range(0, len(panels), columns)]
    write_bytes(out, png_bytes(np.vstack(rows)))
