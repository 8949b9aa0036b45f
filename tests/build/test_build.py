"""What a build writes, that it is the same however it is made, and that it goes on from where it was."""

from __future__ import annotations

import csv
import json
import random

import cv2
import numpy as np
import pytest

from dmseg import datasets
from dmseg.build import build, open_benchmark, verify
from dmseg.build import run as run_module
from dmseg.errors import DataError, UsageError
from dmseg.imaging import read_image
from dmseg.manifests import pixel_sha256, thumbprint
from dmseg.types import LEVELS

from .conftest import disc, write_case


def report_of(folder):
    with (folder / "build_report.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_image_and_level_is_there_as_the_tables_say(raw, tmp_path):
    summary = build(raw, tmp_path / "b")
    assert (summary.n_images, summary.n_left_out, summary.errors, summary.exit_code) == (10, 0, (), 0)
    bench = open_benchmark(tmp_path / "b")
    assert bench.levels == LEVELS
    assert len(bench.degradations) == 50
    assert bench.digest == summary.manifest_digest
    for row in bench.degradations.itertuples():
        picture = bench.image(row.image_id, row.level)
        assert picture.shape == (40, 48)
        assert pixel_sha256(picture) == row.pixel_sha256
        assert thumbprint(picture).tobytes() == row.thumbprint
    first = bench.images.iloc[0]
    assert first.image_id == "Toy__case0_z000"
    assert first.case_id == "Toy__case0"
    assert (first.spacing_y, first.spacing_x) == (0.5, 0.25)
    assert first.source == "case0.npz#z000"
    assert json.loads(first.window) == {"center": 40, "width": 400}
    assert verify(bench) == []


def test_clear_is_the_image_as_read_and_the_mask_is_on_its_object(raw, tmp_path):
    build(raw, tmp_path / "b")
    bench = open_benchmark(tmp_path / "b")
    source = np.load(raw / "Toy" / "case1.npz")
    assert np.array_equal(bench.image("Toy__case1_z001", "clear"), source["image"][1])
    assert np.array_equal(bench.mask("Toy__case1_z001__disc__0"), source["mask_disc"][0, 1])


def test_objects_below_16_px_are_left_out_and_counted(raw, tmp_path):
    build(raw, tmp_path / "b")
    assert set(open_benchmark(tmp_path / "b").masks.structure) == {"disc"}
    rows = [row for row in report_of(tmp_path / "b") if row["kind"] == "small_object"]
    assert [(row["source"], row["n"]) for row in rows] == [("case3.npz#z000", "2"), ("case3.npz#z001", "2")]


def test_an_image_whose_objects_are_all_too_small_is_left_out(raw, tmp_path):
    size = (40, 48)
    np.savez(
        raw / "Toy" / "tiny.npz", image=np.full((1, *size), 50, np.uint8), mask_disc=disc(size, 5, 5, 1)[None, None]
    )
    summary = build(raw, tmp_path / "b")
    assert (summary.n_images, summary.n_left_out, summary.exit_code) == (10, 1, 0)
    row = next(row for row in report_of(tmp_path / "b") if row["kind"] == "left_out")
    assert row["source"] == "tiny.npz#z000"
    assert "no object of at least 16 px" in row["reason"]


def test_large_images_are_stored_at_1024_with_masks_by_coverage_and_scaled_spacing(tmp_path, toy):
    write_case(tmp_path / "raw" / "Toy", "large", n_slices=1, size=(512, 2048))
    build(tmp_path / "raw", tmp_path / "b", levels=["clear"])
    bench = open_benchmark(tmp_path / "b")
    row = bench.images.iloc[0]
    assert (row.height, row.width) == (256, 1024)
    assert (row.spacing_y, row.spacing_x) == (1.0, 0.5)
    full = np.load(tmp_path / "raw" / "Toy" / "large.npz")
    coverage = full["mask_disc"][0, 0].reshape(256, 2, 1024, 2).mean(axis=(1, 3))
    assert np.array_equal(bench.mask(bench.masks.mask_id.iloc[0]), coverage >= 0.5)
    area = full["image"][0].reshape(256, 2, 1024, 2).mean(axis=(1, 3))
    assert np.abs(bench.image(row.image_id, "clear") - area).max() <= 0.5


def test_mask_numbers_follow_the_first_raster_index_not_the_order_of_the_files(tmp_path, toy):
    size = (60, 60)
    masks = np.stack([disc(size, 45, 45, 5), disc(size, 10, 40, 5), disc(size, 10, 10, 5)])[:, None]
    root = tmp_path / "raw" / "Toy"
    root.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (1, *size)).astype(np.uint8)
    for name, order in (("a", [0, 1, 2]), ("b", [2, 0, 1])):
        np.savez(root / f"{name}.npz", image=image, mask_disc=masks[order])
    build(tmp_path / "raw", tmp_path / "bench", levels=["clear"])
    bench = open_benchmark(tmp_path / "bench")
    for name in "ab":
        centres = [np.argwhere(bench.mask(f"Toy__{name}_z000__disc__{k}")).mean(axis=0).round() for k in range(3)]
        assert np.array_equal(centres, [[10, 10], [10, 40], [45, 45]])


