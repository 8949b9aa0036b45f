"""One's own data: what init-recipe guesses, and what the recipe then reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmseg import datasets
from dmseg.datasets import own, templates
from dmseg.errors import DataError, UsageError
from dmseg.types import Sample, Window


def _guess(folder: Path, **options: Any) -> own.Guess:
    return own.guess(folder, modality="ultrasound", domain=["speckle"], **options)


def _read(guessed: own.Guess, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Write the recipe, read it back and read all samples with it, as a build does."""
    path = tmp_path_factory.mktemp("recipe") / "mine.toml"
    path.write_text(guessed.text, encoding="utf-8")
    recipe = datasets.from_file(path)
    assert recipe == guessed.recipe
    reader = datasets.reader_of(recipe)
    root = reader.find(folder)
    assert root is not None
    items = [item for source in reader.sources(root) for item in reader.read(root, source)]
    return [item for item in items if isinstance(item, Sample)]


@pytest.mark.parametrize(
    ("image", "mask", "templates_of"),
    [
        ("images/s{}.png", "masks/s{}.png", ("images/{id}", "masks/{id}")),
        ("s{}.jpg", "s{}_mask.png", ("{id}", "{id}_mask")),
        ("Frames/s{}.tif", "Ground Truth/s{}.tif", ("Frames/{id}", "Ground Truth/{id}")),
        ("p{}/frame.png", "p{}/frame-seg.png", ("{id}/frame", "{id}/frame-seg")),
        ("in/s{}_0000.png", "out/labels/s{}.png", ("in/{id}_0000", "out/labels/{id}")),
    ],
)
def test_usual_layouts_are_recognised(
    files: Any, grey: Any, block: Any, image: str, mask: str, templates_of: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    for k in range(4):
        files.picture("mine/" + image.format(k), grey())
        files.picture("mine/" + mask.format(k), block(x=k))
    guessed = _guess(files.root / "mine")
    parameters = guessed.recipe.parameters
    assert (*parameters["image"], *parameters["mask"]) == templates_of
    assert guessed.n_sources == 4 and not guessed.left_out and not guessed.unmatched
    samples = _read(guessed, files.root, tmp_path_factory)
    assert [np.nonzero(sample.structures[0].mask)[1].min() for sample in samples] == [0, 1, 2, 3]
    assert len({sample.case_id for sample in samples}) == 4


def test_several_masks_of_an_image_are_its_objects(
    files: Any, grey: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.picture("mine/a.png", grey())
    files.picture("mine/b.png", grey())
    for name, x in (("a_mask", 0), ("a_mask_1", 6), ("b_mask", 3)):
        files.picture(f"mine/{name}.png", block(x=x))
    guessed = _guess(files.root / "mine")
    assert guessed.recipe.parameters["mask"] == ["{id}_mask{k}"]
    samples = _read(guessed, files.root, tmp_path_factory)
    assert [len(sample.structures) for sample in samples] == [2, 1]


def test_what_did_not_match_is_named(files: Any, grey: Any, block: Any) -> None:
    for name in ("a", "b"):
        files.picture(f"mine/images/{name}.png", grey())
        files.picture(f"mine/masks/{name}.png", block())
    files.picture("mine/images/alone.png", grey())
    files.picture("mine/masks/orphan.png", block())
    files.picture("mine/overview.png", grey())
    guessed = _guess(files.root / "mine")
    assert {item.source: item.reason for item in guessed.left_out} == {
        "images/alone.png": "mask missing",
        "masks/orphan.png": "mask without an image",
    }
    assert [path.as_posix() for path in guessed.unmatched] == ["overview.png"]


def test_labels_become_structures_and_zero_one_masks_do_not(
    files: Any, grey: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.picture("mine/images/a.png", grey())
    files.picture("mine/masks/a.png", block(value=3) + block(x=10, value=7))
    files.picture("other/images/a.png", grey())
    files.picture("other/masks/a.png", block(value=1))
    labelled = _guess(files.root / "mine")
    assert labelled.recipe.structures == ("label_3", "label_7")
    (sample,) = _read(labelled, files.root, tmp_path_factory)
    assert {s.name: int(s.mask.sum()) for s in sample.structures} == {"label_3": 25, "label_7": 25}
    single = _guess(files.root / "other")
    assert single.recipe.parameters["mask_above"] == 0 and "labels" not in single.recipe.parameters
    assert int(_read(single, files.root, tmp_path_factory)[0].structures[0].mask.sum()) == 25


def _paint(block: Any, *colours: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return a drawing on black with a 5 x 5 block of each colour, side by side."""
    drawn = [block(x=1 + 5 * k, value=1)[..., None] * np.array(colour, np.uint8) for k, colour in enumerate(colours)]
    return np.asarray(sum(drawn), np.uint8)


def test_each_colour_of_a_drawing_is_a_structure(
    files: Any, grey: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    red, yellow, blue = (255, 0, 0), (255, 255, 0), (0, 0, 255)
    for name, colours in (("a", (red, yellow)), ("b", (yellow, blue)), ("c", ())):
        files.picture(f"mine/images/{name}.png", grey())
        drawing = _paint(block, *colours) if colours else np.zeros((*grey().shape, 3), np.uint8)
        files.picture(f"mine/masks/{name}.png", drawing)
    guessed = _guess(files.root / "mine")
    assert guessed.recipe.structures == ("colour_0000ff", "colour_ff0000", "colour_ffff00")
    found = [
        {s.name: (int(s.mask.sum()), int(np.nonzero(s.mask)[1].min())) for s in sample.structures}
        for sample in _read(guessed, files.root, tmp_path_factory)
    ]
    assert found == [
        {"colour_ff0000": (25, 1), "colour_ffff00": (25, 6)},
        {"colour_ffff00": (25, 1), "colour_0000ff": (25, 6)},
    ]


def test_a_drawing_without_black_has_its_commonest_colour_as_background(
    files: Any, grey: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.picture("mine/images/a.png", grey())
    drawing = _paint(block, (255, 0, 0))
    drawing[drawing.sum(axis=2) == 0] = (250, 250, 255)
    files.picture("mine/masks/a.png", drawing)
    guessed = _guess(files.root / "mine")
    assert guessed.recipe.parameters["background"] == [250, 250, 255]
    (sample,) = _read(guessed, files.root, tmp_path_factory)
    assert [(s.name, int(s.mask.sum())) for s in sample.structures] == [("colour_ff0000", 25)]


def test_pixels_between_two_colours_go_to_one_of_them(
    files: Any, grey: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.picture("mine/images/a.png", grey())
    files.picture("mine/masks/a.png", _paint(block, (255, 0, 0), (0, 0, 255)))
    guessed = _guess(files.root / "mine")
    soft = _paint(block, (255, 0, 0), (0, 0, 255))
    soft[:, 5][soft[:, 5].any(axis=1)] = (200, 0, 60)
    files.picture("mine/masks/a.png", soft)
    (sample,) = _read(guessed, files.root, tmp_path_factory)
    assert {s.name: int(s.mask.sum()) for s in sample.structures} == {"colour_ff0000": 25, "colour_0000ff": 25}


def test_jpeg_masks_are_drawn_not_labelled(files: Any, grey: Any, block: Any) -> None:
    files.picture("mine/images/a.png", grey())
    files.picture("mine/masks/a.jpg", block(), quality=60)
    guessed = _guess(files.root / "mine")
    assert guessed.recipe.parameters["mask_above"] == 127 and guessed.recipe.structures == ("object",)


def test_volumes_become_slices(files: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    values = np.arange(6 * 12 * 16).reshape(6, 12, 16).astype(np.int16) - 1000
    labels = np.zeros(values.shape, np.uint8)
    labels[2:4, 3:8, 3:8] = 2
    for name in ("p1", "p2"):
        files.volume(f"mine/imagesTr/{name}_0000.nii.gz", values, "LPS")
        files.volume(f"mine/labelsTr/{name}.nii.gz", labels, "RAS")
    guessed = own.guess(files.root / "mine", modality="ct", domain=["ct_ring"], window=Window(40, 400), name="scans")
    assert guessed.recipe.reader == "own_volumes" and guessed.recipe.id == "scans"
    samples = _read(guessed, files.root, tmp_path_factory)
    assert [sample.source_id for sample in samples] == ["p1_z002", "p1_z003", "p2_z002", "p2_z003"]
    assert np.array_equal(samples[0].structures[0].mask, labels[2] == 2)
    assert samples[0].window == Window(40, 400)
    percent = own.guess(files.root / "mine", modality="mri", domain=["bias_field"])
    assert _read(percent, files.root, tmp_path_factory)[0].image.max() > 100


def test_pictures_of_more_than_8_bits_are_windowed(
    files: Any, block: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files.dicom("mine/images/a.dcm", (np.arange(192).reshape(12, 16) * 20).astype(np.uint16), 0, "1.2")
    files.picture("mine/masks/a.png", block())
    (sample,) = _read(_guess(files.root / "mine"), files.root, tmp_path_factory)
    assert sample.image.dtype == np.uint8 and sample.image.min() == 0 and sample.image.max() == 255
    assert sample.spacing == (0.7, 0.8)


def test_a_missing_folder_and_an_unknown_modality_are_errors(files: Any) -> None:
    with pytest.raises(DataError, match="no such folder"):
        _guess(files.root / "missing")
    with pytest.raises(UsageError, match='did you mean "ultrasound"'):
        own.guess(files.root, modality="ultrasond", domain=[])


def test_what_cannot_be_guessed_gives_a_recipe_that_says_so(files: Any, grey: Any, block: Any) -> None:
    files.text("empty/readme.txt", "")
    assert "no image or volume file was found" in _guess(files.root / "empty").text
    files.picture("only/a.png", grey())
    assert "1 files in ./, such as a.png" in _guess(files.root / "only").text
    files.picture("apart/images/a.png", grey())
    files.picture("apart/masks/b.png", block())
    apart = _guess(files.root / "apart")
    assert apart.n_sources == 0 and "1 files in images/, such as a.png" in apart.text


def test_of_a_drawing_with_soft_edges_only_areas_are_structures(files: Any, grey: Any) -> None:
    soft = np.zeros((40, 60, 3), np.uint8)
    soft[5:20, 5:20] = (255, 0, 0)
    soft[25:38, 30:50] = (0, 0, 255)
    edges = np.random.default_rng(0).integers(1, 250, (40, 60, 3))
    soft[22, :] = edges[22]
    files.picture("mine/images/a.png", grey(40, 60))
    files.picture("mine/masks/a.png", soft)
    guessed = _guess(files.root / "mine")
    assert guessed.recipe.structures == ("colour_0000ff", "colour_ff0000")
    assert guessed.recipe.parameters["colour_core"] == 3 and any("edges are soft" in note for note in guessed.notes)


def test_folders_of_different_depths_get_a_path_each(files: Any, grey: Any, block: Any) -> None:
    for name in ("u/v/b", "c"):
        files.picture(f"deep/{name}.png", grey())
        files.picture(f"deep/{name}_mask.png", block())
    guessed = _guess(files.root / "deep")
    assert guessed.n_sources == 2 and not guessed.left_out


@pytest.mark.parametrize("template", ["images", "{id}{id}", "{id}/{name}", "{case}"])
def test_wrong_templates_are_refused(template: str) -> None:
    with pytest.raises(DataError, match=r"give \{id\} once"):
        templates.matcher(template)


def test_signs_in_templates_are_only_signs(tmp_path: Path) -> None:
    found = templates.match_template(
        "a.b(c)/{id}+x", tmp_path, [tmp_path / "a.b(c)" / "7+x.png", tmp_path / "aXb(c)" / "7+x.png"]
    )
    assert [(match.file.parent.name, match.id) for match in found] == [("a.b(c)", "7")]


def test_a_suffix_in_a_template_changes_nothing(tmp_path: Path) -> None:
    files = [tmp_path / "images" / name for name in ("7.jpg", "8.PNG", "9.png.tif")]
    for template in ("images/{id}", "images/{id}.png"):
        assert [match.id for match in templates.match_template(template, tmp_path, files[:2])] == ["7", "8"]
    assert [match.id for match in templates.match_template("images/{id}.png", tmp_path, files[2:])] == ["9"]
