"""All prompts of 50 masks under all presets and rules, frozen; and what they must not depend on.

The masks are drawn here in integers, so the frozen file holds prompts only. It is written anew by
``python tests/protocol/test_golden_prompts.py``, which only a new PROTOCOL_ID can justify.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dmseg.errors import DataError
from dmseg.protocol import (
    CORRECTIVE_RULES,
    PRESETS,
    Preset,
    candidate_prompts,
    first_prompts,
    next_click,
    preset,
    prompts_from_rows,
    with_click,
)
from dmseg.rng import Stream
from dmseg.types import Mask, Prompts

GOLDEN = Path(__file__).parents[1] / "golden" / "prompts.json"
RULES: dict[str, Preset] = {
    **{name: preset(name) for name, rules in PRESETS.items() if not rules.gives_text},  # sentences are the data's
    **{f"dmseg {rule}": preset("dmseg", corrective=rule) for rule in CORRECTIVE_RULES if rule != "center"},
}


def draw_mask(index: int) -> Mask:
    """A mask of one to three ellipses, or a hard case: one pixel, one row, all of the image, at the frame, ties."""
    height, width = [(64, 80), (96, 96), (50, 131)][index % 3]
    mask = np.zeros((height, width), bool)
    if index == 0:
        mask[17, 33] = True
    elif index == 1:
        mask = np.zeros((1, 40), bool)
        mask[0, 5:9] = mask[0, 20:30] = True
    elif index == 2:
        mask[:] = True
    elif index == 3:
        mask[:20, :30] = True
    elif index == 4:
        mask[5:15, 5:15] = mask[5:15, 40:50] = mask[30:40, 5:15] = True
    elif index == 5:
        mask[3:5, 60] = True
    else:
        draw = Stream("golden mask", index)
        y, x = np.mgrid[:height, :width]
        for _ in range(draw.integer(1, 3)):
            cy, cx, ry, rx = draw.integer(0, height), draw.integer(0, width), draw.integer(3, 20), draw.integer(3, 25)
            mask |= ((y - cy) * rx) ** 2 + ((x - cx) * ry) ** 2 <= (rx * ry) ** 2
    return mask


def answer(prompts: Prompts, shape: tuple[int, ...]) -> Mask:
    """A made-up model in integers: the ellipse-free core of the box, discs around clicks, the latest click on top."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    if prompts.box is not None:
        x0, y0, x1, y1 = prompts.box.astype(int)
        mask[y0 + 1 : y1, x0 + 2 : x1] = True
    for (px, py), label in zip(prompts.points.astype(int), prompts.labels, strict=True):
        mask[(y - py) ** 2 + (x - px) ** 2 <= (49 if label else 16)] = bool(label)
    return mask


def sequence(rules: Preset, mask: Mask, mask_id: str, seed: int = 0) -> list[Prompts]:
    """The prompts of all steps, from the made-up model's answers."""
    steps = [first_prompts(rules, mask, mask_id, seed)]
    while len(steps) < rules.steps and rules.corrective:
        click = next_click(
            mask,
            answer(steps[-1], mask.shape),
            corrective=rules.corrective,
            prompts=steps[-1],
            mask_id=mask_id,
            seed=seed,
        )
        if click is None:
            break
        steps.append(with_click(steps[-1], click))
    return steps


def text(prompts: Prompts) -> str:
    """Prompts as ``x,y,label`` triples and ``[x0,y0,x1,y1]``."""
    points = [f"{int(x)},{int(y)},{n}" for (x, y), n in zip(prompts.points, prompts.labels, strict=True)]
    box = [] if prompts.box is None else ["[" + ",".join(str(int(v)) for v in prompts.box) + "]"]
    return " ".join(box + points)


def make_form(index: int) -> dict[str, str]:
    mask, mask_id = draw_mask(index), f"phantom__m{index:02d}__object__0"
    form = {name: text(sequence(rules, mask, mask_id)[-1]) for name, rules in RULES.items()}
    boxes = candidate_prompts(PRESETS["breps-min"], mask, mask_id)
    form["candidates"] = " ".join(text(prompts) for prompts in boxes[1:6]) + f" of {len(boxes)}"
    return form


@pytest.mark.parametrize("index", range(50))
def test_the_prompts_of_every_preset_are_the_frozen_ones(index: int) -> None:
    assert make_form(index) == json.loads(GOLDEN.read_text())[index]


def test_order_threads_and_repetition_change_nothing() -> None:
    order = [(index * 7) % 50 for index in range(50)]
    with ThreadPoolExecutor(3) as pool:
        shuffled = dict(zip(order, pool.map(make_form, order), strict=True))
    assert [shuffled[index] for index in range(0, 50, 5)] == [make_form(index) for index in range(0, 50, 5)]


def test_twenty_steps_begin_as_five_do() -> None:
    for index in range(6, 30):
        mask = draw_mask(index)
        short, long = (sequence(preset(name), mask, f"m{index}") for name in ("dmseg", "20-step"))
        assert [text(step) for step in short] == [text(step) for step in long][: len(short)]


def test_presets_and_rules_share_their_first_prompts() -> None:
    for index in range(6, 40):
        mask, mask_id = draw_mask(index), f"m{index}"
        mixed = first_prompts(preset("dmseg"), mask, mask_id)
        assert text(mixed) == text(first_prompts(preset("dmseg", corrective="mixed"), mask, mask_id))
        if mixed.box is not None:
            assert text(mixed) == text(first_prompts(preset("box"), mask, mask_id))


def test_seed_and_mask_id_change_the_prompts() -> None:
    mask = draw_mask(9)
    seen = {text(first_prompts(preset("3pos"), mask, name, seed)) for name in ("a", "b") for seed in (0, 1)}
    assert len(seen) == 4


def test_recorded_rows_give_the_prompts_back_in_any_order() -> None:
    for name in ("dmseg", "box", "mixed-combo", "noc"):
        steps = sequence(preset(name), draw_mask(12), "m12")
        rows = []
        for prompts in steps:
            place = {"step": prompts.step}
            known = 0 if prompts.step == 1 else len(prompts.points) - 1
            for index in range(known, len(prompts.points)):
                x, y = prompts.points[index]
                rows.append({**place, "index": index, "kind": "point", "x": x, "y": y, "label": prompts.labels[index]})
            if prompts.box is not None and prompts.step == 1:
                corners = dict(zip(("x0", "y0", "x1", "y1"), prompts.box, strict=True))
                rows.append({**place, "index": 0, "kind": "box", **corners})
        for prompts in steps:
            again = prompts_from_rows(rows[::-1], prompts.step)
            assert (text(again), again.step) == (text(prompts), prompts.step)
        assert text(prompts_from_rows(rows)) == text(steps[-1])


@pytest.mark.parametrize(
    "rows", [[], [{"step": 2, "index": 0, "kind": "point"}], [{"step": 1, "index": 0, "kind": "?"}]]
)
def test_rows_that_do_not_begin_a_sequence_are_refused(rows: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match="from step 1 on"):
        prompts_from_rows(rows)


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(make_form(index)) for index in range(50))
    GOLDEN.write_text(f"[\n{lines}\n]\n")
