"""Clicks of people as files: ``prompts.parquet``, which ``dmseg evaluate --prompts`` replays, and what goes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg import imaging
from dmseg.click.answers import Prompt
from dmseg.click.views import ShownView
from dmseg.errors import DataError
from dmseg.files import atomic_path, write_text
from dmseg.reading import read_json
from dmseg.results.columns import PROMPTS, run_schema
from dmseg.types import Mask
from dmseg.version import __version__

CLICKS_FILE, PROMPTS_FILE, MASKS_FOLDER = "clicks.json", "prompts.parquet", "masks"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The prompts of one object in one view: what was given, when (seconds from the first look), by whom."""

    mask_id: str
    view: ShownView
    prompts: tuple[Prompt, ...]
    seconds: tuple[float, ...]
    alias: str = ""
    model: str = ""


def write_clicks(folder: Path, recorded: Sequence[Recorded], masks: Mapping[str, Mask], gallery: str) -> list[Path]:
    """Add recorded prompts to a folder; those of the same object and view are replaced. Return what was written.

    ``clicks.json`` holds everything. ``prompts.parquet`` holds what a run can replay: the clicks at the five levels
    (views of single degradations are none of them). ``masks``: name -> mask, written as PNG.
    """
    kept = {(one.mask_id, one.view): one for one in read_clicks(folder)}
    kept |= {(one.mask_id, one.view): one for one in recorded}
    ordered = sorted(kept.values(), key=lambda one: (one.mask_id, one.view.level, one.view.operations))
    content = {
        "schema_version": 1,
        "dmseg": __version__,
        "gallery": gallery,
        "objects": [asdict(one) for one in ordered],
    }
    written = [folder / CLICKS_FILE, folder / PROMPTS_FILE]
    write_text(written[0], json.dumps(content, indent=1) + "\n")
    with atomic_path(written[1]) as place:
        pq.write_table(pa.Table.from_pylist(list_rows(ordered), schema=run_schema("prompts")), place)
    for name, mask in masks.items():
        written.append(folder / MASKS_FOLDER / f"{name}.png")
        imaging.write_png(written[-1], mask.astype("uint8") * 255)
    return written


def list_rows(recorded: Sequence[Recorded]) -> list[dict[str, Any]]:
    """Return the rows of ``prompts.parquet``: one step per prompt."""
    rows = []
    for one in recorded:
        if one.view.operations:
            continue
        n_points = 0
        for step, prompt in enumerate(one.prompts, 1):
            row: dict[str, Any] = {name.name: None for name in PROMPTS}
            row |= {"mask_id": one.mask_id, "level": one.view.level, "seed": 0, "step": step, "kind": prompt.kind}
            if prompt.kind == "box":
                row |= {"index": 0, **dict(zip(("x0", "y0", "x1", "y1"), prompt.values, strict=True))}
            else:
                row |= {"index": n_points, **dict(zip(("x", "y", "label"), prompt.values, strict=True))}
                row["label"] = int(prompt.values[2])
                n_points += 1
            rows.append(row)
    return rows


def read_clicks(folder: Path) -> list[Recorded]:
    """Return what a folder holds; nothing where there is none.

    Raises:
        DataError: the file is not what :func:`write_clicks` writes.
    """
    path = folder / CLICKS_FILE
    if not path.exists():
        return []
    try:
        return [
            Recorded(
                mask_id=str(row["mask_id"]),
                view=ShownView(**{**row["view"], "operations": tuple(row["view"]["operations"])}),
                prompts=tuple(Prompt(str(one["kind"]), tuple(map(float, one["values"]))) for one in row["prompts"]),
                seconds=tuple(map(float, row["seconds"])),
                alias=str(row["alias"]),
                model=str(row["model"]),
            )
            for row in read_json(path)["objects"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a file of clicks ({error!r}); give another --out folder") from None
