"""The original layouts: the package's own readers find what was drawn, and every trap of the originals is there."""

from __future__ import annotations

import csv
import hashlib
import json
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from dmseg.datasets import reader
from dmseg.phantoms import DATASETS
from dmseg.phantoms.encoding import nifti
from dmseg.phantoms.layouts_archive import run_text, runs
from dmseg.phantoms.layouts_ultrasound import OFF_BLACK, PALETTE, column_runs, paint_organs
from dmseg.phantoms.shapes import ellipse, fill
from dmseg.rng import Stream
from dmseg.types import Sample


def samples(raw: Path, name: str) -> list[Sample]:
    source_reader = reader(name)
    root = source_reader.find(raw)
    assert root is not None, name
    read = [item for source in source_reader.sources(root) for item in source_reader.read(root, source)]
    return [item for item in read if isinstance(item, Sample)]


def draw_masks(name: str, contents: list[Any]) -> list[np.ndarray]:
    """Return the masks that a reader should find for a data set, by drawing."""
    if name in ("BraTS", "LGG"):
        labels = contents[0].labels
        whole = np.any([*labels.values()], axis=0)
        if name == "LGG":
            return [mask for mask in whole if mask.any()]
        core, rim = labels["core"] | labels["enhancing"], labels["enhancing"]
        return [m[z] for z in (1, 6) for m in (whole, core, rim) if m[z].any()]
    if name in ("FLARE", "CHAOS"):
        organs = contents[0].labels if name == "FLARE" else {"liver": contents[0].labels["liver"]}
        return [mask[z] for z in (1, 2) for mask in organs.values() if mask[z].any()]
    if name == "Kvasir-SEG" or name == "CVC-ClinicDB":
        return [np.any([s.mask for s in drawing.structures], axis=0) for drawing in contents]
    return [structure.mask for drawing in contents for structure in drawing.structures]


def digests(masks: list[np.ndarray]) -> list[str]:
    return sorted(hashlib.sha256(np.packbits(mask).tobytes() + str(mask.shape).encode()).hexdigest() for mask in masks)


@pytest.mark.parametrize("name", DATASETS)
def test_the_reader_of_the_real_download_yields_exactly_the_images_asked_for(raw: Path, name: str) -> None:
    found = samples(raw, name)
    assert len(found) == 2
    for sample in found:
        assert max(sample.image.shape[:2]) <= 384
        assert sample.image.dtype == np.uint8 and sample.image.std() > 10
        for structure in sample.structures:
            assert 0.0008 < structure.mask.mean() < 0.32, (name, structure.name)


@pytest.mark.parametrize("name", DATASETS)
def test_the_folder_may_be_named_from_where_one_is(raw: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw.parent)
    assert len(samples(Path(raw.name), name)) == 2


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("abdominalUS", "DDTI", "PAXRay")])
def test_the_masks_that_are_read_are_the_masks_that_were_drawn(
    raw: Path, pictures: dict[str, list[Any]], name: str
) -> None:
    read = [structure.mask for sample in samples(raw, name) for structure in sample.structures]
    assert digests(read) == digests(draw_masks(name, pictures[name]))


def test_overlapping_masks_of_the_radiographs_survive_the_run_lengths(
    raw: Path, pictures: dict[str, list[Any]]
) -> None:
    read = [structure.mask for sample in samples(raw, "PAXRay") for structure in sample.structures]
    assert set(digests(read)) == set(digests(draw_masks("PAXRay", pictures["PAXRay"])))


def test_polygons_give_the_nodules_back_up_to_the_pixels_on_their_edges(
    raw: Path, pictures: dict[str, list[Any]]
) -> None:
    read = [structure.mask for sample in samples(raw, "DDTI") for structure in sample.structures]
    drawn = draw_masks("DDTI", pictures["DDTI"])
    assert len(read) == len(drawn)
    for mask in drawn:
        assert max(2 * (mask & other).sum() / (mask.sum() + other.sum()) for other in read) > 0.93


def test_the_painted_annotation_gives_the_organs_back_up_to_their_soft_edges(
    raw: Path, pictures: dict[str, list[Any]]
) -> None:
    for sample, drawing in zip(samples(raw, "abdominalUS"), pictures["abdominalUS"], strict=True):
        for structure in sample.structures:
            drawn = np.any(drawing.find_masks(structure.name), axis=0)
            assert 2 * (structure.mask & drawn).sum() / (structure.mask.sum() + drawn.sum()) > 0.95, structure.name


