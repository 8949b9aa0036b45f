"""Train the mini edition again, from nothing, and measure it: the weights that ship and the table of docs/pge_sam.md.

    python benchmarks/mini_edition.py --work mini --long [--data BENCH] [--only mini-sam,mini-pge-sam]

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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dmseg import build, harness
from dmseg.datasets import RECIPES, recipe
from dmseg.results.cases import CaseTable, case_tables

SEED = 1001
PER_DATASET = 200
BACKBONE = "mini-sam"
MODELS = (BACKBONE, "mini-ft", "mini-pge-sam", "mini-pge-sam-no-pgg", "mini-pge-sam-no-fr", "mini-pge-sam-no-msfi")
Row = dict[str, str | float]
REFERENCE, FULL = "mini-ft", "mini-pge-sam"
LONG = (BACKBONE, FULL)


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


@dataclass(frozen=True)
class ModelRun:
    """A trained model on a benchmark."""

    name: str
    out: Path
    benchmark: Path
    preset: str = "dmseg"
    splits: str = "seen,unseen"
    limit: int | None = None


def evaluate(work: Path, run: ModelRun) -> None:
    """Evaluate one trained model."""
    name, weights = run.name, work / run.name / "weights.safetensors"
    model = name if name in (BACKBONE, REFERENCE) else FULL
    base = [] if name == BACKBONE else ["--model-arg", f"base_weights={work / BACKBONE / 'weights.safetensors'}"]
    limit = ["--limit", str(run.limit)] if run.limit else []
    dmseg("evaluate", "--model", model, "--weights", weights, *base, "--data", run.benchmark, "--preset", run.preset,
          "--split", run.splits, *limit, "--out", run.out)  # fmt: skip


def dice(table: CaseTable, step: int) -> np.ndarray:
    """Return Dice x 100 at one step, (N, L)."""
    return np.asarray(table.values["dice"][:, :, step] * 100)


def rows_of(name: str, table: CaseTable, others: dict[str, CaseTable]) -> list[Row]:
    """Return the table's rows of one model and split: each level, their average, and the drop from Clear to LQ-3+.

    Args:
        others: models that it is compared with, on the same objects.
    """

    def columns(of: CaseTable, step: int) -> np.ndarray:
        values = dice(of, step)
        return np.column_stack([values, values.mean(1), values[:, 0] - values[:, -1]])

    last, first = table.steps - 1, columns(table, 0)
    final = columns(table, last)
    differences = {other: final - columns(its, last) for other, its in others.items()}
    found: list[Row] = []
    for index, level in enumerate((*table.levels, "average", "drop")):
        values = np.stack([part[:, index] for part in (first, final, *differences.values())], 1)
        at_first, at_last, *paired = table.bootstrap.estimates(values)
        row: Row = {
            "model": name, "split": table.split, "level": level, "masks": at_last.n, "cases": at_last.cases,
            "first": round(at_first.value, 2), "final": round(at_last.value, 2),
            "final_low": round(at_last.low, 2), "final_high": round(at_last.high, 2),
        }  # fmt: skip
        for other, one in zip(others, paired, strict=True):
            numbers = {"": one.value, "_low": one.low, "_high": one.high}
            row |= {f"minus_{other}{end}": round(number, 2) for end, number in numbers.items()}
        found.append(row)
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


def show(rows: Sequence[Row], others: Sequence[str]) -> None:
    """Print the final Dice of each model by split and level, and its differences to the others."""
    for split in dict.fromkeys(row["split"] for row in rows):
        of_split = [row for row in rows if row["split"] == split]
        first = of_split[0]
        print(f"\n{split}, {first['masks']} objects of {first['cases']} cases: Dice x 100 after the last step and drop")
        print(f"to the last level; mean of the levels and last level minus {', '.join(others)} [95 %]")
        for name in dict.fromkeys(row["model"] for row in of_split):
            mine = {str(row["level"]): row for row in of_split if row["model"] == name}
            *levels, average, drop = mine
            cells = "  ".join(f"{mine[level]['final']:5.1f}" for level in levels)
            differences = "  ".join(
                "{:+.1f} [{:+.1f}, {:+.1f}]".format(
                    *(mine[level][f"minus_{other}{end}"] for end in ("", "_low", "_high"))
                )
                for other in others
                for level in (average, levels[-1])
            )
            print(f"{name:<22}{cells}   drop {mine[drop]['final']:4.1f}   {differences}")


def tables_of(path: Path) -> dict[str, CaseTable]:
    """Return a run's results by split."""
    return case_tables(harness.open_run(path).steps)


def report(place: Path, names: Sequence[str], runs: Sequence[ModelRun]) -> None:
    """Write and print what the runs on one benchmark found."""
    tables = {name: tables_of(place / name) for name in names}
    others = [name for name in (REFERENCE, FULL) if name in names]
    rows = [
        row
        for split in tables[REFERENCE]
        for name in names
        for row in rows_of(name, tables[name][split], {other: tables[other][split] for other in others})
    ]
    curves = [row for run in runs for table in tables_of(run.out).values() for row in curve_of(run.name, table)]
    write(rows, place / "table.csv")
    write(curves, place / "steps.csv")
    print(f"\n{place.name}")
    show(rows, others)
    show_curves(curves)


def main() -> None:
    """Do what is asked for and still missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", default=[], help="a benchmark beside the phantom edition")
    parser.add_argument("--limit", type=int, help="images per data set of those")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default=",".join(MODELS), help=f"models; {REFERENCE} always comes with them")
    parser.add_argument("--long", action="store_true", help=f"twenty steps, too, for {' and '.join(LONG)}")
    arguments = parser.parse_args()
    work, jobs = arguments.work, arguments.jobs
    wanted = {*arguments.only.split(","), REFERENCE}
    if wanted - {*MODELS}:
        parser.error(f"--only: unknown {', '.join(wanted - {*MODELS})}; known: {', '.join(MODELS)}")
    names = [name for name in MODELS if name in wanted]
    make_data(work, jobs)
    train(work, BACKBONE, devices=min(jobs, 2))
    phantoms = work / "runs" / "phantoms"
    runs = {phantoms: [ModelRun(name, phantoms / name, build.phantom_benchmark()) for name in names]}
    if arguments.long:
        runs[phantoms] += [replace(run, out=phantoms / f"{run.name}-20", preset="20-step") for run in runs[phantoms]
                           if run.name in LONG]  # fmt: skip
    for data in arguments.data:
        # Nothing was trained on another benchmark, so all of its splits are held out.
        place, splits = work / "runs" / data.resolve().name, "train,seen,unseen"
        if place in runs:
            parser.error(f"--data {data}: another benchmark has this name, too; its runs would share a folder")
        runs[place] = [ModelRun(name, place / name, data, splits=splits, limit=arguments.limit) for name in names]
    with ThreadPoolExecutor(jobs) as pool:
        trained = {name: pool.submit(train, work, name) for name in names if name != BACKBONE}

        def evaluate_run(run: ModelRun) -> None:
            if run.name in trained:
                trained[run.name].result()
            evaluate(work, run)

        list(pool.map(evaluate_run, [run for some in runs.values() for run in some]))
    for place, some in runs.items():
        report(place, names, some)


if __name__ == "__main__":
    main()
