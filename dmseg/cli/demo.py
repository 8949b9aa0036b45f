"""``dmseg demo``: the main job, end to end, on the embedded phantoms; no data, no download, no network needed."""

from __future__ import annotations

import functools
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FOLDER, jobs_option
from dmseg.types import LEVEL_LABELS, SPLITS, Image

if TYPE_CHECKING:
    from dmseg.build import Benchmark

_SECONDS_PER_IMAGE = 0.75
"""Processor seconds for one image of the demo: to draw and build it, and for each model; measured on a 2 GHz core."""
_CLASSICAL = ("disk", "watershed")
"""Weight-free models that finish in seconds; the networks whose weights ship follow where torch is installed."""


@click.command("demo")
@click.option("--out", type=FOLDER, default="demo", show_default=True, help="Folder for everything that is made.")
@click.option("--per-dataset", type=click.IntRange(min=1), default=2, show_default=True, help="Images per dataset.")
@jobs_option
def command(out: Path, per_dataset: int, jobs: int) -> int:
    """Build the embedded phantom edition, evaluate the shipped models, write pictures, reports and the ranking.

    It can be stopped at any moment; the same command goes on from there.

    \b
    Example:
      dmseg demo --out demo --jobs 2
    """
    from dmseg import datasets, leaderboard
    from dmseg.progress import progress

    start = time.monotonic()
    models = (*_CLASSICAL, *_list_runnable())
    seconds = _SECONDS_PER_IMAGE * per_dataset * len(datasets.RECIPES) * (2 + len(models)) / min(jobs, 2)
    click.echo(f"this takes about {seconds:.0f} s on two free cores; {len(models)} models", err=True)
    steps = progress(_run_steps(out, per_dataset, jobs, models), 3 + len(models), "demo", "steps")
    failed = max(steps)
    for line in _list_left_out(models):
        click.echo(line)
    click.echo(leaderboard.show(out / "leaderboard"))
    click.echo(f"done in {time.monotonic() - start:.0f} s: images at five levels, {len(models)} models")
    click.echo(f"pictures  {out / 'levels.png'}")
    for name in models:
        click.echo(f"report    {out / 'runs' / name / 'report.html'}")
    click.echo(f"ranking   {out / 'leaderboard' / 'leaderboard.html'}")
    click.echo(f"table     {out / 'leaderboard' / 'leaderboard.csv'}")
    click.echo(f"next: open a report in the browser; dmseg evaluate --model FILE.py:CLASS --data {out / 'benchmark'}")
    return failed


def _run_steps(out: Path, per_dataset: int, jobs: int, models: Sequence[str]) -> Iterator[int]:
    """Do one step after the other (phantoms, build, each model, pages), and yield the exit code of each."""
    from dmseg import build, harness, leaderboard, report
    from dmseg.imaging import write_png
    from dmseg.jobs import Backend
    from dmseg.jobs import run as run_units
    from dmseg.progress import progress

    raw = build.phantom_raw(per_dataset, jobs)
    click.echo(f"phantom raw data, in the original layouts: {raw}", err=True)
    yield 0
    benchmark = out / "benchmark"
    built = build.build(raw, benchmark, limit=per_dataset, jobs=jobs)
    write_png(out / "levels.png", _levels_sheet(build.open_benchmark(benchmark)))
    yield built.exit_code
    runs = [out / "runs" / name for name in models]
    for name, run in zip(models, runs, strict=True):
        # The train split is what models are trained on and no test of them, and most of the time.
        yield harness.evaluate(name, benchmark, run, splits=_list_splits(benchmark), jobs=jobs).exit_code
    write = functools.partial(report.write_report, benchmark=benchmark)
    with run_units(write, runs, Backend("loky", jobs)) as written:
        for _ in progress(written, len(runs), "reports", "pages"):
            pass
    for run in runs:
        leaderboard.add(run, out / "leaderboard")
    yield 0


def _list_splits(benchmark: Path) -> tuple[str, ...]:
    """Return the test splits that a benchmark of few images has, or all where it has none."""
    from dmseg.build import open_benchmark

    present = set(open_benchmark(benchmark).images["split"])
    return tuple(split for split in ("seen", "unseen") if split in present) or SPLITS


def _levels_sheet(benchmark: Benchmark) -> Image:
    """Draw the first image of each dataset and modality at every level, objects outlined."""
    from dmseg.figures import contact_sheet

    first = benchmark.images.groupby(["dataset", "modality"], sort=True).first().reset_index()
    masks = benchmark.masks.groupby("image_id")["mask_id"].apply(list)
    return contact_sheet(
        [[benchmark.image(image, level) for level in benchmark.levels] for image in first["image_id"]],
        [f"{row.dataset}, {row.modality}" for row in first.itertuples()],
        [LEVEL_LABELS[level] for level in benchmark.levels],
        contours=[[benchmark.mask(mask) for mask in masks[image]] for image in first["image_id"]],
        banner="Synthetic images (phantoms), no patients",
    )


def _list_runnable() -> list[str]:
    """Return the networks that can be run as they are: their weights ship, and their packages are installed."""
    from dmseg import baselines
    from dmseg.baselines.weights import list_shipped

    cards = baselines.model_cards()
    return [
        name for name, there in list_shipped().items() if there and not baselines.find_missing_packages(cards[name])
    ]


def _list_left_out(run: Container[str]) -> Iterable[str]:
    """Say which network models were not run, and why: packages or weights that are missing."""
    from dmseg import baselines

    reasons: dict[str, list[str]] = {}
    for name, card in baselines.model_cards().items():
        if card.kind != "network" or name in run:
            continue
        missing = baselines.find_missing_packages(card)
        if missing:
            reason = f"{', '.join(missing)} not installed: pip install 'dmseg-bench[{card.extra}]'"
        else:
            reason = "weights not installed: dmseg weights says how to get them"
        reasons.setdefault(reason, []).append(name)
    return [f"skipped {', '.join(names)}: {reason}" for reason, names in reasons.items()]
