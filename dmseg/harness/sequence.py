"""One object at one level over the steps of a run: its prompts, its last prediction, and the rows they make."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dmseg.harness.calling import Answer, CallFailure
from dmseg.harness.options import RunOptions
from dmseg.harness.selection import SelectedImage, Target
from dmseg.manifests import mask_sha256
from dmseg.metrics import TOLERANCES, Score, image_diagonal, on_grid, score
from dmseg.protocol import Click, with_click, with_stroke
from dmseg.results.audit import AuditRecord, audit_record
from dmseg.types import Mask, Prompts, Stroke

Row = dict[str, Any]


@dataclass(slots=True)
class ClickSession:
    """The interaction about one object at one level.

    Attributes:
        image, target, level: which object, where.
        reference: bool (H, W).
        prompts: everything given so far.
        click: what this step added, None at step 1 and on carried rows.
        answer: the last prediction, None before the first and after a failure.
        failure: why the model failed on this object, None while it has not.
        carried: the last prediction stands, nothing was asked at this step.
        perfect: it is carried because it equals the reference.
    """

    image: SelectedImage
    target: Target
    level: str
    reference: Mask
    prompts: Prompts
    click: Click | Stroke | None = None
    answer: Answer | None = None
    failure: CallFailure | None = None
    carried: bool = False
    perfect: bool = False
    _scores: Row = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether the model is asked at this step."""
        return self.failure is None and not self.carried

    @property
    def group(self) -> tuple[int, bool, tuple[str, ...]]:
        """Number of points, whether there is a box, and the strokes: only equal ones may share a call."""
        return len(self.prompts.points), self.prompts.box is not None, tuple(one.kind for one in self.prompts.strokes)

    def give(self, click: Click | Stroke | None) -> None:
        """Add the click or stroke of the next step; None carries the last prediction forward from here on."""
        self.click = click
        if isinstance(click, Stroke):
            self.prompts = with_stroke(self.prompts, click)
        elif click is not None:
            self.prompts = with_click(self.prompts, click)
        elif self.answer is not None and not self.carried:
            self.carried = True
            self.perfect = bool(np.array_equal(self.answer.mask, self.reference))

    def take(self, answer: Answer | CallFailure) -> None:
        """Take the model's answer to this step's prompts."""
        if isinstance(answer, CallFailure):
            self.failure, self.answer = answer, None
        else:
            self.answer = answer
        self._scores = {}

    def step_row(self, step: int, options: RunOptions) -> Row:
        """Return the row of steps.parquet for the state after ``step``."""
        labels, click = self.prompts.labels, self.click if isinstance(self.click, Click) else None
        if not self._scores:
            self._scores = self._score_columns(options)
        return {
            **self._identity(options.seed),
            "step": step,
            "prompt_kind": self._find_kind(),
            "points_pos": int((labels == 1).sum()),
            "points_neg": int((labels == 0).sum()),
            "new_x": click.x if click else None,
            "new_y": click.y if click else None,
            "new_label": click.label if click else None,
            "perfect": self.perfect,
            "gt_area": int(np.count_nonzero(self.reference)),
            **self._scores,
            **({} if self.prompts.text is None else {"expression": self.prompts.text}),
        }

    def prompt_rows(self, step: int, seed: int) -> list[Row]:
        """Return the rows of prompts.parquet for what this step gave."""
        place = {"mask_id": self.target.mask_id, "level": self.level, "seed": seed, "step": step}
        if isinstance(self.click, Stroke):
            return _stroke_rows(place, len(self.prompts.strokes) - 1, self.click)
        if step > 1:
            first = len(self.prompts.points) - 1
            return [_point_row(place, first, self.prompts)] if self.click else []
        rows = [_point_row(place, index, self.prompts) for index in range(len(self.prompts.points))]
        if self.prompts.box is not None:
            corners = dict(zip(("x0", "y0", "x1", "y1"), map(float, self.prompts.box), strict=True))
            rows.append({**place, "index": 0, "kind": "box", "x": None, "y": None, "label": None, **corners})
        for index, stroke in enumerate(self.prompts.strokes):
            rows += _stroke_rows(place, index, stroke)
        return rows

    def _find_kind(self) -> str:
        if self.prompts.text is not None:
            return "text"
        if self.prompts.box is not None:
            return "box"
        return "points" if len(self.prompts.points) or not self.prompts.strokes else self.prompts.strokes[0].kind

    def audit(self, step: int, seed: int) -> AuditRecord | None:
        """Return the kept prediction of this step, None after a failure."""
        if self.answer is None:
            return None
        return audit_record(self.target.mask_id, self.level, seed, step, self.answer.mask)

    def _identity(self, seed: int) -> Row:
        return {
            "image_id": self.image.image_id,
            "mask_id": self.target.mask_id,
            "case_id": self.image.case_id,
            "dataset": self.image.dataset,
            "modality": self.image.modality,
            "structure": self.target.structure,
            "split": self.image.split,
            "level": self.level,
            "seed": seed,
        }

    def _score_columns(self, options: RunOptions) -> Row:
        """Return the columns from ``pred_area`` on; a failure has the worst value of everything."""
        reference = on_grid(self.reference, options.grid)
        spacing = self._grid_spacing(reference)
        if self.answer is None:
            failure = self.failure or CallFailure("error", "the model was not asked")
            state = {"status": failure.status, "error": failure.message, "pred_digest": None}
            pixels = self._count_pixels(reference, np.zeros_like(reference))
            return {"pred_area": None, **_worst(reference, spacing), **state, **pixels}
        prediction = on_grid(self.answer.mask, options.grid)
        rules = functools.partial(score, reference, prediction, boundary=options.boundary, hd95=options.hd95)
        result = rules()
        return {
            "pred_area": int(np.count_nonzero(self.answer.mask)),
            **_columns(result, reference.shape),
            "hd95_mm": None if spacing is None else _millimetres(result, rules, reference.shape, spacing),
            "status": "ok",
            "error": None,
            "pred_digest": mask_sha256(self.answer.mask),
            **self._count_pixels(reference, prediction),
        }

    def _count_pixels(self, reference: Mask, prediction: Mask) -> Row:
        """Return the columns that only rows about sentences have."""
        if self.prompts.text is None:
            return {}
        both, either = np.count_nonzero(reference & prediction), np.count_nonzero(reference | prediction)
        return {"intersection": int(both), "union": int(either)}

    def _grid_spacing(self, reference: Mask) -> tuple[float, float] | None:
        """Return the spacing (y, x) in mm of the grid that metrics are computed on."""
        if self.image.spacing is None:
            return None
        stored = self.reference.shape
        y, x = (
            spacing * size / on for spacing, size, on in zip(self.image.spacing, stored, reference.shape, strict=True)
        )
        return y, x


