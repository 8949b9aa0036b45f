"""Train the mini edition again, from nothing, and measure it: the weights that ship and the table of docs/pge_sam.md.

    python benchmarks/mini_edition.py --work mini [--data BENCH] [--jobs 2] [--only mini-sam,mini-pge-sam]

Phantoms of the seen data sets are drawn with a seed of their own, so the phantom edition stays held out. Every step
goes on where it was stopped; a finished one costs nothing. What it leaves below --work: NAME/weights.safetensors,
NAME/losses.csv and NAME/config.json of each model, runs/BENCHMARK/NAME, and runs/BENCHMARK/table.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dmseg import build, harness
from dmseg.datasets import RECIPES, recipe
from dmseg.harness.cases import CaseTable, case_tables

SEED = 1001
PER_DATASET = 200
BACKBONE = "mini-sam"
VARIANTS = ("mini-ft", "mini-pge-sam", "mini-pge-sam-no-pgg", "mini-pge-sam-no-fr", "mini-pge-sam-no-msfi")
LEVELS = ("clear", "lq1", "lq2", "lq3", "lq3plus")
LONG = (BACKBONE, "mini-ft", "mini-pge-sam")
REFERENCE = "mini-ft"


def dmseg(*arguments: str | Path) -> None:
    """Run a dmseg command on one thread; variants and evaluations are run side by side instead."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "dmseg", *map(str, arguments)], check=True, env=environment)


def make_data(work: Path, jobs: int) -> Path:
    """Draw the training phantoms and build them at all levels, once."""
    if (work / "bench" / "benchmark.json").is_file():
        return work / "bench"
    seen = ",".join(name for name in RECIPES if recipe(name).role == "seen")
    dmseg("phantom", "--out", work / "raw", "--per-dataset", str(PER_DATASET), "--seed", str(SEED),
          "--datasets", seen, "--jobs", str(jobs))  # fmt: skip
    dmseg("build", "--raw", work / "raw", "--out", work / "bench", "--jobs", str(jobs))
    return work / "bench"


def train(work: Path, name: str, devices: int = 1) -> None:
    """Train one model; variants stand on the backbone trained before."""
    base = [] if name == BACKBONE else ["--base-weights", work / BACKBONE / "weights.safetensors"]
    dmseg("train", name, "--data", work / "bench", "--out", work / name, "--cache", work / "features",
          "--devices", str(devices), "--half", *base)  # fmt: skip


def evaluate(work: Path, name: str, benchmark: Path, preset: str, out: Path) -> None:
    """Evaluate one trained model."""
    weights = work / name / "weights.safetensors"
    model = BACKBONE if name == BACKBONE else "mini-ft" if name == "mini-ft" else "mini-pge-sam"
    base = [] if name == BACKBONE else ["--model-arg", f"base_weights={work / BACKBONE / 'weights.safetensors'}"]
    dmseg("evaluate", "--model", model, "--weights", weights, *base, "--data", benchmark, "--preset", preset,
          "--out", out)  # fmt: skip


def dice(table: CaseTable, step: int) -> np.ndarray:
    """Return Dice x 100 at one step, (N, L)."""
    return np.asarray(table.values["dice"][:, :, step] * 100)


def rows_of(name: str, table: CaseTable, reference: CaseTable) -> list[dict[str, str | float]]:
    """Return the table's rows of one model and split: each level and the drop from Clear to LQ-3+."""
    last, first, other = dice(table, table.steps - 1), dice(table, 0), dice(reference, table.steps - 1)
    columns = [
        *((level, first[:, i], last[:, i], last[:, i] - other[:, i]) for i, level in enumerate(table.levels)),
        ("average", first.mean(1), last.mean(1), last.mean(1) - other.mean(1)),
        ("drop", first[:, 0] - first[:, -1], last[:, 0] - last[:, -1],
         last[:, 0] - last[:, -1] - other[:, 0] + other[:, -1]),
    ]  # fmt: skip
    found = []
    for level, one, final, difference in columns:
        at_first, at_last, paired = table.bootstrap.estimates(np.stack([one, final, difference], 1))
        found.append(
            {"model": name, "split": table.split, "level": level, "first": round(at_first.value, 2),
             "final": round(at_last.value, 2), "final_low": round(at_last.low, 2), "final_high": round(at_last.high, 2),
             f"minus_{REFERENCE}": round(paired.value, 2), "low": round(paired.low, 2),
             "high": round(paired.high, 2), "masks": paired.n, "cases": paired.cases}
        )  # fmt: skip
    return found


def show(rows: Sequence[dict[str, str | float]], path: Path) -> None:
    """Write all rows as CSV and print the final Dice of each model by split and level."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    names = list(dict.fromkeys(str(row["model"]) for row in rows))
    for split in dict.fromkeys(row["split"] for row in rows):
        print(f"\n{split}: Dice x 100 after the last step; drop to LQ-3+; there, difference to {REFERENCE} [95 %]")
        for name in names:
            mine = {row["level"]: row for row in rows if row["model"] == name and row["split"] == split}
            cells = "  ".join(f"{mine[level]['final']:5.1f}" for level in LEVELS)
            paired = mine["lq3plus"]
            interval = f"{paired[f'minus_{REFERENCE}']:+.2f} [{paired['low']:+.2f}, {paired['high']:+.2f}]"
            print(f"{name:<22}{cells}   drop {mine['drop']['final']:4.1f}   {interval}")


def estimates_of(path: Path) -> dict[str, CaseTable]:
    """Return a run's results by split."""
    return case_tables(harness.open_run(path).steps)


def main() -> None:
    """Do what is asked for and still missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="another benchmark to evaluate on; default: the phantom edition")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default=",".join((BACKBONE, *VARIANTS)))
    parser.add_argument("--long", action="store_true", help="also twenty steps for three of the models")
    arguments = parser.parse_args()
    work, jobs = arguments.work, arguments.jobs
    names = [name for name in (BACKBONE, *VARIANTS) if name in arguments.only.split(",")]
    make_data(work, jobs)
    train(work, BACKBONE, devices=jobs)
    train(work, REFERENCE)  # first and alone: it fills the features that all variants share
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: train(work, name), [name for name in names if name not in (BACKBONE, REFERENCE)]))
        benchmark = arguments.data or build.phantom_benchmark()
        place = work / "runs" / (arguments.data.name if arguments.data else "phantoms")
        list(pool.map(lambda name: evaluate(work, name, benchmark, "dmseg", place / name), names))
        if arguments.long:
            long = [name for name in LONG if name in names]
            list(pool.map(lambda name: evaluate(work, name, benchmark, "20-step", place / f"{name}-20"), long))
    tables = {name: estimates_of(place / name) for name in names}
    rows = [
        row
        for split in tables[REFERENCE]
        for name in names
        for row in rows_of(name, tables[name][split], tables[REFERENCE][split])
    ]
    show(rows, place / "table.csv")


if __name__ == "__main__":
    main()
