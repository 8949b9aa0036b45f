"""``dmseg train``: train a network, or a part of one, on a built benchmark."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from dmseg.cli.options import FOLDER, jobs_option
from dmseg.errors import MissingDependencyError, UsageError


@click.command("train")
@click.argument("config", metavar="PRESET|CONFIG.toml")
@click.option("--data", type=FOLDER, required=True, help="Benchmark folder.")
@click.option("--base-weights", default=None, help="Weights of the base network; default: the installed ones.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the run: new, or one to be continued.")
@click.option("--set", "changes", multiple=True, metavar="K=V", help="Another choice, such as losses.focal=10.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--devices", type=click.IntRange(min=1), default=1, show_default=True, help="How many, on this machine.")
@click.option("--precision", default=None, help="fp32 or bf16-mixed; default: the preset's.")
@click.option("--cache", type=FOLDER, default=None, help="Folder for kept features; default: the user's cache.")
@click.option("--half", is_flag=True, help="Write the trained weights in half precision.")
@jobs_option
def command(
    config: str, data: Path, out: Path, changes: tuple[str, ...], precision: str | None, **choices: object
) -> int:
    """Train a network on a built benchmark.

    It can be stopped at any moment; the same command goes on from the last saved state. What it leaves in the folder:
    losses.csv, config.json, and at the end weights.safetensors with the trained parts.

    \b
    Examples:
      dmseg train mini-sam --data bench --out runs/mini-sam
      dmseg train mini-pge-sam --data bench --base-weights runs/mini-sam/weights.safetensors --out runs/mini-pge-sam
      dmseg train my.toml --data bench --base-weights lite_medsam.pth --out runs/mine --set batches=500 --devices 2
    """
    if any(importlib.util.find_spec(name) is None for name in ("torch", "lightning_fabric", "safetensors")):
        raise MissingDependencyError('training needs more packages; install them: pip install "dmseg-bench[train]"')
    from dmseg.training import keep_freed_memory, load_config, train

    if choices["base_weights"] == "random":
        raise UsageError("--base-weights random: what is trained could not be loaded again; give a weights file")
    if precision is not None:
        changes = (*changes, f'precision="{precision}"')
    keep_freed_memory()
    summary = train(load_config(config, changes), data, out, **choices)  # type: ignore[arg-type]
    if not summary.leads:
        return 0
    click.echo(f"{out}: {summary.batches} batches, {summary.done} of them now, in {summary.seconds:.0f} s")
    click.echo(f"trained weights: {out / 'weights.safetensors'}")
    return 0
