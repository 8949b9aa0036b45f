"""The page without a server: images, a simulated user's clicks and the models' answers, all held by one document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dmseg.click.answers import Answerer, Prompt
from dmseg.click.messages import describe_answer, describe_gallery, run_lengths
from dmseg.click.page import build_page
from dmseg.click.views import ShownView
from dmseg.errors import UsageError
from dmseg.figures import embed_png
from dmseg.files import write_text
from dmseg.protocol import next_click
from dmseg.types import LEVELS, Mask


def write_recorded_page(answerer: Answerer, out: Path, steps: int = 5) -> None:
    """Write a page with recorded answers.

    The clicks are those of the evaluation's simulated user: the first on the object, each further one in the largest
    error of the first model.

    Args:
        answerer: the images, one object each, and one or two models.
        steps: clicks per image and level.

    Raises:
        UsageError: an image without a reference, which the simulated user needs.
    """
    gallery = answerer.gallery
    images: dict[str, dict[str, str]] = {}
    prompts: dict[str, dict[str, Any]] = {}
    answers: dict[str, dict[str, Any]] = {}
    references: dict[str, list[int]] = {}
    for entry in gallery.entries:
        if not entry.masks:
            raise UsageError(f"{entry.image_id} has no reference mask; give one, so that clicks can be simulated")
        mask_id = next(iter(entry.masks))
        reference = gallery.reference(entry.image_id, mask_id)
        references[mask_id] = run_lengths(reference)
        images[entry.image_id], prompts[entry.image_id], answers[entry.image_id] = {}, {}, {}
        for level in LEVELS if entry.modality else LEVELS[:-1]:
            view = ShownView(entry.image_id, level)
            images[entry.image_id][level] = embed_png(np.asarray(gallery.pixels(view), np.uint8))
            given = simulate_clicks(answerer, view, reference, steps)
            prompts[entry.image_id][level] = [{"kind": one.kind, "values": list(one.values)} for one in given]
            answers[entry.image_id][level] = {
                name: [
                    describe_answer(answerer.answer(name, view, given[: step + 1]), reference, entry)
                    for step in range(len(given))
                ]
                for name in answerer.models
            }
    described = describe_gallery(gallery, answerer.models, list(answerer.models)[:2])
    for row in described["images"]:
        row["masks"] = row["masks"][:1]
    held = {"gallery": described, "images": images, "prompts": prompts, "answers": answers, "references": references}
    write_text(out, build_page(gallery.title, held))


def simulate_clicks(answerer: Answerer, view: ShownView, reference: Mask, steps: int) -> list[Prompt]:
    """Return the clicks of the simulated user towards a reference, by the errors of the first model."""
    model = next(iter(answerer.models))
    prediction = np.zeros_like(reference)
    given: list[Prompt] = []
    for _ in range(steps):
        click = next_click(reference, prediction)
        if click is None:
            break
        given.append(Prompt("point", (float(click.x), float(click.y), float(click.label))))
        prediction = answerer.answer(model, view, given).mask
    return given