@pytest.mark.parametrize("name", ["DDTI", "NerveUS", "PAXRay", "BraTS", "FLARE", "CHAOS", "LGG"])
def test_images_of_one_patient_share_a_case(raw: Path, name: str) -> None:
    assert len({sample.case_id for sample in samples(raw, name)}) == 1


def test_annotations_are_anti_aliased_and_two_have_the_shifted_colours(pictures: dict[str, list[Any]]) -> None:
    drawing = pictures["abdominalUS"][0]
    plain = paint_organs(drawing, (0, 0, 0), PALETTE["kidney"])
    assert plain.shape[2] == 4
    assert len(np.unique(plain[..., :3].reshape(-1, 3), axis=0)) > 3 * len(drawing.structures)
    assert tuple(paint_organs(drawing, OFF_BLACK, PALETTE["kidney"])[0, 0, :3]) == OFF_BLACK


def test_files_without_a_partner_are_there(raw: Path) -> None:
    left = {name: [item.reason for item in reader(name).problems(reader(name).find(raw))] for name in DATASETS}  # type: ignore[arg-type]
    assert {"mask missing", "mask without an image"} <= set(left["abdominalUS"])
    assert any("normal" in reason for reason in left["BUSI"])
    assert "mask missing" in left["MuscleUS"]


def test_the_black_normal_and_the_second_lesion_of_busi(raw: Path) -> None:
    root = raw / "BUSI/Dataset_BUSI_with_GT"
    assert not np.asarray(Image.open(root / "normal/normal (1)_mask.png")).any()
    assert (root / "benign/benign (1)_mask_1.png").is_file()


def test_one_case_of_ddti_has_broken_json_and_one_has_no_polygon(raw: Path) -> None:
    def svg(case: int) -> str:
        return ElementTree.parse(raw / f"DDTI/{case}.xml").findtext("mark/svg") or ""

    with pytest.raises(json.JSONDecodeError):
        json.loads(svg(901))
    assert json.loads(svg(902)) == []
    assert all(len(shape["points"]) == 40 for shape in json.loads(svg(1)))


def test_nerve_runs_are_column_major_and_count_from_one(raw: Path) -> None:
    with (raw / "NerveUS/train_masks.csv").open() as handle:
        rows = {f"{row['subject']}_{row['img']}": row["pixels"] for row in csv.DictReader(handle)}
    assert rows["1_3"] == "", "a frame without nerve"
    mask = np.asarray(Image.open(raw / "NerveUS/train/1_1_mask.tif")) > 0
    flat = np.zeros(mask.size, np.bool_)
    numbers = [int(text) for text in rows["1_1"].split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    assert np.array_equal(flat.reshape(mask.shape, order="F"), mask)
    assert column_runs(np.ones((2, 3), np.bool_)) == "1 6"


def test_mmotu_has_upper_case_names_and_masks_of_zero_and_one(raw: Path) -> None:
    root = raw / "MMOTU/OTU_2d"
    assert (root / "images/1.JPG").is_file()
    for suffix in ("_binary", "_binary_binary"):
        assert np.unique(np.asarray(Image.open(root / f"annotations/1{suffix}.PNG"))).tolist() == [0, 1]
    assert np.asarray(Image.open(root / "annotations/1.PNG")).shape[2] == 3
    assert "  " in (root / "train_cls.txt").read_text().splitlines()[0]


def test_kvasir_masks_are_noisy_jpegs_with_a_clear_gap_at_the_threshold(raw: Path) -> None:
    for path in (raw / "Kvasir-SEG/Kvasir-SEG/masks").glob("*.jpg"):
        grey = np.asarray(Image.open(path).convert("L")).astype(int)
        assert len(np.unique(grey)) > 4
        assert np.abs(grey - 127.5).min() > 20


def test_bbbc_images_have_an_alpha_channel_and_one_file_per_nucleus(raw: Path, pictures: dict[str, list[Any]]) -> None:
    folders = sorted((raw / "BBBC038/stage1_train").iterdir())
    counts = sorted(len(list((folder / "masks").iterdir())) for folder in folders)
    assert counts == sorted(len(drawing.structures) for drawing in pictures["BBBC038"])
    for folder in folders:
        assert Image.open(next((folder / "images").iterdir())).mode == "RGBA"


def test_chaos_ct_has_the_intercept_one_bit_masks_and_runs_from_head_to_feet(raw: Path) -> None:
    root = raw / "CHAOS/CHAOS_Train_Sets/Train_Sets/CT/1"
    slices = [pydicom.dcmread(path) for path in sorted((root / "DICOM_anon").iterdir())]
    assert {float(item.RescaleIntercept) for item in slices} == {-1000.0}
    heights = [float(item.ImagePositionPatient[2]) for item in slices]
    assert heights == sorted(heights, reverse=True)
    assert Image.open(root / "Ground/liver_GT_000.png").mode == "1"


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "PSR"])
def test_a_volume_is_the_same_patient_in_every_orientation(tmp_path: Path, orientation: str) -> None:
    volume = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    path = tmp_path / "volume.nii.gz"
    path.write_bytes(nifti(volume, (30.0, 2.0, 1.5), orientation))
    image = nibabel.load(path)
    assert "".join(nibabel.aff2axcodes(image.affine)) == orientation
    canonical = nibabel.as_closest_canonical(image)
    restored = np.asarray(canonical.dataobj)[::-1, ::-1, :].transpose(2, 1, 0)
    assert np.array_equal(restored, volume)
    assert canonical.header.get_zooms() == (1.5, 2.0, 30.0)


