"""``dmseg explain``: what a network makes of one object, step by step, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.evaluate import model_arguments
from dmseg.cli.options import FILE, complete_models, seed_option, window_option
from dmseg.errors import UsageError

if TYPE_CHECKING:
    from dmseg.types import Window


def _numbers(option: str, text: str, count: int, example: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise UsageError(f"{option} {text}: give {count} numbers, such as {example}")
    return numbers


def _clicks(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    clicks = []
    for text in given:
        x, y, label = _numbers("--click", text, 3, "120,80,1 (x,y and 1 for the object, 0 for what is not of it)")
        if label not in (0, 1):
            raise UsageError(f"--click {text}: the third number is 1 for the object, 0 for what is not of it")
        clicks.append((round(x), round(y), int(label)))
    return tuple(clicks)


def _box(ctx: click.Context, param: click.Parameter, given: str | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    x0, y0, x1, y1 = _numbers("--box", given, 4, "60,40,180,150 (x0,y0,x1,y1)")
    if x1 < x0 or y1 < y0:
        raise UsageError(f"--box {given}: x1 and y1 are not below x0 and y0; give x0,y0,x1,y1")
    return x0, y0, x1, y1


@click.command("explain")
@click.argument("image", metavar="IMAGE", type=FILE)
@click.option(
    "--model",
    default="mini-pge-sam",
    show_default=True,
    shell_complete=complete_models,
    help="A network of `dmseg models`.",
)
@click.option(
    "--model-arg", "arguments", multiple=True, metavar="K=V", callback=model_arguments, help="For its constructor."
)
@click.option("--weights", default=None, help="Checkpoint file; default: the installed or shipped weights.")
@click.option(
    "--mask", type=FILE, default=None, help="The object: its contour is drawn, and without clicks it prompts."
)
@click.option("--click", "clicks", multiple=True, metavar="X,Y,LABEL", callback=_clicks, help="One step; repeatable.")
@click.option("--box", default=None, metavar="X0,Y0,X1,Y1", callback=_box, help="A first step of its own.")
@click.option("--steps", type=click.IntRange(min=1), default=5, show_default=True, help="Steps where the mask prompts.")
@window_option
@seed_option
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=FILE, required=True, help="The picture, a PNG file.")
def command(
    image: Path,
    model: str,
    arguments: dict[str, Any],
    weights: str | None,
    mask: Path | None,
    clicks: tuple[tuple[int, int, int], ...],
    box: tuple[float, ...] | None,
    steps: int,
    window: Window | None,
    seed: int,
    device: str,
    out: Path,
) -> None:
    """Draw what a network makes of one object: prompts, guidance, features before and after enhancement, step by step.

    Features are shown by their first principal component over all steps; those of a row share one colour scale.

    \b
    Examples:
      dmseg explain scan.png --mask lesion.png --out steps.png
      dmseg explain scan.png --click 120,80,1 --click 30,40,0 --out steps.png
      dmseg explain scan.png --model lite-pge-sam --weights w.safetensors --box 60,40,180,150 --out steps.png
    """
    import numpy as np

    from dmseg import api, imaging
    from dmseg.cli.preview import read_as_shown
    from dmseg.protocol import Click

    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: the picture is a PNG file; end its name in .png")
    shown = read_as_shown(image, None, window, None)
    picture, explained = api.explain(
        api.load_model(model, weights=weights, device=device, **arguments),
        shown.clear,
        reference=None if mask is None else imaging.read_mask(mask),
        clicks=[Click(x, y, label) for x, y, label in clicks],
        box=None if box is None else np.array(box, np.float32),
        steps=steps,
        key=shown.name,
        seed=seed,
    )
    imaging.write_png(out, picture)
    last = explained[-1]
    if last.change is not None and not last.change.any():
        click.echo("the enhancer changes nothing: its weights are not trained", err=True)
    click.echo(
        "answer orange, reference blue; prompt map: green 1, white 0, red -1; guidance: distance from its median;"
    )
    click.echo("features: first principal component over all steps, one scale per row (at the left)")
    click.echo("what was added: after minus before along its own first axis, green and red, one scale for all steps;")
    click.echo("how much: its length; the object is outlined")
    click.echo(f"wrote {out}: {len(explained)} steps; look at it")
