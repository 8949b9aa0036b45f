"""``dmseg evaluate``: a model under the click protocol, every step scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import (
    FILE,
    FOLDER,
    complete_models,
    complete_presets,
    engine_options,
    jobs_option,
    levels_option,
    limit_option,
    seed_option,
    shard_option,
    split_option,
    track_option,
)
from dmseg.errors import UsageError
from dmseg.types import MEDICAL

if TYPE_CHECKING:
    from dmseg.harness import RunPlan, RunSummary


def model_arguments(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """Turn ``key=value`` texts into keyword arguments; a value that reads as JSON is that, any other is text."""
    arguments: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f'--model-arg "{text}": give key=value')
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


@click.command("evaluate")
@click.option(
    "--model",
    required=True,
    shell_complete=complete_models,
    help="A name of `dmseg models`, pkg.mod:Class, file.py:Class, bridge:FILE.toml, or onnx:ENCODER,DECODER; "
    "restorer+ may stand before it.",
)
@click.option(
    "--model-arg", "arguments", multiple=True, metavar="K=V", callback=model_arguments, help="For its constructor."
)
@click.option("--data", type=FOLDER, default=None, help="Benchmark folder; default: the phantom edition.")
@track_option
@click.option(
    "--out", type=FOLDER, default=None, help="Run folder: new, empty, or one to be continued; default: runs/MODEL."
)
@click.option("--weights", default=None, help="Checkpoint file; default: the installed or shipped weights.")
@click.option("--restorer-weights", default=None, help="Checkpoint file of what stands before the plus of --model.")
@click.option(
    "--preset",
    default="dmseg",
    show_default=True,
    shell_complete=complete_presets,
    help="Prompt protocol: see dmseg presets.",
)
@click.option("--corrective", default=None, help="Rule of later clicks: center, edt-max, random, mixed.")
@split_option("seen,unseen")
@levels_option
@seed_option
@limit_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, bf16 or fp16, for networks.")
@jobs_option
@click.option("--chunk", type=click.IntRange(min=1), default=None, help="Masks per call; default 4 (GPU: 32).")
@click.option("--batch-images", type=click.IntRange(min=1), default=1, help="Images per encoder call; default 1.")
@engine_options
@shard_option
@click.option("--timeout", type=float, default=None, help="Seconds that one call of the model may take.")
@click.option("--prompts", type=FILE, default=None, help="Replay the prompts.parquet of another run.")
@click.option("--grid", type=click.IntRange(min=16), default=None, help="Longest side to score at.")
@click.option("--boundary", default="vertex", show_default=True, help="vertex, or pixel as MONAI has it.")
@click.option("--hd95", default="directed", show_default=True, help="directed, or pooled as MedPy has it.")
@click.option("--submitter", default=None, help="Whom the run is by, for the leaderboard.")
@click.option("--serial", is_flag=True, help="On a GPU: finish one image before the next, for models that remember it.")
@click.option("--isolate", is_flag=True, help="Run the model in a process that sees no benchmark and no network.")
@click.option("--keep-predictions", is_flag=True, help="Keep every prediction, to answer a leaderboard's challenge.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be done, and change nothing.")
def command(
    data: Path | None, track: str | None, out: Path | None, limit: int | None, dry_run: bool, **choices: Any
) -> int:
    """Run a model under the click protocol and score every step.

    It can be stopped at any moment; the same command goes on from there. What a model does wrong is recorded in rows
    of their own and counted; the exit code is then 1.

    \b
    Examples:
      dmseg evaluate --model watershed                             (phantoms, no data needed)
      dmseg evaluate --model watershed --data bench --out runs/w --jobs 8
      dmseg evaluate --model mymodel.py:MyModel --model-arg width=32 --data bench --out runs/mine --limit 5
      torchrun --nproc-per-node 4 -m dmseg evaluate --model sam-vit-b --weights b.pth --data bench --out runs/sam
    """
    from dmseg import baselines, build, harness

    if data is not None and track is not None:
        build.require_track(build.open_benchmark(data), track)
    model = choices.pop("model")
    restorer_weights = choices.pop("restorer_weights")
    if restorer_weights is not None:
        if baselines.split_cascade(model) is None:
            raise UsageError(f'model "{model}" has no restorer; leave out --restorer-weights, or give restorer+model')
        choices["arguments"] = {**choices["arguments"], f"{baselines.RESTORER_PREFIX}weights": restorer_weights}
    if data is None:
        if not (choices["isolate"] or model.startswith("bridge:")):
            # What is missing is said now, and not after the phantoms are built.
            given = {name: choices[name] for name in ("weights", "device", "precision", "arguments")}
            baselines.load_model(model, **given)
        click.echo("no --data given: synthetic images, the phantom edition in the user's cache", err=True)
        data = build.phantom_benchmark(limit, track=track or MEDICAL)
    out = out or Path("runs") / _name_run(model)
    plan = harness.prepare(model, data, out, limit=limit, **choices)
    _warn_of_prompts(model, plan)
    if dry_run:
        _show_plan(plan)
        return 0
    summary = harness.perform(plan)
    if not summary.finished:
        click.echo(
            f"{out}: this shard is done; {summary.blocks_left} work units are left to the others, the last one to"
        )
        click.echo("finish writes the tables (or run this command once more, without --shard)")
        return 0
    _show_summary(summary, data)
    return summary.exit_code


def _name_run(model: str) -> str:
    """Return the name of a run folder: that of the model, of its file, or of the folder of an exported network."""
    runtime, _, place = model.rpartition("+")[2].partition(":")
    if runtime in ("onnx", "openvino"):
        first = Path(place.partition(",")[0])
        return f"{(first.parent if first.suffix else first).resolve().name}-{runtime}"
    return Path(model.rpartition(":")[2]).stem


def _warn_of_prompts(model: str, plan: RunPlan) -> None:
    """Say where the preset gives prompts that the model's training never showed."""
    from dmseg import baselines

    card = baselines.model_cards().get(model.rpartition("+")[2])
    rules = plan.setup.options.rules
    unseen = [] if card is None else baselines.list_unseen_prompts(card, rules.capabilities, rules.steps)
    if card is not None and unseen:
        click.echo(
            f"note: {model} was trained with {', '.join(card.trained_prompts)} only; preset "
            f"{plan.setup.options.preset} also gives {' and '.join(unseen)}, which it never saw",
            err=True,
        )


