"""The table of presets, its errors, and the first prompts as distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dmseg.errors import UsageError
from dmseg.protocol import PRESETS, PROTOCOL_ID, first_prompts, next_click, preset
from dmseg.protocol.presets import stream
from dmseg.rng import Stream, key_words

DISC = (np.mgrid[:60, :80][0] - 30) ** 2 + (np.mgrid[:60, :80][1] - 35) ** 2 < 200


def test_the_presets_are_those_of_the_protocol() -> None:
    steps = {name: (entry.steps, entry.first, entry.corrective, entry.search) for name, entry in PRESETS.items()}
    assert steps == {
        "dmseg": (5, "mixed", "center", None),
        "mixed-combo": (5, "mixed-combo", "center", None),
        "box": (5, "box", "center", None),
        "box-only": (1, "box", None, None),
        "3pos": (5, "3pos", "center", None),
        "20-step": (20, "mixed", "center", None),
        "breps-tight": (1, "tight-box", None, None),
        "breps-min": (1, "tight-box", None, "min"),
        "breps-max": (1, "tight-box", None, "max"),
        "noc": (20, "edt-max", "edt-max", None),
        "noc-49": (20, "edt-max", "edt-max", None),
        "text": (1, "text", None, None),
    }
    assert {name: entry.threshold for name, entry in PRESETS.items() if entry.threshold != 0.5} == {"noc-49": 0.49}
    assert all(entry.id == name and entry.version == 1 and entry.title for name, entry in PRESETS.items())


def test_a_preset_says_what_a_model_must_accept() -> None:
    assert preset("dmseg").capabilities == {"points", "negative_points", "box"}
    assert preset("box-only").capabilities == {"box"}
    assert preset("noc").capabilities == {"points", "negative_points"}


def test_unknown_names_and_rules_are_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match='did you mean "20-step"'):
        preset("20step")
    with pytest.raises(UsageError, match='did you mean "center"'):
        preset("dmseg", corrective="centre")
    with pytest.raises(UsageError, match="one step"):
        preset("box-only", corrective="random")


def test_the_key_is_seed_mask_purpose_step_and_nothing_else() -> None:
    assert PROTOCOL_ID == "dmseg-prompt/1"
    assert key_words(PROTOCOL_ID, 0, "m", "box", 1) == key_words("dmseg-prompt/1", "0", "m", "box", "1")
    assert np.array_equal(stream(7, "m", "box", 1).words(4), Stream("dmseg-prompt/1", 7, "m", "box", 1).words(4))


def test_half_of_the_objects_begin_with_a_box_and_clicks_come_in_all_numbers() -> None:
    prompts = [first_prompts(preset("dmseg"), DISC, f"m{i}") for i in range(800)]
    with_box = sum(item.box is not None for item in prompts)
    assert stats.binomtest(with_box, 800).pvalue > 0.001
    assert all((item.box is None) != (len(item.points) == 0) for item in prompts)
    clicks = [item for item in prompts if item.box is None]
    positive = [int((item.labels == 1).sum()) for item in clicks]
    negative = [int((item.labels == 0).sum()) for item in clicks]
    assert stats.chisquare(np.bincount(positive)[1:]).pvalue > 0.001 and set(positive) == {1, 2, 3}
    assert stats.chisquare(np.bincount(negative)).pvalue > 0.001 and set(negative) == {0, 1, 2, 3}


def test_the_combination_gives_clicks_box_and_both_equally_often() -> None:
    kinds = np.zeros((2, 2), int)
    for i in range(900):
        item = first_prompts(preset("mixed-combo"), DISC, f"m{i}")
        kinds[int(item.box is not None), int(len(item.points) > 0)] += 1
    assert kinds[0, 0] == 0 and stats.chisquare([kinds[0, 1], kinds[1, 0], kinds[1, 1]]).pvalue > 0.001


def test_uniform_points_are_uniform_over_the_object() -> None:
    hits = np.zeros(DISC.shape, int)
    for i in range(1500):
        for x, y in first_prompts(preset("3pos"), DISC, f"m{i}").points.astype(int):
            hits[y, x] += 1
    assert (hits[~DISC] == 0).all()
    halves = [hits[:, :35].sum() / DISC[:, :35].sum(), hits[:, 35:].sum() / DISC[:, 35:].sum()]
    assert stats.chisquare(hits[DISC]).pvalue > 0.001
    assert halves[0] == pytest.approx(halves[1], rel=0.1)


@pytest.mark.parametrize("area", [1, 2, 3])
def test_three_points_repeat_only_where_the_object_is_smaller(area: int) -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 2 : 2 + area] = True
    for i in range(30):
        points = first_prompts(preset("3pos"), mask, f"m{i}").points
        assert len(points) == 3
        assert len(np.unique(points, axis=0)) == 3 or area < 3
        assert all(mask[int(y), int(x)] for x, y in points)


def test_no_background_means_no_background_point_and_a_single_pixel_one_point() -> None:
    full, single = np.ones((6, 7), bool), np.zeros((6, 7), bool)
    single[2, 3] = True
    for i in range(60):
        assert (first_prompts(preset("dmseg"), full, f"m{i}").labels == 1).all()
        labels = first_prompts(preset("dmseg"), single, f"m{i}").labels
        assert (labels == 1).sum() <= 1


def test_the_centre_of_an_object_at_the_frame_is_not_on_the_frame() -> None:
    strip = np.zeros((60, 60), bool)
    strip[:, :20] = True
    for rule in ("center", "edt-max"):
        click = next_click(strip, np.zeros_like(strip), corrective=rule)
        assert click is not None and click.x in (9, 10)


def test_equal_errors_missed_before_surplus_for_the_centre_rule_and_the_other_way_for_ritm() -> None:
    reference, prediction = np.zeros((2, 20, 40), bool)
    reference[5:10, 25:30] = True
    prediction[5:10, 5:10] = True
    centre, ritm = (next_click(reference, prediction, corrective=rule) for rule in ("center", "edt-max"))
    assert centre is not None and (centre.x, centre.y, centre.label) == (27, 7, 1)
    assert ritm is not None and (ritm.x, ritm.y, ritm.label) == (7, 7, 0)


def test_random_clicks_cover_the_error_and_need_a_key() -> None:
    reference, prediction = DISC, np.roll(DISC, 9, axis=1)
    start = first_prompts(preset("3pos"), reference, "m")
    clicks = [
        next_click(reference, prediction, corrective="random", prompts=start, mask_id=f"m{i}") for i in range(200)
    ]
    assert all(click and reference[click.y, click.x] != prediction[click.y, click.x] for click in clicks)
    assert {click.label for click in clicks if click} == {0, 1} and len(set(clicks)) > 100
    for rule in ("random", "mixed"):
        with pytest.raises(UsageError, match="give prompts and mask_id"):
            next_click(reference, prediction, corrective=rule)


def test_mixed_clicks_are_one_of_three_places() -> None:
    reference = np.zeros((40, 60), bool)
    reference[5:35, 5:15] = reference[25:35, 5:55] = True  # centroid outside of the inmost part
    empty = np.zeros_like(reference)
    start = first_prompts(preset("3pos"), reference, "m")
    clicks = [next_click(reference, empty, corrective="mixed", prompts=start, mask_id=f"m{i}") for i in range(90)]
    counts = sorted(((clicks.count(click), click) for click in set(clicks)), key=lambda item: -item[0])
    assert 15 < counts[1][0] <= counts[0][0] < 45 and next_click(reference, empty) in (counts[0][1], counts[1][1])


def test_masks_in_other_forms_give_the_same_click() -> None:
    reference, prediction = DISC[:, :77], np.roll(DISC, 9, axis=1)[:, :77]
    expected = next_click(reference, prediction)
    odd = (reference * np.uint8(255)).view(bool)
    frozen = np.asfortranarray(prediction)
    frozen.flags.writeable = False
    assert next_click(odd, frozen) == expected == next_click(reference.copy(), prediction.copy())
    assert next_click(odd, reference.copy()) is None


@pytest.mark.parametrize("other", [np.zeros((60, 79), bool), np.zeros((1, 60, 80), bool), np.zeros((60, 80))])
def test_masks_that_are_not_two_bool_planes_of_one_size_are_refused(other: np.ndarray) -> None:
    with pytest.raises(UsageError, match="two bool masks"):
        next_click(DISC, other)
    with pytest.raises(UsageError, match="two bool masks"):
        next_click(other, DISC)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown corrective rule"):
        next_click(DISC, DISC, corrective="middle")
