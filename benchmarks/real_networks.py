"""Measure the real networks on real images: the official LiteMedSAM and what was trained on it; docs/real_networks.md.

    python benchmarks/real_networks.py --data BENCH --weights lite_medsam.pth --work real --runs RUNS [--limit 5]

``--data`` is a benchmark that no run was trained on, ``--runs`` a folder of runs of ``dmseg train``
(RUNS/NAME/FILE.safetensors); what is not there yet is left out and said. Every evaluation goes on where it was stopped;
a finished one costs nothing. Below --work: runs/NAME, table.csv (each level: first and last step, with differences),
steps.csv (every step), first_prompts.csv (by the kind of the first prompt), drops.csv (Dice lost from Clear to each
level, beside the paper's).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from mini_edition import Row, curve_of, rows_of, show, show_curves, write

from dmseg.results import open_run
from dmseg.results.cases import CaseTable, case_tables
from dmseg.types import LEVELS

BASE, BOX, FULL, FINETUNED = "lite-medsam", "lite-medsam-box", "lite-pge-sam", "lite-medsam-ft"
# Name -> folder below --runs and file in it, in the order of the page.
TRAINED = {
    FINETUNED: (FINETUNED, "weights.safetensors"),
    "lite-robust-sam": ("lite-robust-sam", "weights.safetensors"),
    FULL: (FULL, "weights.safetensors"),
    "lite-pge-sam-1500": (FULL, "weights-375.safetensors"),
    "lite-pge-sam-no-pgg": ("lite-pge-sam-no-pgg", "weights.safetensors"),
    "lite-pge-sam-no-fr": ("lite-pge-sam-no-fr", "weights.safetensors"),
    "lite-pge-sam-no-msfi": ("lite-pge-sam-no-msfi", "weights.safetensors"),
}
# Dice x 100 lost from Clear to LQ-1, LQ-2, LQ-3, LQ-3+ in the paper: with the box alone, and after five interactions.
PAPER = {
    ("seen", BOX): (2.1, 3.4, 6.3, 6.4),
    ("unseen", BOX): (4.2, 7.8, 11.7, 12.1),
    ("seen", BASE): (0.7, 5.1, 9.8, 10.2),
    ("unseen", BASE): (7.4, 13.5, 18.3, 18.3),
}


@dataclass(frozen=True)
class Model:
    """One row of the page: its name, the model that loads it, its file, and the prompt preset."""

    name: str
    loads: str
    weights: Path
    preset: str = "dmseg"


def models_of(weights: Path, runs: Path | None) -> list[Model]:
    """Return the official model, and the trained ones whose file is there."""
    found = [Model(BASE, BASE, weights), Model(BOX, BOX, weights, "box-only")]
    for name, (folder, file) in TRAINED.items():
        loads = name if name in (FINETUNED, "lite-robust-sam") else FULL
        path = None if runs is None else runs / folder / file
        if path is not None and path.is_file():
            found.append(Model(name, loads, path))
        else:
            print(f"{name}: not trained yet, left out")
    return found


def evaluate(model: Model, chosen: argparse.Namespace) -> Path:
    """Evaluate one model on one thread and return its run."""
    out: Path = chosen.work / "runs" / model.name
    base = [] if model.loads in (BASE, BOX) else ["--model-arg", f"base_weights={chosen.weights}"]
    limit = ["--limit", str(chosen.limit)] if chosen.limit else []
    arguments = ["evaluate", "--model", model.loads, "--weights", model.weights, *base, "--data", chosen.data,
                 "--preset", model.preset, "--split", "all", *limit, "--out", out]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "dmseg", *map(str, arguments)], check=True, env=environment)
    return out


def read_tables(path: Path) -> dict[str, CaseTable]:
    """Return a run's results: those of the splits train and seen together as ``seen``, and ``unseen``."""
    steps = open_run(path).steps
    return case_tables(steps.assign(split=steps["split"].where(steps["split"] == "unseen", "seen")))


def list_drops(name: str, table: CaseTable) -> list[Row]:
    """Return the Dice lost from Clear to each other level after the first and the last step, beside the paper's."""
    dice = table.values["dice"] * 100
    paper = dict(zip(LEVELS[1:], PAPER.get((table.split, name), ()), strict=False))
    found: list[Row] = []
    for place, level in enumerate(table.levels[1:], 1):
        lost = np.stack([dice[:, 0, step] - dice[:, place, step] for step in (0, table.steps - 1)], 1)
        first, last = table.bootstrap.estimates(lost)
        found.append(
            {"model": name, "split": table.split, "level": level, "first": round(first.value, 2),
             "last": round(last.value, 2), "low": round(last.low, 2), "high": round(last.high, 2),
             "paper": paper.get(level, float("nan"))}
        )  # fmt: skip
    return found


def list_by_first_prompt(name: str, path: Path) -> list[Row]:
    """Return mean Dice x 100 over objects by the kind of the first prompt, for each level, first and last step."""
    run = open_run(path)
    steps = run.steps
    prompts = pd.read_parquet(path / "prompts.parquet")
    boxed = prompts[prompts["step"] == 1].groupby("mask_id")["kind"].agg(lambda kinds: "box" in set(kinds))
    kind = steps["mask_id"].map(boxed).map({True: "box", False: "clicks"})
    last = steps["step"].max()
    chosen = steps.assign(kind=kind)[steps["step"].isin((1, last))]
    means = chosen.groupby(["kind", "level", "step"], observed=True)["dice"].agg(["mean", "size"]).reset_index()
    return [
        {"model": name, "first_prompt": str(row.kind), "level": str(row.level), "step": int(row.step),
         "dice": round(100 * float(row.mean), 2), "objects": int(row.size)}
        for row in means.itertuples(index=False)
    ]  # fmt: skip


def report(work: Path, models: Sequence[Model], paths: dict[str, Path]) -> None:
    """Write and print what the runs found."""
    tables = {model.name: read_tables(paths[model.name]) for model in models}
    clicked = [model.name for model in models if model.name != BOX]
    others = [name for name in (BASE, FINETUNED) if name in clicked]
    rows = [
        row
        for split in tables[BASE]
        for name in clicked
        for row in rows_of(name, tables[name][split], {other: tables[other][split] for other in others})
    ]
    curves = [row for name in clicked for table in tables[name].values() for row in curve_of(name, table)]
    drops = [row for name, its in tables.items() for table in its.values() for row in list_drops(name, table)]
    write(rows, work / "table.csv")
    write(curves, work / "steps.csv")
    write(drops, work / "drops.csv")
    write([row for name in clicked for row in list_by_first_prompt(name, paths[name])], work / "first_prompts.csv")
    show(rows, others)
    show_curves(curves)
    print("\nDice x 100 lost from Clear, last step (paper)")
    for row in drops:
        print("{model:<22}{split:<8}{level:<10}{last:5.1f} [{low:5.1f}, {high:5.1f}]  ({paper})".format(**row))


def main() -> None:
    """Do what is asked for and still missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a benchmark of real images that no run saw")
    parser.add_argument("--weights", type=Path, required=True, help="the official lite_medsam.pth")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=None, help="folder of runs of dmseg train")
    parser.add_argument("--limit", type=int, default=None, help="at most so many images per dataset")
    parser.add_argument("--only", default="", help="names, comma-separated; default: all that are there")
    chosen = parser.parse_args()
    models = models_of(chosen.weights, chosen.runs)
    if chosen.only:
        models = [model for model in models if model.name in (BASE, *chosen.only.split(","))]
    paths = {model.name: evaluate(model, chosen) for model in models}
    report(chosen.work, models, paths)


if __name__ == "__main__":
    main()
