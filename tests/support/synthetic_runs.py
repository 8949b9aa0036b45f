"""Run folders made without a model: discs as references, shifted discs as predictions, every column of a real run.

Scores are those of the masks, so what must hold between the columns holds. Clicks are made up: checks that derive them
again need a real run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dmseg.harness.options import run_key
from dmseg.manifests import find_published, mask_sha256
from dmseg.metrics import score
from dmseg.results.audit import AUDIT_FILE, audit_record, write_audit
from dmseg.results.columns import run_schema
from dmseg.rng import Stream
from dmseg.types import LEVELS, TRACK_LEVELS

HEIGHT, WIDTH, RADIUS, STEPS = 64, 80, 14, 5
DIAGONAL = math.hypot(HEIGHT, WIDTH)
DIGEST = "ab" * 32


@dataclass(frozen=True)
class SyntheticSource:
    """How much of one dataset a synthetic run has."""

    modality: str
    split: str
    cases: int
    masks_per_case: int = 1


SOURCES: dict[str, SyntheticSource] = {
    "busi": SyntheticSource("ultrasound", "seen", 6),
    "kvasir": SyntheticSource("endoscopy", "seen", 5, 2),
    "flare": SyntheticSource("ct", "unseen", 4, 2),
}


def disc(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    """Return the (HEIGHT, WIDTH) mask of a disc."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


class SyntheticBenchmark:
    """What a report asks of an open benchmark: images and masks by id."""

    def __init__(self, digest: str = DIGEST) -> None:
        self.digest = digest
        self.path = Path("synthetic")

    def image(self, image_id: str, level: str) -> NDArray[np.uint8]:
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        wave = 110 + 40 * np.sin(columns / 9) * np.cos(rows / 7) + 60 * self.mask(f"{image_id}__x__0")
        return np.asarray(wave - 15 * LEVELS.index(level), dtype=np.uint8)

    def mask(self, mask_id: str) -> NDArray[np.bool_]:
        return disc(*centre(mask_id.split("__x__")[0]), RADIUS)


def centre(image_id: str) -> tuple[int, int]:
    stream = Stream("synthetic-centre", image_id)
    return stream.integer(24, WIDTH - 24), stream.integer(22, HEIGHT - 22)


@functools.cache
def _scores(reference: bytes, prediction: bytes) -> dict[str, float]:
    masks = [np.frombuffer(content, dtype=bool).reshape(HEIGHT, WIDTH) for content in (reference, prediction)]
    found = score(*masks)
    return {
        "iou": found.iou,
        "dice": found.dice,
        "pixel_accuracy": found.pixel_accuracy,
        **{f"nsd_{t:g}": value for t, value in found.nsd.items()},
        "hd95": found.hd95,
    }


