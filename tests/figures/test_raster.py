"""Pictures show what they claim: contours on the masks' edges, clicks at their pixels, labels beside the cells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from dmseg.figures import contact_sheet, draw_histogram, draw_signed_heat, heat, panel
from dmseg.figures.colours import rgb
from dmseg.figures.raster import BOX, NEGATIVE, POSITIVE, PREDICTION, REFERENCE, write_label
from dmseg.types import Prompts


def _prompts(points: list[tuple[float, float]], labels: list[int], box: list[float] | None = None) -> Prompts:
    return Prompts(
        np.array(points, np.float32).reshape(-1, 2),
        np.array(labels, np.int8),
        None if box is None else np.array(box, np.float32),
        1,
    )


def _near(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 12) -> NDArray[np.bool_]:
    return np.asarray((np.abs(picture.astype(int) - colour) <= tolerance).all(axis=2))


GREY = np.full((60, 80), 100, np.uint8)


@pytest.mark.parametrize("size", [40, 192, 384, 512])
def test_panel_has_the_asked_longest_side_and_aspect(size: int) -> None:
    assert panel(GREY, None, None, None, size=size).shape == (size * 60 // 80, size, 3)


def test_panel_without_anything_is_the_image() -> None:
    assert (panel(GREY, None, None, None, size=80) == 100).all()


def test_panel_does_not_change_its_inputs() -> None:
    image, mask = np.dstack([GREY] * 3).copy(), np.zeros((60, 80), bool)
    mask[10:30, 10:30] = True
    panel(image, mask, mask, _prompts([(12, 12)], [1]), size=80)
    assert (image == 100).all() and mask.sum() == 400


@pytest.mark.parametrize("size", [80, 192, 400])
def test_contour_follows_the_mask_edge(size: int) -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    drawn = _near(panel(GREY, mask, None, None, size=size), REFERENCE)
    ys, xs = np.nonzero(drawn)
    scale = size / 80
    extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / scale
    assert np.abs(extent - [30, 20, 60, 40]).max() <= 1 + 4 / scale
    assert not drawn[round(30 * scale), round(45 * scale)], "the inside stays free"


def test_reference_stays_visible_below_an_identical_prediction() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    picture = panel(GREY, mask, mask, None, size=512)
    assert _near(picture, REFERENCE).any() and _near(picture, PREDICTION).any()


def test_clicks_lie_on_their_pixels_in_their_colours() -> None:
    picture = panel(GREY, None, None, _prompts([(20, 15), (60, 45)], [1, 0]), size=400)
    for colour, (x, y) in ((POSITIVE, (20, 15)), (NEGATIVE, (60, 45))):
        ys, xs = np.nonzero(_near(picture, colour))
        assert abs(xs.mean() - ((x + 0.5) * 5 - 0.5)) < 1 and abs(ys.mean() - ((y + 0.5) * 5 - 0.5)) < 1


def test_a_click_on_the_frame_is_drawn() -> None:
    picture = panel(GREY, None, None, _prompts([(79, 0)], [0]), size=400)
    assert _near(picture, NEGATIVE)[:20, -20:].any()


def test_box_encloses_its_inclusive_pixels() -> None:
    ys, xs = np.nonzero(_near(panel(GREY, None, None, _prompts([], [], [10, 20, 29, 39]), size=400), BOX))
    assert [xs.min(), ys.min(), xs.max(), ys.max()] == pytest.approx([50, 100, 149, 199], abs=2)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(60, 79\).*\(60, 80\)"):
        panel(GREY, np.zeros((60, 79), bool), None, None)


def test_a_float_image_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        panel(GREY.astype(np.float32), None, None, None)


def test_contact_sheet_places_images_and_labels() -> None:
    black, white = np.zeros((50, 100), np.uint8), np.full((100, 50), 250, np.uint8)
    sheet = contact_sheet([[black, None], [white, white]], ["first\nbelow", "second"], ["A", "B"], cell=100)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    area = (sheet == 0).all(axis=2).sum()
    assert area == 50 * 100, "the wide image fills the width of its cell and half the height"
    assert (sheet[:24] < 128).any() and (sheet[:, :40] < 128).any(), "column and row labels are drawn"


def test_contact_sheet_outlines_the_rows_masks_in_every_cell() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 20:60] = True
    plain = contact_sheet([[GREY, GREY], [GREY, GREY]], ["", ""], ["", ""])
    drawn = contact_sheet([[GREY, GREY], [GREY, GREY]], ["", ""], ["", ""], contours=[[mask], []])
    changed = (plain != drawn).any(axis=2)
    half = changed.shape[0] // 2
    assert changed[:half, : changed.shape[1] // 2].any() and changed[:half, changed.shape[1] // 2 :].any()
    assert not changed[half + 10 :].any()


def test_contact_sheet_refuses_labels_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="2 rows"):
        contact_sheet([[GREY], [GREY]], ["one"], ["A"])
    with pytest.raises(ValueError, match="contours for 2 rows"):
        contact_sheet([[GREY]], ["one"], ["A"], contours=[[], []])


def test_colours_of_maps() -> None:
    values = np.array([[-2.0, 0.0, 0.5, 9.0]])
    coloured = heat(values, 0.0, 1.0).astype(int)
    assert coloured.shape == (1, 4, 3)
    assert (coloured[0, 0] == coloured[0, 1]).all(), "what lies outside takes the end's colour"
    brightness = coloured.sum(-1)[0]
    assert brightness[1] < brightness[2] < brightness[3]
    assert (heat(np.ones((2, 2)), 1.0, 1.0) == heat(np.zeros((2, 2)), 0.0, 1.0)).all(), "a map without contrast"
    signs = draw_signed_heat(np.array([[-1.0, 0.0, 1.0]]))[0]
    assert signs.tolist() == [list(rgb("vermillion")), [255, 255, 255], list(rgb("green"))]


def test_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    drawn = draw_histogram([4, 0, 1, 2], "title", "share", [(0, "1"), (4, "100")])
    blue = _near(drawn, rgb("blue"), tolerance=2)
    edges = np.linspace(52, 466, 5).astype(int)
    heights = [int(blue[:, left:right].any(axis=1).sum()) for left, right in itertools.pairwise(edges)]
    assert heights[1] == 0
    assert heights[0] / 4 == pytest.approx(heights[2], abs=2) and heights[0] / 2 == pytest.approx(heights[3], abs=2)
    assert np.array_equal(drawn, draw_histogram([4, 0, 1, 2], "title", "share", [(0, "1"), (4, "100")]))


def test_a_banner_stands_on_top_and_labels_are_short_and_legible() -> None:
    image = np.full((20, 20), 128, np.uint8)
    plain = contact_sheet([[image]], ["a"], ["x"], cell=64)
    told = contact_sheet([[image]], ["a"], ["x"], cell=64, banner="Synthetic images")
    assert told.shape[0] > plain.shape[0] and (told[0, 0] == (138, 75, 0)).all() and (plain[0, 0] == 255).all()
    assert write_label("乳腺超声") == "RuXianChaoSheng" and write_label("µm é") == "µm é"
    long = "BUSI__malignant-with-a-very-long-name-of-a-file\nsecond"
    assert all(len(line) <= 32 for line in write_label(long).split("\n")) and write_label(long).startswith("BUSI__")
    wide = contact_sheet([[image]], ["x" * 200], ["x"], cell=64)
    assert wide.shape[1] < 64 + 500


def test_a_zoom_shows_its_window_enlarged_in_a_corner_away_from_it() -> None:
    image = np.zeros((100, 100), np.uint8)
    image[5:15, 5:15] = 255
    sheet = contact_sheet([[image]], ["a"], ["x"], cell=100, zooms=[(0, 0, 20, 20)])
    plain = contact_sheet([[image]], ["a"], ["x"], cell=100)
    changed = np.argwhere((sheet != plain).any(axis=2))
    inside = sheet.shape[0] - 10 - 4 - 21, sheet.shape[1] - 10 - 4 - 21
    assert (sheet[inside] == 255).all() and (plain[inside] == 0).all(), "the bright square, four times as large"
    assert len(changed) > 20 * 20
    with pytest.raises(ValueError, match="zooms for 2 rows"):
        contact_sheet([[image]], ["a"], ["x"], zooms=[None, None])
