"""``dmseg submit``: check a run as a submission, and pack it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dmseg.cli.leaderboard import data_option, root_option
from dmseg.cli.options import ANY_PATH, FILE


@click.group("submit")
def command() -> None:
    """Prepare a run for the leaderboard: the same checks here as where it is received.

    \b
    Examples:
      dmseg submit check runs/mine
      dmseg submit pack runs/mine -o mine.zip
    """


@command.command("check")
@click.argument("run", type=ANY_PATH)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@data_option
@root_option
def check(run: Path, strict: bool, as_json: bool, benchmark: Path | None, root: Path | None) -> int:
    """Check a run folder or zip: all findings at once. Exit code 0 if it would be accepted, else 1.

    \b
    Examples:
      dmseg submit check runs/mine
      dmseg submit check runs/mine --data bench --strict
    """
    from dmseg import leaderboard

    verdict = leaderboard.check(run, benchmark=benchmark, root=root)
    accepted = verdict.accepted and not (strict and verdict.findings)
    if as_json:
        findings = [{"code": f.code, "where": f.where, "what": f.what, "fix": f.fix} for f in verdict.findings]
        report = {"accepted": accepted, "rescored": verdict.rescored, "findings": findings}
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return 0 if accepted else 1
    for finding in verdict.findings:
        click.echo(str(finding))
    errors = sum(finding.is_error for finding in verdict.findings)
    scored = "audited masks scored again and equal" if verdict.rescored else "audited masks not scored again"
    click.echo(f"{run}: {errors} errors, {len(verdict.findings) - errors} warnings; {scored}")
    click.echo(f"next: dmseg submit pack {run} -o submission.zip" if accepted else "not accepted as it is")
    return 0 if accepted else 1


@command.command("pack")
@click.argument("run", type=ANY_PATH)
@click.option("-o", "--out", type=FILE, required=True, help="Zip to write.")
@data_option
@root_option
def pack(run: Path, out: Path, benchmark: Path | None, root: Path | None) -> int:
    """Check a run and write it as one zip: the same run gives the same bytes.

    \b
    Example:
      dmseg submit pack runs/mine -o mine.zip
    """
    from dmseg import leaderboard
    from dmseg.files import sha256_file

    verdict = leaderboard.pack(run, out, benchmark=benchmark, root=root)
    for finding in verdict.findings:
        click.echo(str(finding), err=True)
    click.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, sha256 {sha256_file(out)}")
    click.echo("Open a pull request that adds the run, with this text:\n")
    click.echo(leaderboard.request_text(run))
    return 0
