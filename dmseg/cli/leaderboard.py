"""``dmseg leaderboard``: add runs to the record, build it, show it, compare two models."""

from __future__ import annotations

from pathlib import Path

import click

from dmseg.cli.options import ANY_PATH, FILE, FOLDER, check_level_option
from dmseg.files import write_bytes
from dmseg.types import SPLITS

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
@click.option("--owner", default=None, help="Whom the entry is by, as you know it; default: the run's submitter.")
@root_option
@data_option
def add(run: Path, owner: str | None, root: Path | None, benchmark: Path | None) -> int:
    """Check a run folder or zip, copy it into the record as self-reported, and build the record.

    A self-reported entry is listed without a rank. It is ranked when it is audited (challenge, answer, audit) or
    re-run (confirm).

    \b
    Example:
      dmseg leaderboard add mine.zip --owner some-lab
    """
    from dmseg import leaderboard

    added = leaderboard.add(run, root, benchmark=benchmark, owner=owner)
    for finding in added.verdict.findings:
        click.echo(str(finding), err=True)
    click.echo(f"{added.folder}: {'added as self-reported' if added.new else 'this run was here already'}")
    click.echo(f"changed: {', '.join(added.changed) or 'nothing'}")
    click.echo(f"next: dmseg leaderboard challenge {added.folder.parent.name}/{added.folder.name}")
    return 0


@command.command("challenge")
@click.argument("entry")
@click.option("--beacon", default=None, help="Text nobody knew when the run was packed; default: a random number.")
@click.option("--source", default="", help="Where the beacon is from, such as: drand round 5123456.")
@click.option("--masks", type=click.IntRange(min=1), default=50, show_default=True, help="How many masks to draw.")
@click.option("-o", "--out", type=FILE, default=None, help="Also write the challenge here, to send it.")
@root_option
def challenge(entry: str, beacon: str | None, source: str, masks: int, out: Path | None, root: Path | None) -> int:
    """Draw masks of an entry whose predictions its submitter has to show.

    The rows of an entry hold the digest of every prediction, so they are fixed before anybody knows which are asked
    for. Send the challenge to the submitter, who answers with dmseg submit answer; then: dmseg leaderboard audit.

    \b
    Examples:
      dmseg leaderboard challenge my-model -o challenge.json
      dmseg leaderboard challenge my-model/2026-11-20-1a2b3c4d --beacon 8d61... --source "drand round 5123456"
    """
    from dmseg import leaderboard
    from dmseg.leaderboard.entries import CHALLENGE_FILE

    made = leaderboard.challenge(entry, root, beacon=beacon, source=source, masks=masks)
    path = leaderboard.find_entry(entry, root).folder / CHALLENGE_FILE
    if out is not None:
        write_bytes(out, path.read_bytes())
    click.echo(f"{path}: {len(made.masks)} masks of {made.model} drawn, beacon {made.beacon[:16]}... ({made.source})")
    click.echo(f"next: send it; the submitter runs: dmseg submit answer {(out or path).name} RUN -o answer.jsonl.gz")
    return 0


@command.command("audit")
@click.argument("entry")
@click.argument("answer", type=FILE)
@root_option
@data_option
def audit(entry: str, answer: Path, root: Path | None, benchmark: Path | None) -> int:
    """Compare an answer with the entry it is for, keep it, and build the record. Exit code 1 if it fails.

    \b
    Example:
      dmseg leaderboard audit my-model answer.jsonl.gz
    """
    from dmseg import leaderboard

    outcome = leaderboard.audit(entry, answer, root, benchmark=benchmark)
    for problem in outcome.problems:
        click.echo(problem, err=True)
    click.echo(f"{entry}: {outcome.shown} of {outcome.masks} masks shown, {outcome.failed} predictions do not fit")
    click.echo("audited" if outcome.passed else "failed: the entry stays self-reported")
    return 0 if outcome.passed else 1


@command.command("confirm")
@click.argument("entry")
@click.argument("run", type=FOLDER)
@root_option
def confirm(entry: str, run: Path, root: Path | None) -> int:
    """Compare an entry with your own run of the same model; where they agree, the entry is re-run. Else exit code 1.

    \b
    Example:
      dmseg evaluate --model their.py:Model --weights their.pth --data BENCH --out runs/again
      dmseg leaderboard confirm their-model runs/again
    """
    from dmseg import leaderboard

    found = leaderboard.confirm(entry, run, root)
    equal = "equal to the last bit" if found.equal else "not equal to the last bit"
    click.echo(
        f"{entry}: rows {equal}; mean Dice differs by at most {found.level_difference:.5f} at a level, "
        f"correlation {found.correlation:.4f}"
    )
    click.echo("re-run" if found.agrees else "does not agree: the tier is unchanged")
    return 0 if found.agrees else 1


@command.command("build")
@root_option
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file differs from what the entries give.")
def build(root: Path | None, check: bool) -> int:
    """Compute leaderboard.csv, leaderboard_long.csv and leaderboard.html from the entries.

    An entry that cannot be read is left out and named; the exit code is then 1.

    \b
    Examples:
      dmseg leaderboard build
      dmseg leaderboard build --check          (in CI)
    """
    from dmseg import leaderboard

    problems: list[str] = []
    changed = leaderboard.build(root, check=check, problems=problems)
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    place = root or leaderboard.default_root()
    if check and changed:
        click.echo(f"{place}: {', '.join(changed)} differ from the entries; run: dmseg leaderboard build", err=True)
        return 1
    click.echo(f"{place}: {'changed ' + ', '.join(changed) if changed else 'up to date'}")
    return 1 if problems else 0


@command.command("show")
@root_option
@click.option("--level", callback=check_level_option, default=None, help="Sort by Dice at one level.")
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


@command.command("compare", hidden=True)
@click.argument("first")
@click.argument("second")
@root_option
@click.pass_context
def compare(ctx: click.Context, first: str, second: str, root: Path | None) -> int:
    """The old name of ``dmseg compare``, for one version."""
    from dmseg.cli.compare import command as one_compare

    click.echo("dmseg leaderboard compare is dmseg compare now: SECOND minus FIRST", err=True)
    code: int = ctx.invoke(one_compare, first=first, second=second, metric="dice", root=root, out=None)
    return code
