"""``dmseg selfcheck``: a model's manners, one verdict per line."""

from __future__ import annotations

from typing import Any

import click

from dmseg.cli.evaluate import model_arguments
from dmseg.cli.options import complete_models


@click.command("selfcheck")
@click.option(
    "--model",
    "name",
    required=True,
    shell_complete=complete_models,
    help="A name of `dmseg models`, pkg.mod:Class, or file.py:Class.",
)
@click.option(
    "--model-arg", "arguments", multiple=True, metavar="K=V", callback=model_arguments, help="For its constructor."
)
@click.option("--weights", default=None, help="Checkpoint file; default: the installed or shipped weights.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, bf16 or fp16, for networks.")
@click.option("--timeout", type=float, default=None, help="Seconds that one call of the model may take.")
def command(name: str, arguments: dict[str, Any], timeout: float | None, **choices: Any) -> int:
    """Check a model before it is run for hours: shapes, determinism, batches, use of prompts, time, memory.

    The exit code is 1 where a check failed.

    \b
    Examples:
      dmseg selfcheck --model watershed
      dmseg selfcheck --model mine.py:MyModel --timeout 20
    """
    from dmseg.baselines import load_model
    from dmseg.harness.selfcheck import FAILED, selfcheck

    checks = selfcheck(load_model(name, arguments=arguments, **choices), timeout)
    for check in checks:
        click.echo(f"{check.verdict:<8} {check.name}: {check.detail}")
    failed = sum(check.verdict == FAILED for check in checks)
    click.echo(f"{len(checks) - failed} of {len(checks)} checks passed")
    if not failed:
        click.echo(f"next: dmseg evaluate --model {name} --limit 2")
    return 1 if failed else 0