def test_brats_has_all_sequences_and_no_label_three(raw: Path) -> None:
    folder = raw / "BraTS/BraTS2021_Training_Data/BraTS2021_00000"
    assert len(list(folder.iterdir())) == 5
    seg = np.asarray(nibabel.load(folder / "BraTS2021_00000_seg.nii.gz").dataobj)
    assert set(np.unique(seg)) <= {0, 1, 2, 4} and {0, 2} <= set(np.unique(seg))


def test_the_tar_named_gz_is_a_plain_tar_with_a_picture_nobody_annotated(raw: Path) -> None:
    with tarfile.open(raw / "PAXRay/paxray_images_unfiltered.tar.gz", "r:") as tar:
        names = tar.getnames()
    assert "images_patlas/RibFrac_999_frontal.png" in names and len(names) == 3


def test_both_kinds_of_run_lengths_say_the_same() -> None:
    from pycocotools import mask as coco

    mask = fill(ellipse((30, 20), (18, 9), 300), (44, 60))
    plain = coco.frPyObjects({"size": [44, 60], "counts": runs(mask)}, 44, 60)
    assert plain["counts"].decode() == run_text(mask)
    assert sum(runs(mask)) == mask.size and sum(runs(mask)[1::2]) == mask.sum()
    assert runs(np.ones((2, 2), np.bool_)) == [0, 4]


def test_the_pickles_hold_the_published_columns_and_no_foreign_names(raw: Path) -> None:
    table = pd.read_pickle(raw / "LungRads/lung_cancer_train.pkl")
    assert list(table.columns) == ["label1", "mask", "hu_array", "hu_array_old"]
    assert table["mask"][0].dtype == np.int8 and set(np.unique(table["mask"][0])) == {0, 1}
    assert b"pyarrow" not in (raw / "LungRads/lung_cancer_train.pkl").read_bytes()


def test_isic_is_spread_over_its_three_parts() -> None:
    from dmseg.phantoms.folder import DrawnItem, PhantomFolder
    from dmseg.phantoms.layouts_colour import isic

    class Kept(PhantomFolder):
        def put(self, relative: str, content: bytes, key: str) -> None:
            self.keys[relative] = key

    from dmseg.phantoms.dermoscopy import skin_lesion

    drawing = skin_lesion(Stream("isic"), (60, 80))
    folder = Kept(Path("nowhere"), 0, "ISIC")
    isic(folder, [DrawnItem(number, number, 0, f"k{number}", drawing) for number in range(6)])
    parts: Callable[[str], int] = lambda part: sum(f"_{part}_Input/ISIC" in name for name in folder.keys)  # noqa: E731
    assert (parts("Training"), parts("Validation"), parts("Test")) == (4, 1, 1)
