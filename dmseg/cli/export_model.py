"""``dmseg export-model``: a network as two files that other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dmseg.cli.evaluate import model_arguments
from dmseg.cli.options import FOLDER


@click.command("export-model")
@click.argument("name")
@click.option("--format", "file_format", default="onnx", show_default=True, help="onnx or openvino.")
@click.option("--out", type=FOLDER, required=True, help="New folder for encoder, decoder and model.json.")
@click.option(
    "--model-arg", "arguments", multiple=True, metavar="K=V", callback=model_arguments, help="For its constructor."
)
@click.option("--weights", default=None, help="Checkpoint file; default: the installed or shipped weights.")
def command(name: str, file_format: str, out: Path, **choices: Any) -> None:
    """Write a SAM-style network as encoder and decoder, with the names and shapes of SAM's web demos.

    The files are run on a drawn image and compared with the network before they are kept.

    \b
    Examples:
      dmseg export-model lite-medsam --format onnx --out lite
      dmseg evaluate --model onnx:lite/encoder.onnx,lite/decoder.onnx --limit 2
    """
    from dmseg import baselines

    exported = baselines.export_model(name, file_format, out, **choices)
    click.echo(f"wrote {exported.encoder} and {exported.decoder}; logits differ by {exported.difference:.2g} at most")
    click.echo(f"next: dmseg evaluate --model {file_format}:{exported.encoder},{exported.decoder} --limit 2")
