"""Step 1 and the clicks after it, on shapes whose answer is known by eye."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.protocol import PRESETS, Click, first_prompts, next_click, preset, with_click


def square(size: int = 40, low: int = 10, high: int = 30) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[low:high, low:high] = True
    return mask


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "text"])
def test_first_points_carry_the_label_of_the_reference_under_them(name: str) -> None:
    mask = square()
    for index in range(30):
        prompts = first_prompts(preset(name), mask, f"m{index}")
        assert prompts.step == 1
        assert prompts.box is not None or len(prompts.points)
        for (x, y), label in zip(prompts.points.astype(int), prompts.labels, strict=True):
            assert mask[y, x] == bool(label)
        assert len(np.unique(prompts.points, axis=0)) == len(prompts.points)


def test_the_preset_text_gives_the_sentence_of_the_data_and_nothing_else() -> None:
    prompts = first_prompts(preset("text"), square(), "m", text="the square")
    assert (prompts.text, prompts.box, len(prompts.points), prompts.step) == ("the square", None, 0, 1)
    assert first_prompts(preset("box"), square(), "m", text="the square").text is None
    with pytest.raises(UsageError, match="has no sentence"):
        first_prompts(preset("text"), square(), "m")


def test_a_corrective_click_is_the_centre_of_the_largest_error() -> None:
    reference, prediction = square(), square()
    prediction[10:30, 10:17] = False
    prediction[0:5, 0:5] = True
    assert next_click(reference, prediction) == Click(13, 19, 1)
    prediction[0:9, 0:39] = True
    click = next_click(reference, prediction)
    assert click is not None and click.label == 0 and click.y == 4


def test_without_error_there_is_no_click() -> None:
    assert next_click(square(), square()) is None


def test_with_click_keeps_the_box_and_adds_one_point() -> None:
    start = first_prompts(preset("box"), square(), "m")
    after = with_click(start, Click(3, 4, 0))
    assert after.step == 2 and after.points.tolist() == [[3, 4]] and after.labels.tolist() == [0]
    assert np.array_equal(after.box, start.box) and len(start.points) == 0


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        first_prompts(preset("dmseg"), np.zeros((8, 8), bool), "m")
