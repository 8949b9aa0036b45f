"""``dmseg submit``: check a run as a submission, and pack it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from dmseg.cli.evaluate import model_arguments
from dmseg.cli.leaderboard import data_option, root_option
from dmseg.cli.options import ANY_PATH, FILE, FOLDER


@click.group("submit")
def command() -> None:
    """Prepare a run for the leaderboard: the same checks here as where it is received.

    \b
    Examples:
      dmseg submit check runs/mine
      dmseg submit pack runs/mine -o mine.zip
      dmseg submit answer challenge.json runs/mine -o answer.jsonl.gz
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
    scored = "kept predictions scored again and equal" if verdict.rescored else "kept predictions not scored again"
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

    The run digest is the commitment: every row holds the digest of its prediction. Keep the run folder, and with
    --keep-predictions also the predictions, to answer the challenge that follows.

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


@command.command("answer")
@click.argument("challenge", type=FILE)
@click.argument("run", type=FOLDER)
@click.option("-o", "--out", type=FILE, required=True, help="File to write, .jsonl.gz.")
@click.option("--model", default=None, help="Make the predictions again with this model, as given to evaluate.")
@click.option("--weights", default=None, help="Its checkpoint file.")
@click.option(
    "--model-arg", "arguments", multiple=True, metavar="K=V", callback=model_arguments, help="As for evaluate."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_option
def answer(
    challenge: Path,
    run: Path,
    out: Path,
    model: str | None,
    weights: str | None,
    arguments: dict[str, Any],
    device: str,
    benchmark: Path | None,
) -> int:
    """Write the predictions that a challenge asks for: those the run kept, or, with --model and --data, made again.

    Each is compared with the digest that its row committed to before anything is written.

    \b
    Examples:
      dmseg submit answer challenge.json runs/mine -o answer.jsonl.gz
      dmseg submit answer challenge.json runs/mine --model my.py:Model --data bench -o answer.jsonl.gz
    """
    from dmseg import leaderboard

    number = leaderboard.answer(
        challenge, run, out, model=model, benchmark=benchmark, weights=weights, arguments=arguments, device=device
    )
    click.echo(f"{out}: {number} predictions, {out.stat().st_size / 1e6:.1f} MB; send it to the maintainers")
    return 0