def _mask_rows(
    model: str,
    image_id: str,
    mask_id: str,
    case_id: str,
    dataset: str,
    source: SyntheticSource,
    quality: float,
    drop: float,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    x, y = centre(image_id)
    reference = disc(x, y, RADIUS)
    ease = Stream("synthetic-case", case_id).normal(0.0, 0.05)
    steps, prompts, audit = [], [], []
    for place, level in enumerate(LEVELS):
        noise = Stream("synthetic-noise", model, mask_id, level).normal(0.0, 0.02)
        for step in range(1, STEPS + 1):
            wanted = quality + ease + noise - drop * place / 4 + 0.02 * (step - STEPS)
            # never perfect, and each step's prediction its own: a carried row would have no click
            shift = (1 - min(max(wanted, 0.0), 0.97)) * RADIUS * 2 + 0.05 * (STEPS - step)
            prediction = disc(x + shift, y, RADIUS)
            found = _scores(reference.tobytes(), prediction.tobytes())
            steps.append(
                dict(
                    image_id=image_id, mask_id=mask_id, case_id=case_id, dataset=dataset, modality=source.modality,
                    structure="x", split=source.split, level=level, seed=0, step=step,
                    prompt_kind="points", points_pos=step, points_neg=0,
                    new_x=None if step == 1 else x, new_y=None if step == 1 else y, new_label=None if step == 1 else 1,
                    perfect=False, gt_area=int(reference.sum()), pred_area=int(prediction.sum()), **found,
                    hd95_defined=True, hd95_mm=None, status="ok", error=None, pred_digest=mask_sha256(prediction),
                )
            )  # fmt: skip
            prompts.append(
                {
                    "mask_id": mask_id, "level": level, "seed": 0, "step": step, "index": step - 1, "kind": "point",
                    "x": float(x), "y": float(y), "label": 1, "x0": None, "y0": None, "x1": None, "y1": None,
                }
            )  # fmt: skip
            audit.append((mask_id, level, 0, step, prediction))
    return steps, prompts, audit


def steps_table(
    model: str = "alpha", *, quality: float = 0.85, drop: float = 0.1, sources: Mapping[str, SyntheticSource] = SOURCES
) -> tuple[pd.DataFrame, pd.DataFrame, list[Any]]:
    """Return (steps, prompts, audited predictions) of a synthetic model of the given quality."""
    steps, prompts, audit = [], [], []
    for dataset, source in sources.items():
        for case in range(source.cases):
            for k in range(source.masks_per_case):
                image_id = f"{dataset}__{case}-{k}"
                made = _mask_rows(
                    model, image_id, f"{image_id}__x__0", f"{dataset}__{case}", dataset, source, quality, drop
                )
                for target, rows in zip((steps, prompts, audit), made, strict=True):
                    target.extend(rows)
    return pd.DataFrame(steps), pd.DataFrame(prompts), audit


def run_info(model: str, steps: pd.DataFrame, **changes: Any) -> dict[str, Any]:
    """Return the run.json of a synthetic run; keyword arguments replace whole entries."""
    info: dict[str, Any] = {
        "schema_version": 1,
        "protocol": {"id": "dmseg-prompt/1", "preset": "dmseg", "corrective": "center", "steps": STEPS, "seed": 0},
        "benchmark": {
            "edition": "dm-seg-phantom",
            "version": "1.0",
            "manifest_digest": DIGEST,
            "split": sorted(steps["split"].unique()),
            "levels": list(LEVELS),
        },
        "model": {
            "name": model,
            "version": "1",
            "params": 0,
            "weights_sha256": None,
            "code_url": "https://example.org/code",
            "paper_url": None,
            "license": "Apache-2.0",
            "input_size": None,
            "trained_on": [],
            "mode": "classical",
        },
        "chunk": 4,
        "precision": "fp32",
        "metrics": {"grid": "native", "boundary": "vertex", "taus": [1, 2, 3, 5], "hd95": "directed"},
        "batch_images": 1,
        "run_key": "cd" * 32,
        "submitter": None,
        "n_masks": int(steps["mask_id"].nunique()),
        "n_errors": int((steps["status"] != "ok").sum()),
    }
    info |= changes
    return info | {"run_key": run_key(info)} if "run_key" not in changes else info


def write_run(
    folder: Path,
    model: str = "alpha",
    *,
    quality: float = 0.85,
    drop: float = 0.1,
    failed: int = 0,
    sources: Mapping[str, SyntheticSource] = SOURCES,
    **changes: Any,
) -> Path:
    """Write a run folder; the first ``failed`` (mask, level) sequences fail from step 3 on. Returns ``folder``."""
    steps, prompts, audit = steps_table(model, quality=quality, drop=drop, sources=sources)
    for mask_id in list(dict.fromkeys(steps["mask_id"]))[:failed]:
        hit = (steps["mask_id"] == mask_id) & (steps["level"] == "lq3") & (steps["step"] >= 3)
        steps.loc[hit, ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]] = 0.0
        steps.loc[hit, "hd95"] = DIAGONAL
        steps.loc[hit, "hd95_defined"] = False
        steps.loc[hit, ["status", "error"]] = ["error", "ValueError: NaN in the logits"]
        steps.loc[hit, ["pred_area", "pred_digest"]] = None
        after = hit & (steps["step"] > 3)
        steps.loc[after, ["new_x", "new_y", "new_label"]] = None
        steps.loc[after, "points_pos"] = 3
        prompts = prompts[~((prompts["mask_id"] == mask_id) & (prompts["level"] == "lq3") & (prompts["step"] > 3))]
    folder.mkdir(parents=True, exist_ok=True)
    inputs = steps[["image_id", "level"]].drop_duplicates().assign(plan_digest=DIGEST, thumbprint=b"\0" * 256)
    for name, rows in (("steps", steps), ("prompts", prompts), ("inputs", inputs)):
        schema = run_schema(name)
        pq.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False), folder / f"{name}.parquet")
    (folder / "run.json").write_text(json.dumps(run_info(model, steps, **changes), indent=1))
    write_audit(folder / AUDIT_FILE, [audit_record(*row) for row in audit])
    return folder


def make_natural(run: Path) -> None:
    """Make a written run one on the natural phantom edition: without LQ-3+, and declared so."""
    for name in ("steps", "prompts", "inputs"):
        rows = pd.read_parquet(run / f"{name}.parquet")
        rows[rows["level"] != "lq3plus"].to_parquet(run / f"{name}.parquet")
    digest = find_published("lq-seg-phantom-1.0").digest
    named = {"edition": "lq-seg-phantom", "version": "1.0", "manifest_digest": digest, "track": "natural"}
    declare(run, "benchmark", levels=list(TRACK_LEVELS["natural"]), **named)


def declare(run: Path, part: str, **values: Any) -> None:
    """Change run.json of a run (``part`` "" is the record itself) and give it the key that goes with it."""
    info = json.loads((run / "run.json").read_text())
    (info[part] if part else info).update(values)
    with contextlib.suppress(KeyError, TypeError, AttributeError, ValueError):
        if "run_key" not in values:
            info["run_key"] = run_key(info)
    (run / "run.json").write_text(json.dumps(info))
