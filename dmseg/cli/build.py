"""``dmseg build``: raw downloads become one versioned benchmark folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmseg.cli.options import FOLDER, CommaList, jobs_option, levels_option, limit_option, seed_option

if TYPE_CHECKING:
    from dmseg.build import Estimate


@click.command("build")
@click.option("--raw", type=FOLDER, default=None, help="Folder of the raw downloads; default: the phantom edition.")
@click.option(
    "--out",
    type=FOLDER,
    default="benchmark",
    show_default=True,
    help="Benchmark folder: new, empty, or one to be continued.",
)
@click.option(
    "--datasets", "names", type=CommaList(), default=None, help="Comma-separated; default: all that are found."
)
@levels_option
@jobs_option
@limit_option
@seed_option
@click.option("--dry-run", is_flag=True, help="Say how many images, bytes and how much time, and change nothing.")
def command(
    raw: Path | None,
    out: Path,
    names: tuple[str, ...] | None,
    levels: tuple[str, ...],
    jobs: int,
    limit: int | None,
    seed: int,
    dry_run: bool,
) -> int:
    """Turn raw downloads into one versioned benchmark.

    It can be stopped at any moment; the same command goes on from there, and does again only what has changed.

    \b
    Examples:
      dmseg build --out bench                                  (phantoms, no data needed)
      dmseg build --raw raw --out bench --datasets BUSI,FLARE --jobs 8
      dmseg build --raw raw --out bench --dry-run
    """
    from dmseg import build

    if raw is None:
        click.echo(f"no --raw given: using the phantom edition in {build.cache_folder()}", err=True)
    if dry_run:
        _show_estimate(build.estimate(raw, datasets=names, levels=levels, limit=limit, seed=seed), jobs)
        return 0
    summary = build.build(raw, out, datasets=names, levels=levels, jobs=jobs, limit=limit, seed=seed)
    click.echo(f"{out}: {summary.n_images} images at {len(levels)} levels, {summary.edition} {summary.version}")
    click.echo(f"manifest_digest {summary.manifest_digest}")
    click.echo(
        f"left out: {summary.n_left_out} images; failed: {len(summary.errors)} sources; see {out}/build_report.csv"
    )
    for error in summary.errors[:10]:
        click.echo(f"  failed: {error}", err=True)
    click.echo(f"next: dmseg preview {out} --out sheet.png; dmseg evaluate --model watershed --data {out} --out run")
    return summary.exit_code


def _show_estimate(estimates: list[Estimate], jobs: int) -> None:
    click.echo(f"{'dataset':<14}{'sources':>9}{'images':>9}{'MB':>10}{'minutes':>10}")
    for row in estimates:
        minutes = row.seconds / jobs / 60
        click.echo(f"{row.dataset:<14}{row.n_sources:>9}{row.n_images:>9}{row.n_bytes / 1e6:>10.1f}{minutes:>10.1f}")
    total_bytes, total_seconds = sum(row.n_bytes for row in estimates), sum(row.seconds for row in estimates)
    n_sources, n_images = sum(row.n_sources for row in estimates), sum(row.n_images for row in estimates)
    click.echo(f"{'all':<14}{n_sources:>9}{n_images:>9}{total_bytes / 1e6:>10.1f}{total_seconds / jobs / 60:>10.1f}")
    click.echo(f"extrapolated from a few images of each dataset, for {jobs} worker(s); nothing was changed")