def _columns(result: Score, shape: tuple[int, ...]) -> Row:
    return {
        "iou": result.iou,
        "dice": result.dice,
        "pixel_accuracy": result.pixel_accuracy,
        **{f"nsd_{tolerance:g}": value for tolerance, value in result.nsd.items()},
        "hd95": result.hd95 if result.defined else image_diagonal(shape),
        "hd95_defined": result.defined,
    }


def _worst(reference: Mask, spacing: tuple[float, float] | None) -> Row:
    return {
        "iou": 0.0,
        "dice": 0.0,
        "pixel_accuracy": 0.0,
        **{f"nsd_{tolerance:g}": 0.0 for tolerance in TOLERANCES},
        "hd95": image_diagonal(reference.shape),
        "hd95_defined": False,
        "hd95_mm": None if spacing is None else image_diagonal(reference.shape, spacing),
    }


def _millimetres(
    result: Score, scored: Callable[..., Score], shape: tuple[int, ...], spacing: tuple[float, float]
) -> float:
    """Return HD95 in mm; only pixels that are not square need to be scored again."""
    if not result.defined:
        return image_diagonal(shape, spacing)
    if spacing[0] == spacing[1]:
        return result.hd95 * spacing[0]
    return scored(spacing=spacing).hd95


def _stroke_rows(place: Row, index: int, stroke: Stroke) -> list[Row]:
    """Return one row per piece of a stroke; a dot is one piece of no length."""
    path = stroke.path.tolist() if len(stroke.path) > 1 else stroke.path.tolist() * 2
    return [
        {
            **{**place, "index": index, "kind": stroke.kind, "x": None, "y": None, "label": stroke.label},
            **dict(zip(("x0", "y0", "x1", "y1"), (*start, *end), strict=True)),
        }
        for start, end in itertools.pairwise(path)
    ]


def _point_row(place: Row, index: int, prompts: Prompts) -> Row:
    (x, y), label = prompts.points[index], prompts.labels[index]
    point = {"index": index, "kind": "point", "x": float(x), "y": float(y), "label": int(label)}
    return {**place, **point, "x0": None, "y0": None, "x1": None, "y1": None}
