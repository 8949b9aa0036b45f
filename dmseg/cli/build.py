"""``dmseg build``: raw downloads become one versioned benchmark folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import (
    FILE,
    FOLDER,
    CommaList,
    engine_options,
    jobs_option,
    levels_option,
    limit_option,
    seed_option,
    shard_option,
    track_option,
)
from dmseg.errors import UsageError
from dmseg.progress import clock

if TYPE_CHECKING:
    from dmseg.build import BuildEstimate, BuildSummary


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
@click.option(
    "--recipe",
    "recipes",
    type=FILE,
    multiple=True,
    help="Recipe of your own data (dmseg init-recipe); may be given several times.",
)
@track_option
@levels_option
@jobs_option
@limit_option
@seed_option
@click.option(
    "--storage", default="png", show_default=True, help="png, or recipe (Clear only; the rest is made on reading)."
)
@engine_options
@shard_option
@click.option("--manifest", default=None, help="Rebuild exactly this benchmark: folder, zip or published name.")
@click.option("--dry-run", is_flag=True, help="Say how many images, bytes and how much time, and change nothing.")
@click.pass_context
def command(
    ctx: click.Context,
    raw: Path | None,
    out: Path,
    names: tuple[str, ...] | None,
    recipes: tuple[Path, ...],
    track: str | None,
    levels: tuple[str, ...],
    jobs: int,
    limit: int | None,
    seed: int,
    storage: str,
    engine: str,
    scheduler: str | None,
    shard: tuple[int, int] | None,
    manifest: str | None,
    dry_run: bool,
) -> int:
    """Turn raw downloads into one versioned benchmark.

    It can be stopped at any moment; the same command goes on from there, and does again only what has changed.

    \b
    Examples:
      dmseg build --out bench                                  (phantoms, no data needed)
      dmseg build --raw raw --out bench --datasets BUSI,FLARE --jobs 8
      dmseg build --raw raw --out bench --dry-run
      dmseg build --out photos --track natural                 (photographs; docs/natural.md)
      dmseg build --raw my-scans --recipe my-scans.toml --out bench    (your own data)
      dmseg build --raw raw --out bench --shard 1/8            (in a job array; then: dmseg merge bench)
      dmseg build --raw raw --out bench --manifest paper.zip   (exactly that benchmark, or what differs)
      dmseg build --raw my-scans --manifest mine.zip --recipe my-scans.toml --out bench
    """
    from dmseg import build

    if manifest is not None:
        _refuse(ctx, "--manifest", ("names", "track", "levels", "limit", "seed", "shard", "dry_run"))
    if shard is not None:
        _refuse(ctx, "--shard", ("limit", "dry_run"))
    if raw is None:
        click.echo(f"no --raw given: using the phantom edition in {build.cache_folder()}", err=True)
    where: dict[str, Any] = {"jobs": jobs, "storage": storage, "engine": engine, "scheduler": scheduler}
    own = tuple(str(path.resolve()) for path in recipes)
    if own:
        names = (*(names or ()), *own)
    what: dict[str, Any] = {"datasets": names, "track": track, "levels": levels, "seed": seed}
    if dry_run:
        _show_estimate(build.estimate(raw, **what, limit=limit, storage=storage), jobs)
        return 0
    if shard is not None:
        n_images, n_errors = build.build_shard(raw, out, shard, **what, **where)
        click.echo(f"{out}: shard {shard[0]}/{shard[1]} done: {n_images} images; failed: {n_errors} sources")
        click.echo(f"next, when all {shard[1]} shards are done: dmseg merge {out}")
        return 1 if n_errors else 0
    if manifest is not None:
        summary = build.rebuild(build.find_manifest(manifest), raw, out, recipes=own, **where)
    else:
        summary = build.build(raw, out, **what, **where, limit=limit)
    return show_summary(out, summary)


def _refuse(ctx: click.Context, option: str, names: Sequence[str]) -> None:
    """Refuse options that cannot go together with ``option``, which decides them."""
    given = [name for name in names if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if given:
        shown = ", ".join("--datasets" if name == "names" else f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{option} cannot be combined with {shown}")


def show_summary(out: Path, summary: BuildSummary) -> int:
    """Print what a build gave and what to do next; return the exit code."""
    click.echo(f"{out}: {summary.n_images} images, {summary.edition} {summary.version}")
    click.echo(f"manifest_digest {summary.manifest_digest}")
    click.echo(
        f"left out: {summary.n_left_out} images; failed: {len(summary.errors)} sources; see {out}/build_report.csv"
    )
    for error in summary.errors[:10]:
        click.echo(f"  failed: {error}", err=True)
    click.echo(f"next: dmseg preview {out} --out sheet.png; dmseg evaluate --model watershed --data {out} --out run")
    return summary.exit_code


def _show_estimate(estimates: list[BuildEstimate], jobs: int) -> None:
    click.echo(f"{'dataset':<14}{'sources':>9}{'images':>9}{'MB':>10}{'time':>10}")
    for row in estimates:
        time = clock(row.seconds / jobs)
        click.echo(f"{row.dataset:<14}{row.n_sources:>9}{row.n_images:>9}{row.n_bytes / 1e6:>10.1f}{time:>10}")
    n_sources, n_images = sum(row.n_sources for row in estimates), sum(row.n_images for row in estimates)
    n_bytes, time = sum(row.n_bytes for row in estimates), clock(sum(row.seconds for row in estimates) / jobs)
    click.echo(f"{'all':<14}{n_sources:>9}{n_images:>9}{n_bytes / 1e6:>10.1f}{time:>10}")
    click.echo(f"extrapolated from a few images of each dataset, for {jobs} worker(s); nothing was changed")