def test_the_evaluation_subset_is_capped_by_keyed_choice(tmp_path, toy):
    size = (60, 90)
    masks = np.stack([disc(size, 20 + 20 * (k // 4), 10 + 20 * (k % 4), 5) for k in range(8)])[:, None]
    root = tmp_path / "raw" / "Toy"
    root.mkdir(parents=True)
    for name in "abcdef":
        np.savez(root / f"{name}.npz", image=np.full((1, *size), 90, np.uint8), mask_disc=masks)
    build(tmp_path / "raw", tmp_path / "b", levels=["clear"])
    masks = open_benchmark(tmp_path / "b").masks
    assert len(masks) == 48
    assert (masks.groupby("image_id").evaluate.sum() == 2).all()
    chosen = masks[masks.evaluate].mask_id.str[-1]
    assert chosen.nunique() > 2, "the choice depends on the image, it is not the first ones"
    build(tmp_path / "raw", tmp_path / "b1", levels=["clear"], seed=1)
    assert set(open_benchmark(tmp_path / "b1").masks.query("evaluate").mask_id) != set(masks[masks.evaluate].mask_id)


def test_splits_are_by_case_and_validation_holds_a_fifth(raw, tmp_path):
    build(raw, tmp_path / "b")
    images = open_benchmark(tmp_path / "b").images
    assert (images.groupby("case_id").split.nunique() == 1).all()
    assert images.split.value_counts().to_dict() == {"train": 8, "seen": 2}


def test_an_unseen_dataset_is_unseen(raw, tmp_path, toy):
    toy(role="unseen", validation=False)
    build(raw, tmp_path / "b", levels=["clear"])
    assert set(open_benchmark(tmp_path / "b").images.split) == {"unseen"}


def test_what_the_reader_leaves_out_by_name_is_reported(raw, tmp_path):
    (raw / "Toy" / "lonely.png").touch()
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert summary.n_left_out == 1
    assert [(row["source"], row["reason"]) for row in report_of(tmp_path / "b") if row["kind"] == "left_out"] == [
        ("lonely.png", "mask missing")
    ]


def test_a_mask_of_another_size_leaves_that_image_out(raw, tmp_path):
    image = np.full((1, 40, 48), 80, np.uint8)
    np.savez(raw / "Toy" / "wrong.npz", image=image, mask_disc=disc((40, 47), 20, 20, 8)[None, None])
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert (summary.n_images, summary.n_left_out, summary.exit_code) == (10, 1, 0)
    assert "mask is 47x40, image is 48x40" in (tmp_path / "b" / "build_report.csv").read_text()


def test_a_truncated_source_fails_alone_and_is_tried_again(raw, tmp_path):
    path = raw / "Toy" / "case2.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    summary = build(raw, tmp_path / "b")
    assert (summary.n_images, summary.exit_code, len(summary.errors)) == (8, 1, 1)
    assert summary.errors[0].startswith("Toy/case2: case2.npz: truncated")
    assert verify(open_benchmark(tmp_path / "b")) == []
    path.write_bytes(whole)
    assert build(raw, tmp_path / "b").exit_code == 0
    assert build(raw, tmp_path / "b").manifest_digest == build(raw, tmp_path / "whole").manifest_digest


def test_an_unforeseen_fault_in_one_image_is_a_row_and_the_rest_is_built(raw, tmp_path, monkeypatch):
    from dmseg.build import unit

    def fragile(sample, *arguments, **options):
        if sample.source_id == "case1_z001":
            raise ZeroDivisionError("division by zero")
        return store(sample, *arguments, **options)

    store = unit.store
    monkeypatch.setattr(unit, "store", fragile)
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert summary.errors == ("Toy/case1: ZeroDivisionError: division by zero",)
    assert summary.n_images == 8
    assert not list((tmp_path / "b" / "images").rglob("*case1*")), "no image of a failed source stays"


def test_the_digest_does_not_depend_on_the_order_of_the_sources(raw, tmp_path, monkeypatch):
    expected = build(raw, tmp_path / "b").manifest_digest
    ordered = run_module.tasks

    def shuffle_tasks(*arguments):
        tasks = ordered(*arguments)
        random.Random(1).shuffle(tasks)
        return tasks

    monkeypatch.setattr(run_module, "tasks", shuffle_tasks)
    assert build(raw, tmp_path / "c").manifest_digest == expected
    for name in ("images.parquet", "masks.parquet", "degradations.parquet", "build_report.csv", "benchmark.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_where_the_download_was_unpacked_does_not_matter(raw, tmp_path):
    expected = build(raw, tmp_path / "b", levels=["clear"]).manifest_digest
    deeper = tmp_path / "elsewhere" / "Toy" / "toy-master" / "data"
    deeper.parent.mkdir(parents=True)
    (raw / "Toy").rename(deeper)
    assert build(tmp_path / "elsewhere", tmp_path / "c", levels=["clear"]).manifest_digest == expected


def test_seed_and_recipe_make_another_benchmark(raw, tmp_path, toy):
    digests = {
        build(raw, tmp_path / "b", levels=["lq1"]).manifest_digest,
        build(raw, tmp_path / "c", levels=["lq1"], seed=1).manifest_digest,
        build(raw, tmp_path / "d", levels=["lq2"]).manifest_digest,
    }
    toy(version=2)
    digests.add(build(raw, tmp_path / "e", levels=["lq1"]).manifest_digest)
    assert len(digests) == 4


def test_unchanged_sources_are_not_done_again(raw, tmp_path, tree, monkeypatch):
    from dmseg.build import unit

    first = build(raw, tmp_path / "b")
    before = tree(tmp_path / "b" / "images")
    monkeypatch.setattr(unit, "store", lambda *arguments, **options: pytest.fail("a source was done again"))
    assert build(raw, tmp_path / "b").manifest_digest == first.manifest_digest
    assert tree(tmp_path / "b" / "images") == before


def test_a_changed_source_is_noticed_and_only_it_is_done_again(raw, tmp_path, tree):
    before = build(raw, tmp_path / "b").manifest_digest
    old = tree(tmp_path / "b" / "images")
    write_case(raw / "Toy", "case4", n_slices=1)
    after = build(raw, tmp_path / "b")
    assert after.manifest_digest != before
    assert after.n_images == 9
    new = tree(tmp_path / "b" / "images")
    assert set(old) - set(new) == {f"Toy/{level}/Toy__case4_z001.png" for level in LEVELS}
    assert {name for name in new if new[name] != old[name]} == {f"Toy/{level}/Toy__case4_z000.png" for level in LEVELS}
    assert after.manifest_digest == build(raw, tmp_path / "c").manifest_digest


def test_a_source_of_equal_bytes_with_another_time_is_unchanged(raw, tmp_path, tree):
    build(raw, tmp_path / "b")
    before = tree(tmp_path / "b" / "images")
    path = raw / "Toy" / "case0.npz"
    path.write_bytes(path.read_bytes())
    build(raw, tmp_path / "b")
    assert tree(tmp_path / "b" / "images") == before


def test_a_source_that_went_away_leaves_no_trace(raw, tmp_path):
    build(raw, tmp_path / "b")
    (raw / "Toy" / "case0.npz").unlink()
    summary = build(raw, tmp_path / "b")
    assert summary.n_images == 8
    assert not [path for path in (tmp_path / "b").rglob("*") if "case0" in path.name]
    assert summary.manifest_digest == build(raw, tmp_path / "c").manifest_digest


def test_a_picture_that_was_removed_is_made_again(raw, tmp_path):
    build(raw, tmp_path / "b")
    gone = next((tmp_path / "b" / "images").rglob("*lq3*/*.png"))
    content = gone.read_bytes()
    gone.unlink()
    build(raw, tmp_path / "b")
    assert gone.read_bytes() == content


def test_new_tables_of_degradations_are_noticed(raw, tmp_path, monkeypatch):
    from dmseg import simulators

    before = build(raw, tmp_path / "b", levels=["lq1"]).manifest_digest
    monkeypatch.setattr(simulators, "tables_digest", lambda: "0" * 64)
    assert build(raw, tmp_path / "b", levels=["lq1"]).manifest_digest != before


def test_temporary_files_of_a_killed_build_are_removed(raw, tmp_path):
    build(raw, tmp_path / "b", levels=["clear"])
    (tmp_path / "b" / "images" / "Toy" / "clear" / ".dmseg-tmp-0123.png").touch()
    build(raw, tmp_path / "b", levels=["clear"])
    assert not list((tmp_path / "b").rglob(".dmseg-tmp-*"))


def test_storage_as_recipe_gives_the_same_pixels_and_digest(raw, tmp_path):
    png = build(raw, tmp_path / "b")
    recipe = build(raw, tmp_path / "c", storage="recipe")
    assert png.manifest_digest == recipe.manifest_digest
    one, other = open_benchmark(tmp_path / "b"), open_benchmark(tmp_path / "c")
    assert {path.name for path in (tmp_path / "c" / "images" / "Toy").iterdir()} == {"clear"}
    for image in one.images.image_id:
        for level in LEVELS:
            assert np.array_equal(one.image(image, level), other.image(image, level))
    assert verify(other) == []


def test_a_limit_takes_the_same_images_every_time_and_may_only_grow(raw, tmp_path):
    small = build(raw, tmp_path / "b", levels=["clear"], limit=3)
    assert small.n_images == 3
    first = set(open_benchmark(tmp_path / "b").images.image_id)
    assert len({image.split("_z")[0] for image in first}) == 3, "images of different sources come first"
    assert build(raw, tmp_path / "c", levels=["clear"], limit=3).manifest_digest == small.manifest_digest
    with pytest.raises(UsageError, match="images would be lost"):
        build(raw, tmp_path / "b", levels=["clear"], limit=2)
    assert build(raw, tmp_path / "b", levels=["clear"], limit=7).n_images == 7
    assert build(raw, tmp_path / "b", levels=["clear"]).n_images == 10


def test_a_limit_is_filled_up_where_sources_give_nothing(raw, tmp_path):
    for number in range(4):
        size = (40, 48)
        empty = np.zeros((1, 1, *size), bool)
        np.savez(raw / "Toy" / f"empty{number}.npz", image=np.full((1, *size), 9, np.uint8), mask_disc=empty)
    assert build(raw, tmp_path / "b", levels=["clear"], limit=5).n_images == 5


def test_colour_images_keep_their_channels(tmp_path, toy):
    root = tmp_path / "raw" / "Toy"
    root.mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 255, (1, 40, 50, 3)).astype(np.uint8)
    np.savez(root / "a.npz", image=image, mask_disc=disc((40, 50), 20, 20, 8)[None, None])
    build(tmp_path / "raw", tmp_path / "b", levels=["clear"])
    assert np.array_equal(open_benchmark(tmp_path / "b").image("Toy__a_z000", "clear"), image[0])
    stored = cv2.imread(str(tmp_path / "b" / "images" / "Toy" / "clear" / "Toy__a_z000.png"))
    assert np.array_equal(stored[..., ::-1], image[0])


def test_names_that_become_the_same_id_are_an_error(raw, tmp_path):
    write_case(raw / "Toy", "case0 ")
    write_case(raw / "Toy", "case0-")
    with pytest.raises(DataError, match=r'two images have the id "Toy__case0-_z000".*rename'):
        build(raw, tmp_path / "b", levels=["clear"])
    assert not (tmp_path / "b" / "benchmark.json").exists()


def test_names_beyond_ascii_and_very_long_names_build(raw, tmp_path):
    write_case(raw / "Toy", "Prüfung 7 雪")
    write_case(raw / "Toy", "x" * 240)
    summary = build(raw, tmp_path / "b")
    assert (summary.n_images, summary.exit_code) == (14, 0)
    bench = open_benchmark(tmp_path / "b")
    assert "Toy__Pr-fung-7--_z000" in set(bench.images.image_id)
    assert verify(bench) == []


def test_the_raw_data_are_not_touched(raw, tmp_path, tree):
    before = tree(raw)
    build(raw, tmp_path / "b")
    assert tree(raw) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "raw"]


def test_the_folder_holds_what_is_documented_and_nothing_else(raw, tmp_path):
    build(raw, tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        ".build",
        "benchmark.json",
        "build_report.csv",
        "degradations.parquet",
        "images",
        "images.parquet",
        "masks.parquet",
    ]
    picture = tmp_path / "b" / "images" / "Toy" / "lq2" / "Toy__case0_z000.png"
    assert read_image(picture).pixels.shape == (40, 48)


def test_phantom_files_are_known_by_their_entry_not_by_their_bytes(raw, tmp_path):
    entries = {f"Toy/case{n}.npz": {"version": "1", "seed": 0, "key": f"case{n}"} for n in range(5)}
    (raw / "phantom.json").write_text(json.dumps(entries))
    first = build(raw, tmp_path / "b", levels=["clear"]).manifest_digest
    for n in range(5):
        path = raw / "Toy" / f"case{n}.npz"
        np.savez_compressed(path, **dict(np.load(path)))
    assert build(raw, tmp_path / "c", levels=["clear"]).manifest_digest == first
    assert open_benchmark(tmp_path / "b").info["synthetic"] == ["Toy"]
    entries["Toy/case0.npz"]["version"] = "2"
    (raw / "phantom.json").write_text(json.dumps(entries))
    assert build(raw, tmp_path / "d", levels=["clear"]).manifest_digest != first


def test_two_datasets_may_have_equal_file_names(raw, tmp_path, toy, monkeypatch):
    recipe = toy()
    other = type(recipe)(**{name: getattr(recipe, name) for name in recipe.__slots__} | {"id": "Other"})
    known = {"Toy": recipe, "Other": other}
    from .conftest import ToyReader

    monkeypatch.setattr(datasets, "RECIPES", tuple(known))
    monkeypatch.setattr(datasets, "recipe", known.__getitem__)
    monkeypatch.setattr(datasets, "reader", lambda name: ToyReader(known[name]))
    write_case(raw / "Other", "case0")
    summary = build(raw, tmp_path / "b", levels=["clear"])
    assert summary.n_images == 12
    assert {"Toy__case0_z000", "Other__case0_z000"} <= set(open_benchmark(tmp_path / "b").images.image_id)


def test_a_build_that_is_widened_while_it_ends_does_not_undo_the_wider_one(raw, tmp_path, monkeypatch):
    from dmseg.build import run

    finish = run.finish

    def widen_first(folder, options, listing):
        monkeypatch.setattr(run, "finish", finish)
        build(raw, folder.path, levels=["clear"], limit=3)
        return finish(folder, options, listing)

    monkeypatch.setattr(run, "finish", widen_first)
    with pytest.raises(UsageError, match="has widened this build"):
        build(raw, tmp_path / "b", levels=["clear"], limit=1)
    assert len(open_benchmark(tmp_path / "b").images) == 3 and verify(open_benchmark(tmp_path / "b")) == []
