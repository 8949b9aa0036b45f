"""Train the mini edition again, from nothing, and measure it: the weights that ship and the table of docs/pge_sam.md.

    python benchmarks/mini_edition.py --work mini [--data BENCH] [--jobs 2] [--only mini-sam,mini-pge-sam]

Phantoms of the seen data sets are drawn with a seed of their own, so the phantom edition stays held out. Every step
goes on where it was stopped; a finished one costs nothing. What it leaves below --work: NAME/weights.safetensors,
NAME/losses.csv and NAME/config.json of each model, runs/BENCHMARK/NAME, and in
runs/BENCHMARK table.csv (first and last step, with differences) and steps.csv (every step).
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
MODELS = (BACKBONE, "mini-ft", "mini-pge-sam", "mini-pge-sam-no-pgg", "mini-pge-sam-no-fr", "mini-pge-sam-no-msfi")
Row = dict[str, str | float]
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
    dmseg("train", name, "--data", work / "bench", "--out", work / name, "--device", "cpu",
          "--devices", str(devices), "--half", *base)  # fmt: skip


def evaluate(work: Path, name: str, benchmark: Path, preset: str, splits: str, out: Path) -> None:
    """Evaluate one trained model."""
    weights = work / name / "weights.safetensors"
    model = BACKBONE if name == BACKBONE else "mini-ft" if name == "mini-ft" else "mini-pge-sam"
    base = [] if name == BACKBONE else ["--model-arg", f"base_weights={work / BACKBONE / 'weights.safetensors'}"]
    dmseg("evaluate", "--model", model, "--weights", weights, *base, "--data", benchmark, "--preset", preset,
          "--split", splits, "--out", out)  # fmt: skip


def dice(table: CaseTable, step: int) -> np.ndarray:
    """Return Dice x 100 at one step, (N, L)."""
    return np.asarray(table.values["dice"][:, :, step] * 100)


def rows_of(name: str, table: CaseTable, reference: CaseTable) -> list[Row]:
    """Return the table's rows of one model and split: each level, their average, and the drop from Clear to LQ-3+."""
    last, first, other = dice(table, table.steps - 1), dice(table, 0), dice(reference, table.steps - 1)
    columns = [
        *((level, first[:, i], last[:, i], last[:, i] - other[:, i]) for i, level in enumerate(table.levels)),
        ("average", first.mean(1), last.mean(1), last.mean(1) - other.mean(1)),
        ("drop", first[:, 0] - first[:, -1], last[:, 0] - last[:, -1],
         last[:, 0] - last[:, -1] - other[:, 0] + other[:, -1]),
    ]  # fmt: skip
    found: list[Row] = []
    for level, one, final, difference in columns:
        at_first, at_last, paired = table.bootstrap.estimates(np.stack([one, final, difference], 1))
        found.append(
            {"model": name, "split": table.split, "level": level, "first": round(at_first.value, 2),
             "final": round(at_last.value, 2), "final_low": round(at_last.low, 2), "final_high": round(at_last.high, 2),
             f"minus_{REFERENCE}": round(paired.value, 2), "low": round(paired.low, 2),
             "high": round(paired.high, 2), "masks": paired.n, "cases": paired.cases}
        )  # fmt: skip
    return found


def curve_of(name: str, table: CaseTable) -> list[Row]:
    """Return Dice x 100 after every step of one model and split: each level and their average."""
    found: list[Row] = []
    for step in range(table.steps):
        values = dice(table, step)
        estimates = table.bootstrap.estimates(np.column_stack([values, values.mean(1)]))
        for level, one in zip((*table.levels, "average"), estimates, strict=True):
            found.append(
                {"model": name, "split": table.split, "steps": table.steps, "level": level, "step": step + 1,
                 "dice": round(one.value, 2), "low": round(one.low, 2), "high": round(one.high, 2)}
            )  # fmt: skip
    return found


def write(rows: Sequence[Row], path: Path) -> None:
    """Write rows of equal columns as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def show_curves(rows: Sequence[Row]) -> None:
    """Print Dice after each step, mean over the levels."""
    for split in dict.fromkeys(row["split"] for row in rows):
        print(f"\n{split}: Dice x 100 after each step, mean over the levels")
        runs = dict.fromkeys((row["model"], row["steps"]) for row in rows)
        for name, steps in runs:
            wanted = (split, name, steps, "average")
            found = [row for row in rows if (row["split"], row["model"], row["steps"], row["level"]) == wanted]
            print(f"{name:<22}" + " ".join(f"{row['dice']:4.1f}" for row in found))


def show(rows: Sequence[Row]) -> None:
    """Print the final Dice of each model by split and level."""
    names = list(dict.fromkeys(str(row["model"]) for row in rows))
    for split in dict.fromkeys(row["split"] for row in rows):
        some = next(row for row in rows if row["split"] == split)
        print(f"\n{split}, {some['masks']} objects of {some['cases']} cases: Dice x 100 after the last step; "
              f"drop to the last level; mean of the levels and last level minus {REFERENCE} [95 %]")  # fmt: skip
        for name in names:
            mine = {row["level"]: row for row in rows if row["model"] == name and row["split"] == split}
            cells = "  ".join(f"{row['final']:5.1f}" for level, row in mine.items() if level not in ("average", "drop"))
            differences = "  ".join(
                f"{mine[level][f'minus_{REFERENCE}']:+.2f} [{mine[level]['low']:+.2f}, {mine[level]['high']:+.2f}]"
                for level in ("average", list(mine)[-3])
            )
            print(f"{name:<22}{cells}   drop {mine['drop']['final']:4.1f}   {differences}")


def tables_of(path: Path) -> dict[str, CaseTable]:
    """Return a run's results by split."""
    return case_tables(harness.open_run(path).steps)


def main() -> None:
    """Do what is asked for and still missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="another benchmark to evaluate on; default: the phantom edition")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--only", default=",".join(MODELS), help=f"models; {REFERENCE} comes with them, to compare with"
    )
    parser.add_argument("--long", action="store_true", help="also twenty steps for three of the models")
    arguments = parser.parse_args()
    work, jobs = arguments.work, arguments.jobs
    wanted = {*arguments.only.split(","), REFERENCE}
    if wanted - {*MODELS}:
        parser.error(f"--only: unknown {', '.join(wanted - {*MODELS})}; known: {', '.join(MODELS)}")
    names = [name for name in MODELS if name in wanted]
    make_data(work, jobs)
    train(work, BACKBONE, devices=min(jobs, 2))
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: train(work, name), [name for name in names if name != BACKBONE]))
        benchmark = arguments.data or build.phantom_benchmark()
        # Nothing was trained on another benchmark, so all of its splits are held out.
        splits = "train,seen,unseen" if arguments.data else "seen,unseen"
        place = work / "runs" / (arguments.data.name if arguments.data else "phantoms")
        runs = [(name, "dmseg", place / name) for name in names]
        runs += [(name, "20-step", place / f"{name}-20") for name in LONG if arguments.long and name in names]
        list(pool.map(lambda run: evaluate(work, run[0], benchmark, run[1], splits, run[2]), runs))
    tables = {name: tables_of(place / name) for name in names}
    rows = [
        row
        for split in tables[REFERENCE]
        for name in names
        for row in rows_of(name, tables[name][split], tables[REFERENCE][split])
    ]
    curves = [row for name, _, path in runs for table in tables_of(path).values() for row in curve_of(name, table)]
    write(rows, place / "table.csv")
    write(curves, place / "steps.csv")
    show(rows)
    show_curves(curves)


if __name__ == "__main__":
    main()
