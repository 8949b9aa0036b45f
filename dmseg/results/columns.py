"""The columns of a run folder's tables: one definition each, with what it means. ``docs/evaluate.md`` prints them."""

from __future__ import annotations

import pyarrow as pa

from dmseg.manifests import Column
from dmseg.protocol import PRESETS

SCHEMA_VERSION = 1
"""Version of the run folder's schema; readers refuse every other one by name."""

RUN_FILE = "run.json"
PARTS_FOLDER = "parts"
"""A run that is under way: its parts lie here, below the run folder."""
ENVIRONMENT_FILE = "environment.json"
STATUSES: tuple[str, ...] = ("ok", "error", "oom", "timeout")

STEPS: tuple[Column, ...] = (
    Column("image_id", pa.string(), "image"),
    Column("mask_id", pa.string(), "object"),
    Column("case_id", pa.string(), "patient or case: the unit that is resampled for intervals"),
    Column("dataset", pa.string(), "name of the recipe"),
    Column("modality", pa.string(), "modality of the image"),
    Column("structure", pa.string(), "name of the object"),
    Column("split", pa.string(), "train, seen or unseen"),
    Column("level", pa.string(), "clear, lq1, lq2, lq3 or lq3plus"),
    Column("seed", pa.int64(), "seed of the prompts"),
    Column("step", pa.int32(), "1..T"),
    Column("prompt_kind", pa.string(), "points, box or text: what step 1 gave"),
    Column("points_pos", pa.int32(), "foreground points given so far"),
    Column("points_neg", pa.int32(), "background points given so far"),
    Column("new_x", pa.int32(), "column of this step's click; null at step 1 and where none was given", optional=True),
    Column("new_y", pa.int32(), "row of this step's click", optional=True),
    Column("new_label", pa.int32(), "1 foreground, 0 background", optional=True),
    Column("perfect", pa.bool_(), "carried forward: the prediction before was the reference, no click was needed"),
    Column("gt_area", pa.int64(), "pixels of the reference"),
    Column("pred_area", pa.int64(), "pixels of the prediction; null where there is none", optional=True),
    Column("iou", pa.float64(), "intersection over union, 0..1"),
    Column("dice", pa.float64(), "Dice, 0..1"),
    Column("pixel_accuracy", pa.float64(), "share of pixels that agree, 0..1"),
    Column("nsd_1", pa.float64(), "normalised surface Dice at 1 px, 0..1"),
    Column("nsd_2", pa.float64(), "the same at 2 px"),
    Column("nsd_3", pa.float64(), "the same at 3 px"),
    Column("nsd_5", pa.float64(), "the same at 5 px"),
    Column("hd95", pa.float64(), "95th percentile Hausdorff distance, px; the grid's diagonal where undefined"),
    Column("hd95_defined", pa.bool_(), "false where one mask is empty"),
    Column("hd95_mm", pa.float64(), "the same in mm; null where the image has no spacing", optional=True),
    Column("status", pa.string(), "ok, error, oom or timeout"),
    Column("error", pa.string(), "what the model did wrong", optional=True),
    Column("pred_digest", pa.string(), "sha256 of the prediction, made as mask_sha256 of a manifest", optional=True),
)

TEXT_STEPS: tuple[Column, ...] = (
    Column("expression", pa.string(), "the sentence that named the object"),
    Column("intersection", pa.int64(), "pixels of reference and prediction both, on the scored grid"),
    Column("union", pa.int64(), "pixels of either; those of the reference where there is no prediction"),
)
"""Further columns of ``steps`` of a run whose preset gives sentences; ``mask_id`` then ends in ``__e<k>``."""

PROMPTS: tuple[Column, ...] = (
    Column("mask_id", pa.string(), "object"),
    Column("level", pa.string(), "level"),
    Column("seed", pa.int64(), "seed of the prompts"),
    Column("step", pa.int32(), "step at which it was given"),
    Column("index", pa.int32(), "place among all points, or all strokes, of this object and level; 0 for the box"),
    Column("kind", pa.string(), "point, box, scribble or lasso; a stroke has one row per piece, x0, y0 to x1, y1"),
    Column("x", pa.float64(), "column of the point", optional=True),
    Column("y", pa.float64(), "row of the point", optional=True),
    Column("label", pa.int32(), "1 foreground, 0 background", optional=True),
    Column("x0", pa.float64(), "first column of the box, or where the piece begins", optional=True),
    Column("y0", pa.float64(), "first row of the box, or where the piece begins", optional=True),
    Column("x1", pa.float64(), "last column of the box (inclusive)", optional=True),
    Column("y1", pa.float64(), "last row of the box (inclusive)", optional=True),
)

INPUTS: tuple[Column, ...] = (
    Column("image_id", pa.string(), "image"),
    Column("level", pa.string(), "level"),
    Column("plan_digest", pa.string(), "plan that the image was degraded by"),
    Column("thumbprint", pa.binary(256), "16 x 16 block means of the pixels the model was given", optional=True),
)

TIMING: tuple[Column, ...] = (
    Column("image_id", pa.string(), "image"),
    Column("level", pa.string(), "level"),
    Column("masks", pa.int32(), "objects of the image"),
    Column("load_ms", pa.float64(), "reading the image"),
    Column("encode_ms", pa.float64(), "the model's encode, this image's share"),
    Column("predict_ms", pa.float64(), "the model's predict, all objects and steps"),
    Column("prompt_ms", pa.float64(), "first prompts and clicks"),
    Column("score_ms", pa.float64(), "metrics and digests"),
    Column("device", pa.string(), "device asked for"),
    Column("host", pa.string(), "name of the machine"),
    Column("shard", pa.string(), "i/n"),
)

TABLES: dict[str, tuple[Column, ...]] = {"steps": STEPS, "prompts": PROMPTS, "inputs": INPUTS, "timing": TIMING}
"""Table name -> columns, in file order; the file is ``<name>.parquet``."""


def gives_text(preset: str) -> bool:
    """Tell whether a preset, by its name, gives sentences; one that this dmseg does not know gives none."""
    return preset in PRESETS and PRESETS[preset].gives_text


def list_columns(table: str, *, text: bool = False) -> tuple[Column, ...]:
    """Return the columns of a run's table, in file order; ``text``: of a run whose preset gives sentences."""
    return (*TABLES[table], *(TEXT_STEPS if text and table == "steps" else ()))


def run_schema(table: str, *, text: bool = False) -> pa.Schema:
    """Return the Arrow schema of a run's table (:func:`list_columns`), with the schema version in its metadata."""
    columns = list_columns(table, text=text)
    fields = [pa.field(column.name, column.type, nullable=column.optional) for column in columns]
    return pa.schema(fields, metadata={"dmseg_schema_version": str(SCHEMA_VERSION)})
