"""``dmseg click``: a page on this machine to prompt models by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmseg.cli.options import ANY_PATH, FILE, FOLDER, complete_modality, complete_models, limit_option, window_option
from dmseg.errors import MissingDependencyError, UsageError
from dmseg.types import MODALITIES, Window

if TYPE_CHECKING:
    from dmseg.click import ImageGallery


@click.command("click")
@click.argument("source", metavar="[IMAGE|BENCH]", type=ANY_PATH, required=False)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_models,
    help="A model; twice: two side by side.",
)
@click.option("--weights", multiple=True, help="Weights of the models, in their order; default: installed or shipped.")
@click.option(
    "--modality", default=None, shell_complete=complete_modality, help=f"Of an image file: {', '.join(MODALITIES)}."
)
@window_option
@click.option("--mask", type=FILE, default=None, help="The object in an image file, for scores and the export.")
@click.option("--slice", "slice_index", type=click.IntRange(min=0), default=None, help="Slice of a volume, from 0.")
@click.option("--out", type=FOLDER, default=Path("clicks"), show_default=True, help="Where clicks and masks are saved.")
@limit_option
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any that is free.")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@click.option("--export", type=FILE, default=None, help="Write a page with recorded answers instead (no server).")
def command(
    source: Path | None,
    models: tuple[str, ...],
    weights: tuple[str, ...],
    modality: str | None,
    window: Window | None,
    mask: Path | None,
    slice_index: int | None,
    out: Path,
    limit: int | None,
    port: int,
    browser: bool,
    export: Path | None,
) -> None:
    """Click it yourself: a page on this machine, to prompt one or two models at every level.

    Without IMAGE or BENCH: the phantom edition. The page answers to this machine alone, and only to the address that is
    printed. Saved clicks are replayed on any model with `dmseg evaluate --prompts OUT/prompts.parquet`.

    \b
    Examples:
      dmseg click
      dmseg click BENCH --model mini-pge-sam --model watershed
      dmseg click scan.dcm --modality ct --mask liver.png
      dmseg click scan.png --modality ultrasound --mask lesion.png --export page.html
    """
    from dmseg.baselines import load_model
    from dmseg.click import Answerer, write_recorded_page

    names = models or ("mini-pge-sam",)
    if len(names) > 2 or len(set(names)) != len(names):
        raise UsageError(f"--model {', '.join(names)}: give one model, or two different ones")
    if len(weights) > len(names):
        raise UsageError(f"{len(weights)} --weights for {len(names)} --model; give them in the same order")
    gallery = _open_gallery(source, modality, window, mask, slice_index, 1 if export and limit is None else limit)
    given = [*weights, *[None] * (len(names) - len(weights))]
    loaded: dict[str, Any] = {name: load_model(name, weights=place) for name, place in zip(names, given, strict=True)}
    if export is not None:
        write_recorded_page(Answerer(gallery, loaded), export)
        click.echo(f"wrote {export}: {len(gallery.entries)} images, {', '.join(names)}; it needs no server")
        return
    _serve(gallery, loaded, out, names, port, browser)


def _open_gallery(
    source: Path | None,
    modality: str | None,
    window: Window | None,
    mask: Path | None,
    slice_index: int | None,
    limit: int | None,
) -> ImageGallery:
    from dmseg import build
    from dmseg.click import gallery_of_benchmark, gallery_of_file

    if source is None:
        click.echo("no IMAGE or BENCH given: synthetic images, the phantom edition in the user's cache", err=True)
        source = build.phantom_benchmark(limit)
    if source.is_dir():
        if modality or mask or window or slice_index is not None:
            raise UsageError(
                "--modality, --mask, --window and --slice belong to an image file; a benchmark has its own"
            )
        return gallery_of_benchmark(build.open_benchmark(source), limit)
    return gallery_of_file(source, modality, window, mask, slice_index)


def _serve(
    gallery: ImageGallery, loaded: Mapping[str, Any], out: Path, names: tuple[str, ...], port: int, browser: bool
) -> None:
    try:
        from dmseg.click.server import build_app, serve
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'the page needs {error.name}, not installed here; install it with: pip install "dmseg-bench[click]"'
        ) from None
    app, token = build_app(gallery, loaded, out, names)

    def announce(address: str) -> None:
        click.echo(f"open {address}\n(this machine only; Ctrl-C ends it; clicks and masks are saved in {out})")
        if browser:
            click.launch(address)

    serve(app, token, port, announce)
