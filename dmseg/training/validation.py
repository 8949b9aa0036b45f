"""Validation under the evaluation's protocol: prompts on the canvas, the adapter's own path, Dice after every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dmseg.baselines.prompted import PromptedAdapter
from dmseg.build import Benchmark
from dmseg.errors import DataError
from dmseg.figures import contact_sheet, panel
from dmseg.metrics import score
from dmseg.protocol import Preset, first_prompts, next_click, preset, with_click
from dmseg.rng import Stream
from dmseg.training.config import TrainConfig
from dmseg.training.prompts import KEY
from dmseg.types import LEVEL_LABELS, Image, Mask, Prompts, as_rgb

_SHOWN = 4


@dataclass(slots=True)
class Course:
    """One object at one level over the steps: its reference, prompts and predictions, the Dice after each step."""

    mask_id: str
    reference: Mask
    prompts: Prompts
    state: Any = None
    prediction: Mask | None = None
    dice: list[float] = field(default_factory=list)
    done: bool = False

    def take(self, prediction: Mask, state: Any) -> None:
        """Keep an answer."""
        self.prediction, self.state = prediction, state
        self.dice.append(score(self.reference, prediction).dice)

    def advance(self, rules: Preset) -> None:
        """Add the next click; where nothing is wrong, the answer stands for the steps that are left."""
        if self.done or self.prediction is None:
            return
        click = next_click(
            self.reference,
            self.prediction,
            corrective=rules.corrective or "center",
            prompts=self.prompts,
            mask_id=self.mask_id,
        )
        if click is None:
            self.done = True
        else:
            self.prompts = with_click(self.prompts, click)


@dataclass(frozen=True, slots=True)
class Validated:
    """Mean Dice after each step by level, and an image of the first objects."""

    dice: dict[str, list[float]]
    figure: NDArray[np.uint8]

    @property
    def score(self) -> float:
        """Mean over levels of the Dice after the last step: what the best weights are chosen by."""
        return float(np.mean([steps[-1] for steps in self.dice.values()]))


class Validator:
    """The images that a run is validated on: of the splits, the first in keyed order, the same for every seed.

    Objects are those that the evaluation takes.

    Raises:
        DataError: the benchmark lacks a level, or has no image in the splits.

    Attributes:
        image_ids: which they are.
    """

    def __init__(self, benchmark: Benchmark, config: TrainConfig) -> None:
        chosen = config.validation
        known = benchmark.images[benchmark.images["split"].isin(chosen.splits)]["image_id"]
        evaluated = benchmark.masks[benchmark.masks["evaluate"]]
        masks = evaluated.groupby("image_id")["mask_id"].agg(tuple).to_dict()
        candidates = sorted(image_id for image_id in known if image_id in masks)
        missing = [level for level in chosen.levels if level not in benchmark.levels]
        if missing or not candidates:
            lacks = f"no level {', '.join(missing)}" if missing else f"no images in {', '.join(chosen.splits)}"
            raise DataError(
                f"{benchmark.path}: has {lacks} to validate on; give validation.levels and validation.splits that it "
                "has, or validation.images=0 for no validation"
            )
        order = Stream(KEY, "validation").permutation(len(candidates))
        self.image_ids = sorted(candidates[int(place)] for place in order[: chosen.images])
        self.levels = list(chosen.levels)
        self._masks = cast(dict[str, tuple[str, ...]], masks)
        self._benchmark, self._rules = benchmark, preset(chosen.preset)
        self._cut = math.log(self._rules.threshold / (1 - self._rules.threshold))

    def objects(self, image_id: str) -> tuple[str, ...]:
        """Return the ids of an image's objects that are validated."""
        return self._masks[image_id]

    def run(self, adapter: PromptedAdapter) -> Validated:
        """Return how the network does as it stands."""
        results: dict[str, list[list[float]]] = {level: [] for level in self.levels}
        shown: dict[str, list[Image]] = {}
        for image_id in self.image_ids:
            for level in self.levels:
                image = as_rgb(self._benchmark.image(image_id, level))
                courses, first = self._courses(adapter, image, image_id)
                results[level] += [course.dice for course in courses]
                if len(shown) < _SHOWN or image_id in shown:
                    shown.setdefault(image_id, []).extend(
                        panel(image, one.reference, one.prediction, one.prompts) for one in (first, courses[0])
                    )
        means = {level: np.mean(rows, axis=0).tolist() for level, rows in results.items()}
        columns = [f"{LEVEL_LABELS[level]}, step {step}" for level in self.levels for step in (1, self._rules.steps)]
        return Validated(means, contact_sheet(list(shown.values()), list(shown), columns))

    def _courses(self, adapter: PromptedAdapter, image: Image, image_id: str) -> tuple[list[Course], Course]:
        """Return the objects of an image after the last step, and the first of them after the first."""
        references = {mask_id: self._benchmark.mask(mask_id) for mask_id in self.objects(image_id)}
        courses = [
            Course(mask_id, mask, first_prompts(self._rules, mask, mask_id)) for mask_id, mask in references.items()
        ]
        embedding = adapter.encode([image])
        for step in range(self._rules.steps):
            for course in courses if step else ():
                course.advance(self._rules)
            self._answer(adapter, embedding, courses)
            if not step:
                first = replace(courses[0])
        return courses, first

    def _answer(self, adapter: PromptedAdapter, embedding: Sequence[Any], courses: Sequence[Course]) -> None:
        asked = [course for course in courses if not course.done]
        for course in courses:
            if course.done:
                course.dice.append(course.dice[-1])
        if not asked:
            return
        prediction = adapter.predict(
            embedding, [0] * len(asked), [course.prompts for course in asked], [course.state for course in asked]
        )
        masks = (prediction.logits > self._cut).cpu().numpy()
        states = prediction.state if prediction.state is not None else [None] * len(asked)
        for course, mask, state in zip(asked, masks, states, strict=True):
            course.take(mask, state)