def _show_plan(plan: RunPlan) -> None:
    options, selection = plan.setup.options, plan.selection
    steps = options.rules.steps
    click.echo(f"model {plan.info['model']['name']} on {plan.setup.device}, preset {options.preset}, {steps} steps")
    click.echo(
        f"{len(selection.images)} images, {selection.n_masks} objects, {len(selection.levels)} levels: "
        f"{len(plan.blocks)} work units, {selection.n_masks * len(selection.levels) * steps} rows"
    )
    click.echo(f"run_key {plan.info['run_key']}; nothing was changed")


def _show_summary(summary: RunSummary, data: Path) -> None:
    from dmseg import results

    steps = results.open_run(summary.path).steps
    last = steps[steps["step"] == steps["step"].max()]
    click.echo(f"{'level':<10}{'Dice':>8}{'IoU':>8}{'NSD@2':>8}{'HD95':>8}   mean over masks after the last step")
    for level, rows in last.groupby("level", sort=False):
        means = rows[["dice", "iou", "nsd_2", "hd95"]].mean()
        click.echo(f"{level:<10}{means['dice']:>8.3f}{means['iou']:>8.3f}{means['nsd_2']:>8.3f}{means['hd95']:>8.1f}")
    click.echo(f"{summary.path}: {summary.n_images} images, {summary.n_masks} objects, {len(steps)} rows")
    if summary.n_errors:
        click.echo(f"{summary.n_errors} rows have errors; they count as 0:", err=True)
        failed = steps[steps["status"] != "ok"].drop_duplicates(["status", "error"]).head(5)
        for row in failed.to_dict("records"):
            click.echo(
                f"  {row['mask_id']} {row['level']} step {row['step']}: {row['status']}: {row['error']}", err=True
            )
    click.echo(f"next: dmseg summary {summary.path}; dmseg report {summary.path} --data {data}")
