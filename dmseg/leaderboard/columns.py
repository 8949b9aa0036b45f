"""The columns of the leaderboard's tables: name, type, meaning. The Frictionless schemas are written from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CsvColumn:
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


def _share(name: str, meaning: str, required: bool = True) -> CsvColumn:
    return CsvColumn(name, "number", f"{meaning} (0 to 1)", required)


LEADERBOARD: tuple[CsvColumn, ...] = (
    CsvColumn(
        "rank_low",
        "integer",
        "best rank that the data support, at 5 % family-wise error; empty where partial, local or self-reported",
        False,
    ),
    CsvColumn("rank_high", "integer", "worst rank that the data support; empty where unranked", False),
    CsvColumn("model", "string", "name of the model as submitted"),
    CsvColumn("params_m", "number", "parameters, millions", False, 3),
    CsvColumn("preset", "string", "prompt protocol, see docs/protocol.md"),
    CsvColumn("split", "string", "seen, unseen or train"),
    _share("score", f"Dice after the last step, {_MACRO}; what ranks"),
    _share("score_low", "lower end of the 95 % interval of score, bootstrap over cases"),
    _share("score_high", "upper end of the 95 % interval of score"),
    _share("dice_final", "Dice after the last step, averaged as score (and equal to it)"),
    _share("iou_final", f"IoU after the last step, {_MACRO}"),
    _share("nsd2_final", f"NSD at 2 px after the last step, {_MACRO}"),
    _share("pixel_accuracy_final", f"pixel accuracy after the last step, {_MACRO}"),
    _share(
        "ciou_final",
        "preset text: intersections over unions, summed over sentences; mean over datasets and levels",
        False,
    ),
    _share("giou_final", "preset text: IoU of each sentence, averaged as ciou_final", False),
    CsvColumn("hd95_mean", "number", f"HD95 after the last step, pixels, {_MACRO}", True, 4),
    CsvColumn("hd95_median", "number", "HD95 after the last step, pixels, median over masks", True, 4),
    _share("dice_step_mean", f"Dice, mean over all steps, {_MACRO}"),
    _share("dice_clear", "final Dice at Clear, mean over datasets", False),
    _share("dice_lq1", "final Dice at LQ-1, mean over datasets", False),
    _share("dice_lq2", "final Dice at LQ-2, mean over datasets", False),
    _share("dice_lq3", "final Dice at LQ-3, mean over datasets", False),
    _share("dice_lq3plus", "final Dice at LQ-3+, mean over datasets", False),
    CsvColumn("drop", "number", "dice_clear less Dice at the hardest level: LQ-3+, of photographs LQ-3", False),
    CsvColumn(
        "noc90",
        "number",
        f"first step with IoU >= 0.90, the last step where never reached, {_MACRO}; empty where no mask reaches it",
        False,
        4,
    ),
    _share("coverage", "share of the benchmark's (mask, level) pairs of the split that the run has"),
    CsvColumn("masks", "integer", "masks evaluated"),
    CsvColumn("cases", "integer", "cases (patients) evaluated"),
    CsvColumn(
        "trained_on_overlap",
        "string",
        "datasets of the split that the model was trained on, or (phantoms) whose generator it was trained on, by ;",
        False,
    ),
    CsvColumn(
        "tier",
        "string",
        "self-reported, audited (masks drawn after the commitment were shown) or re-run (by the maintainers)",
    ),
    CsvColumn("masks_drawn", "integer", "masks drawn for the audit, empty where there was none", False),
    CsvColumn("masks_shown", "integer", "of these, masks whose every prediction was shown and gives its row", False),
    CsvColumn("owner", "string", "whom the model's name belongs to", False),
    CsvColumn("date", "date", "day the run was added"),
    CsvColumn("dmseg", "string", "version of dmseg that made the run", False),
    CsvColumn("edition", "string", "benchmark edition"),
    CsvColumn("version", "string", "benchmark version"),
    CsvColumn("weights_sha256", "string", "sha256 of the weights, empty for models without", False),
    CsvColumn("code_url", "string", "where the code is", False),
    CsvColumn("paper_url", "string", "where the paper is", False),
    CsvColumn("license", "string", "licence of code and weights"),
    CsvColumn("run_digest", "string", "digest of all rows of the run (dmseg digest)"),
)

LONG: tuple[CsvColumn, ...] = (
    CsvColumn("model", "string", "name of the model as submitted"),
    CsvColumn("dataset", "string", "dataset of the benchmark"),
    CsvColumn("modality", "string", "modality of the images"),
    CsvColumn("level", "string", "clear, lq1, lq2, lq3 or lq3plus"),
    CsvColumn("step", "integer", "interaction step, from 1"),
    CsvColumn("metric", "string", "dice, iou, pixel_accuracy, nsd_2 (0 to 1) or hd95 (pixels)"),
    CsvColumn("value", "number", "mean over the masks"),
    CsvColumn(
        "low", "number", "lower end of the 95 % interval, bootstrap over cases; empty where it has no width", False
    ),
    CsvColumn("high", "number", "upper end of the 95 % interval", False),
    CsvColumn("n", "integer", "masks"),
    CsvColumn("preset", "string", "prompt protocol"),
    CsvColumn("split", "string", "seen, unseen or train"),
    CsvColumn("edition", "string", "benchmark edition"),
    CsvColumn("version", "string", "benchmark version"),
)

ARTEFACTS: tuple[CsvColumn, ...] = (
    CsvColumn("model", "string", "name of the model as submitted"),
    CsvColumn("operation", "string", "degradation that the image of a mask has in its plan, beside others"),
    CsvColumn("level", "string", "lq1, lq2, lq3 or lq3plus"),
    CsvColumn("drop", "number", "final Dice at Clear minus that at the level, of the same masks, mean over datasets"),
    CsvColumn(
        "low", "number", "lower end of the 95 % interval, bootstrap over cases; empty where it has no width", False
    ),
    CsvColumn("high", "number", "upper end of the 95 % interval", False),
    CsvColumn("masks", "integer", "masks whose image has the operation"),
    CsvColumn("cases", "integer", "cases of these masks"),
    CsvColumn("preset", "string", "prompt protocol"),
    CsvColumn("split", "string", "seen, unseen or train"),
    CsvColumn("edition", "string", "benchmark edition"),
    CsvColumn("version", "string", "benchmark version"),
)

PAPER: tuple[CsvColumn, ...] = (
    CsvColumn("method", "string", "method as printed"),
    CsvColumn("prompt_protocol", "string", "mixed-5: five mixed interactions; box-only: the rows marked with a dagger"),
    CsvColumn("split", "string", "seen or unseen"),
    CsvColumn("level", "string", "clear, lq1, lq2, lq3, lq3plus or average"),
    CsvColumn("iou", "number", "IoU in per cent, as printed"),
    CsvColumn("dice", "number", "Dice in per cent, as printed"),
    CsvColumn("table", "string", "table of the paper"),
)

PAPER_NATURAL: tuple[CsvColumn, ...] = (
    CsvColumn("table", "string", "table of the paper"),
    CsvColumn("method", "string", "method as printed"),
    CsvColumn("dataset", "string", "dataset as printed"),
    CsvColumn(
        "condition",
        "string",
        "LQ-1, LQ-2, LQ-3, Clear, RobustSeg or real; in Tab. 23 Deg or Clr with boxes T (tight), M (min), X (max)",
    ),
    CsvColumn("metric", "string", "iou, dice, pixel_accuracy, nsd (tolerance not given) or hd95 (pixels)"),
    CsvColumn("value", "number", "as printed, per cent; hd95 in pixels"),
)


def frictionless(columns: tuple[CsvColumn, ...]) -> dict[str, Any]:
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
