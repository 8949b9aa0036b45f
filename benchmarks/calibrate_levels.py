"""How much Dice a model loses at each level of a benchmark, beside the paper's box model, and what the cap weakens.

    python benchmarks/calibrate_levels.py BENCH --out calibration [--model lite-medsam-box] [--limit 20] [--jobs 2]

BENCH is a built benchmark of real images (`dmseg build --raw RAW --out BENCH`). The run in --out goes on where it
was stopped. Printed: per split and level the mean Dice x 100 and the drop from Clear; per operation the mean drop at
LQ-3 of the images that have it, which shows the operations that cost most. The seen split counts the training images of
the seen data sets as well: choose a model that saw none of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dmseg import build, harness
from dmseg.datasets import recipe
from dmseg.results import open_run
from dmseg.types import LEVEL_LABELS, LEVELS

PAPER: dict[str, tuple[float, ...]] = {"seen": (2.1, 3.4, 6.3, 6.4), "unseen": (4.2, 7.8, 11.7, 12.1)}
"""Dice x 100 that the paper's LiteMedSAM with its box alone loses from Clear to LQ-1, LQ-2, LQ-3 and LQ-3+."""


def measure(bench: build.Benchmark, options: argparse.Namespace) -> pd.DataFrame:
    """Evaluate the model, and return Dice x 100 after the last step: one row per object, one column per level."""
    harness.evaluate(
        options.model, bench, options.out, preset=options.preset, weights=options.weights, limit=options.limit,
        jobs=options.jobs, splits=("train", "seen", "unseen"),
    )  # fmt: skip
    steps = open_run(options.out).steps
    last = steps[steps["step"] == steps["step"].max()]
    table = 100 * last.pivot(index=["dataset", "image_id", "mask_id"], columns="level", values="dice")
    return pd.DataFrame(table[[level for level in LEVELS if level in table]])


def roles_of(table: pd.DataFrame) -> pd.Series[str]:
    """Return for each row whether its data set is seen or unseen."""
    return table.index.get_level_values("dataset").to_series(index=table.index).map(lambda name: recipe(name).role)


def print_drops(table: pd.DataFrame) -> None:
    """Print Dice and drops per split, beside the paper's."""
    for role, rows in table.groupby(roles_of(table)):
        dice = rows.mean()
        drops = dice["clear"] - dice.drop("clear")
        print(f"{role}: {len(rows)} objects of {rows.index.get_level_values('dataset').nunique()} data sets")
        for level, drop, paper in zip(drops.index, drops, PAPER[str(role)], strict=False):
            print(f"  {LEVEL_LABELS[level]:<6} Dice {dice[level]:5.1f}  drop {drop:5.1f}  paper {paper:4.1f}")


def print_operations(table: pd.DataFrame, bench: build.Benchmark) -> None:
    """Print the mean drop at LQ-3 of the images that have an operation."""
    drop = table["clear"] - table["lq3"]
    images = table.index.get_level_values("image_id")
    names = {image: [step.operation for step in bench.plan(image, "lq3").general] for image in set(images)}
    rows = [(name, value) for image, value in zip(images, drop, strict=True) for name in names[image]]
    means = pd.DataFrame(rows, columns=["operation", "drop"]).groupby("operation")["drop"].agg(["mean", "size"])
    print(means.sort_values("mean", ascending=False).round(1).to_string())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument("--model", default="lite-medsam-box")
    parser.add_argument("--weights", default=None)
    parser.add_argument("--preset", default="box-only")
    parser.add_argument("--limit", type=int, default=None, help="images per data set")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    bench = build.open_benchmark(options.bench)
    shares = build.measure_capped_shares(bench)
    print(f"visibility cap weakens {shares['all']:.0%} of the images")
    table = measure(bench, options)
    print_drops(table)
    print_operations(table, bench)


if __name__ == "__main__":
    main()
