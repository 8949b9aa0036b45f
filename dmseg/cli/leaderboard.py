"""``dmseg leaderboard``: add runs to the record, build it, show it, compare two models."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import ANY_PATH, FOLDER
from dmseg.types import LEVELS, SPLITS

root_option = click.option("--root", type=FOLDER, default=None, help="Folder of the record; see below for the default.")
data_option = click.option(
    "--data", "benchmark", type=FOLDER, default=None, help="Benchmark of the run, where it is no published edition."
)


@click.group("leaderboard")
def command() -> None:
    """Keep the record of runs: every number is computed from the cases of the runs in it.

    Without --root it is the record of this checkout, or, where dmseg is installed as a package, one in your data folder
    that begins with the published record.
    """


@command.command("add")
@click.argument("run", type=ANY_PATH)
@root_option
@data_option
def add(run: Path, root: Path | None, benchmark: Path | None) -> int:
    """Check a run folder or zip, copy it into the record, and build the record.

    \b
    Example:
      dmseg leaderboard add runs/watershed
    """
    from dmseg import leaderboard

    added = leaderboard.add(run, root, benchmark=benchmark)
    for finding in added.verdict.findings:
        click.echo(str(finding), err=True)
    tier = "rescored" if added.verdict.rescored else "self-reported"
    click.echo(f"{added.folder}: {'added as ' + tier if added.new else 'this run was here already'}")
    click.echo(f"changed: {', '.join(added.changed) or 'nothing'}")
    click.echo("next: dmseg leaderboard show; open leaderboard.html beside the record")
    return 0


@command.command("build")
@root_option
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs from what the entries give.")
def build(root: Path | None, check: bool) -> int:
    """Compute leaderboard.csv, leaderboard_long.csv and leaderboard.html from the entries.

    \b
    Examples:
      dmseg leaderboard build
      dmseg leaderboard build --check          (in CI)
    """
    from dmseg import leaderboard

    changed = leaderboard.build(root, check=check)
    place = root or leaderboard.default_root()
    if check and changed:
        click.echo(f"{place}: {', '.join(changed)} differ from the entries; run: dmseg leaderboard build", err=True)
        return 1
    click.echo(f"{place}: {'changed ' + ', '.join(changed) if changed else 'up to date'}")
    return 0


@command.command("show")
@root_option
@click.option("--level", type=click.Choice(LEVELS), default=None, help="Sort by Dice at one level.")
@click.option("--by", default="dice", show_default=True, help="dice, iou, nsd, pa, hd95, drop or noc90.")
@click.option("--split", type=click.Choice(SPLITS), default=None, help="Only this split.")
def show(root: Path | None, level: str | None, by: str, split: str | None) -> int:
    """Print the record, one table per benchmark, preset and split.

    \b
    Examples:
      dmseg leaderboard show
      dmseg leaderboard show --level lq3plus --split unseen
      dmseg leaderboard show --by nsd
    """
    from dmseg import leaderboard

    click.echo(leaderboard.show(root, level=level, by=by, split=split))
    return 0


@command.command("compare")
@click.argument("first")
@click.argument("second")
@root_option
def compare(first: str, second: str, root: Path | None) -> int:
    """Compare two models of the record, or two run folders: paired differences of final Dice, in points.

    \b
    Example:
      dmseg leaderboard compare watershed disk
    """
    from dmseg import leaderboard

    rows = leaderboard.compare(first, second, root)
    parts = max(len(row.part) for row in rows)
    click.echo(f"Dice points, {first} minus {second}; 95 % interval over cases")
    click.echo("* = interval without 0; where each dataset has one case there is no interval")
    for row in rows:
        e = row.estimate
        mark = "*" if e.low < e.high and (e.low > 0 or e.high < 0) else " "
        click.echo(
            f"{row.split:<7} {row.part:<{parts}} {row.level:<10} {100 * e.value:+7.1f} "
            f"[{100 * e.low:+.1f}, {100 * e.high:+.1f}] {mark} {e.n} masks, {e.cases} cases"
        )
    return 0
