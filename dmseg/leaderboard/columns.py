"""The columns of the leaderboard's tables: name, type, meaning. The Frictionless schemas are written from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a CSV file.

    Attributes:
        type: ``string``, ``integer``, ``number`` or ``date`` (Frictionless names).
        meaning: one sentence with unit and averaging.
        required: whether every row has a value; a missing one is an empty cell.
        digits: decimals written, for numbers.
    """

    name: str
    type: str
    meaning: str
    required: bool = True
    digits: int = 6


_MACRO = "mean over datasets of the mean over masks, a mask being the mean of its levels"


def _share(name: str, meaning: str, required: bool = True) -> Column:
    return Column(name, "number", f"{meaning} (0 to 1)", required)


LEADERBOARD: tuple[Column, ...] = (
    Column(
        "rank_low",
        "integer",
        "best rank that the data support, at 5 % family-wise error; empty where partial, local or self-reported",
        False,
    ),
    Column("rank_high", "integer", "worst rank that the data support; empty where unranked", False),
    Column("model", "string", "name of the model as submitted"),
    Column("params_m", "number", "parameters, millions", False, 3),
    Column("preset", "string", "prompt protocol, see docs/protocol.md"),
    Column("split", "string", "seen, unseen or train"),
    _share("score", f"Dice after the last step, {_MACRO}; what ranks"),
    _share("score_low", "lower end of the 95 % interval of score, bootstrap over cases"),
    _share("score_high", "upper end of the 95 % interval of score"),
    _share("dice_final", "Dice after the last step, averaged as score (and equal to it)"),
    _share("iou_final", f"IoU after the last step, {_MACRO}"),
    _share("nsd2_final", f"NSD at 2 px after the last step, {_MACRO}"),
    _share("pixel_accuracy_final", f"pixel accuracy after the last step, {_MACRO}"),
    Column("hd95_mean", "number", f"HD95 after the last step, pixels, {_MACRO}", True, 4),
    Column("hd95_median", "number", "HD95 after the last step, pixels, median over masks", True, 4),
    _share("dice_step_mean", f"Dice, mean over all steps, {_MACRO}"),
    _share("dice_clear", "final Dice at Clear, mean over datasets", False),
    _share("dice_lq1", "final Dice at LQ-1, mean over datasets", False),
    _share("dice_lq2", "final Dice at LQ-2, mean over datasets", False),
    _share("dice_lq3", "final Dice at LQ-3, mean over datasets", False),
    _share("dice_lq3plus", "final Dice at LQ-3+, mean over datasets", False),
    Column("drop", "number", "dice_clear - dice_lq3plus", False),
    Column("noc90", "number", f"first step with IoU >= 0.90, the last step where never reached, {_MACRO}", False, 4),
    _share("coverage", "share of the benchmark's (mask, level) pairs of the split that the run has"),
    Column("masks", "integer", "masks evaluated"),
    Column("cases", "integer", "cases (patients) evaluated"),
    Column("trained_on_overlap", "string", "datasets of the split that the model was trained on, joined by ;", False),
    Column(
        "tier",
        "string",
        "self-reported, audited (masks drawn after the commitment were shown) or re-run (by the maintainers)",
    ),
    Column("masks_drawn", "integer", "masks drawn for the audit, empty where there was none", False),
    Column("masks_shown", "integer", "of these, masks whose every prediction was shown and gives its row", False),
    Column("owner", "string", "whom the model's name belongs to", False),
    Column("date", "date", "day the run was added"),
    Column("dmseg", "string", "version of dmseg that made the run", False),
    Column("edition", "string", "benchmark edition"),
    Column("version", "string", "benchmark version"),
    Column("weights_sha256", "string", "sha256 of the weights, empty for models without", False),
    Column("code_url", "string", "where the code is", False),
    Column("paper_url", "string", "where the paper is", False),
    Column("license", "string", "licence of code and weights"),
    Column("run_digest", "string", "digest of all rows of the run (dmseg digest)"),
)

LONG: tuple[Column, ...] = (
    Column("model", "string", "name of the model as submitted"),
    Column("dataset", "string", "dataset of the benchmark"),
    Column("modality", "string", "modality of the images"),
    Column("level", "string", "clear, lq1, lq2, lq3 or lq3plus"),
    Column("step", "integer", "interaction step, from 1"),
    Column("metric", "string", "dice, iou, pixel_accuracy, nsd_2 (0 to 1) or hd95 (pixels)"),
    Column("value", "number", "mean over the masks"),
    Column("low", "number", "lower end of the 95 % interval, bootstrap over cases"),
    Column("high", "number", "upper end of the 95 % interval"),
    Column("n", "integer", "masks"),
    Column("preset", "string", "prompt protocol"),
    Column("split", "string", "seen, unseen or train"),
    Column("edition", "string", "benchmark edition"),
    Column("version", "string", "benchmark version"),
)

PAPER: tuple[Column, ...] = (
    Column("method", "string", "method as printed"),
    Column("prompt_protocol", "string", "mixed-5: five mixed interactions; box-only: the rows marked with a dagger"),
    Column("split", "string", "seen or unseen"),
    Column("level", "string", "clear, lq1, lq2, lq3, lq3plus or average"),
    Column("iou", "number", "IoU in per cent, as printed"),
    Column("dice", "number", "Dice in per cent, as printed"),
    Column("table", "string", "table of the paper"),
)


def frictionless(columns: tuple[Column, ...]) -> dict[str, Any]:
    """Return the Frictionless Table Schema of a table."""
    fields = [
        {
            "name": column.name,
            "type": column.type,
            "description": column.meaning,
            "constraints": {"required": column.required},
        }
        for column in columns
    ]
    return {"$schema": "https://datapackage.org/profiles/2.0/tableschema.json", "fields": fields, "missingValues": [""]}
