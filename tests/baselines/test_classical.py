"""The models without weights: what they draw follows from the prompts, and from the image where they look at it."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.baselines import ModelAdapter, load_model, model_cards
from dmseg.types import Prompts

CLASSICAL = [name for name, card in model_cards().items() if card.kind == "classical"]
LOOKING = [name for name in CLASSICAL if name != "disk"]


def prompts(points=(), labels=(), box=None, step=1):
    return Prompts(
        np.array(points, dtype=np.float32).reshape(-1, 2),
        np.array(labels, dtype=np.int8),
        None if box is None else np.array(box, dtype=np.float32),
        step,
    )


def scene(height=80, width=100):
    """A bright ellipse on dark ground, and its mask."""
    rows, columns = np.mgrid[:height, :width]
    mask = ((columns - 0.45 * width) / (0.25 * width)) ** 2 + ((rows - 0.5 * height) / (0.22 * height)) ** 2 <= 1
    grey = np.where(mask, 180, 60) + 6 * np.sin(rows) * np.cos(columns / 2)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2), mask


def answer(model, image, *given):
    embeddings = model.encode([image])
    return model.predict(embeddings, [0] * len(given), list(given), [None] * len(given)).logits


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", CLASSICAL)
def test_has_the_interface_and_answers_on_the_canvas(name):
    model = load_model(name)
    image, _ = scene()
    logits = answer(model, image, prompts([(45, 40)], [1]), prompts([(10, 10)], [1]))
    assert isinstance(model, ModelAdapter)
    assert logits.shape == (2, 80, 100)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", LOOKING)
def test_one_click_finds_an_even_object(name):
    image, mask = scene()
    assert dice(answer(load_model(name), image, prompts([(45, 40)], [1]))[0] > 0, mask) > 0.9


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_box_finds_an_elliptic_object(name):
    image, mask = scene()
    rows, columns = np.nonzero(mask)
    box = (columns.min(), rows.min(), columns.max(), rows.max())
    assert dice(answer(load_model(name), image, prompts(box=box))[0] > 0, mask) > 0.9


@pytest.mark.parametrize("name", CLASSICAL)
def test_nothing_outside_of_the_box(name):
    image, _ = scene()
    found = answer(load_model(name), image, prompts(box=(30, 30, 60, 50)))[0] > 0
    outside = np.ones_like(found)
    outside[30:51, 30:61] = False
    assert found.any()
    assert not (found & outside).any()


@pytest.mark.parametrize("name", CLASSICAL)
def test_clicks_are_honoured(name):
    image, _ = scene()
    found = answer(load_model(name), image, prompts([(45, 40), (60, 44), (50, 30)], [1, 0, 1]))[0] > 0
    assert found[40, 45] and found[30, 50]
    assert not found[44, 60]


@pytest.mark.parametrize("name", CLASSICAL)
def test_masks_of_one_call_do_not_touch_each_other(name):
    model = load_model(name)
    image, _ = scene()
    given = [prompts([(45, 40)], [1]), prompts([(20, 20)], [1]), prompts([(80, 60)], [1])]
    together = answer(model, image, *given)
    for one, logits in zip(given, together, strict=True):
        assert np.array_equal(answer(model, image, one)[0], logits)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (3, 3), (700, 500)])
def test_every_canvas_is_answered_on_its_own_grid(name, shape):
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    image[shape[0] // 2 :, shape[1] // 2 :] = 200
    click = prompts([(shape[1] - 1, shape[0] - 1), (0, 0)], [1, 0])
    box = prompts(box=(0, 0, shape[1] - 1, shape[0] - 1))
    for given in (click, box):
        logits = answer(load_model(name), image, given)
        assert logits.shape == (1, *shape)
        assert np.isfinite(logits).all()


def test_large_pictures_are_worked_on_at_a_smaller_size_and_answered_at_their_own():
    small, mask = scene(160, 200)
    large = np.repeat(np.repeat(small, 5, axis=0), 5, axis=1)
    found = answer(load_model("watershed"), large, prompts([(450, 400)], [1]))[0] > 0
    assert found.shape == (800, 1000)
    assert dice(found, np.repeat(np.repeat(mask, 5, axis=0), 5, axis=1)) > 0.9


def test_disk_draws_a_disc_of_the_stated_radius():
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    found = answer(load_model("disk", arguments={"radius": 0.2}), image, prompts([(50, 50)], [1]))[0] > 0
    assert abs(found.sum() - np.pi * 20**2) < 0.05 * np.pi * 20**2


def test_disk_divides_space_between_clicks_of_both_signs():
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    found = answer(load_model("disk", arguments={"radius": 0.3}), image, prompts([(20, 30), (34, 30)], [1, 0]))[0] > 0
    assert found[30, 26] and not found[30, 28]
    assert found[30, 10]


def test_random_walker_gives_graded_certainty():
    image, _ = scene()
    logits = answer(load_model("random-walker"), image, prompts([(45, 40)], [1]))[0]
    assert len(np.unique(np.round(logits, 2))) > 50


def test_watershed_does_not_look_at_uniform_shifts_of_grey():
    image, _ = scene()
    click = prompts([(45, 40)], [1])
    model = load_model("watershed")
    assert np.array_equal(answer(model, image, click), answer(model, image + np.uint8(30), click))
