"""NIfTI: whatever the affine, the same patient is seen the same way up; broken files are refused."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from dmseg import imaging
from dmseg.errors import ImageFileError, UsageError

_ALL_AXES = [
    "".join(letters) for order in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*order)
]


def _save_as(body: np.ndarray, axes: str, path: Path, *, dtype: type = np.int16) -> nibabel.Nifti1Image:
    """Save a radiological body with its voxel axes running along ``axes``, spacing x 0.7, y 1.1, z 5 mm.

    The reference is nibabel's own orientation code, not ours.
    """
    ras = np.flip(body.transpose(2, 1, 0), (0, 1))  # columns run to the left, rows to the back: turn both
    affine = np.diag([0.7, 1.1, 5.0, 1.0])
    affine[:3, 3] = (-30, 12, 800)
    image = nibabel.Nifti1Image(np.ascontiguousarray(ras).astype(dtype), affine)
    turned = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(axes)))
    assert "".join(nibabel.aff2axcodes(turned.affine)) == axes
    nibabel.save(turned, path)
    return turned


@pytest.mark.parametrize("axes", _ALL_AXES)
def test_every_one_of_the_48_orientations_is_seen_the_same_way_up(tmp_path: Path, body: np.ndarray, axes: str) -> None:
    path = tmp_path / "a.nii"
    _save_as(body, axes, path)
    volume = imaging.read_volume(path)
    assert np.array_equal(volume.values, body)
    assert volume.values.dtype == np.int16
    assert volume.axes == "SPL"
    assert volume.spacing == pytest.approx((5.0, 1.1, 0.7), rel=1e-6)
    assert imaging.image_header(path) == body.shape[1:]


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "ASL"])
@pytest.mark.parametrize("degrees", [-40, 10, 40])
def test_oblique_volumes_go_to_the_nearest_axes(tmp_path: Path, body: np.ndarray, axes: str, degrees: int) -> None:
    turned = _save_as(body, axes, tmp_path / "a.nii")
    angle = np.deg2rad(degrees)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = nibabel.Nifti1Image(np.asarray(turned.dataobj), rotation @ turned.affine)
    nibabel.save(oblique, tmp_path / "b.nii.gz")
    assert np.array_equal(imaging.read_volume(tmp_path / "b.nii.gz").values, body)


def test_qform_alone_and_no_form_at_all(tmp_path: Path, body: np.ndarray) -> None:
    turned = _save_as(body, "LAS", tmp_path / "a.nii")
    image = nibabel.Nifti1Image(np.asarray(turned.dataobj), None)
    image.header.set_zooms((0.7, 1.1, 5.0))
    image.set_qform(turned.affine, code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "q.nii")
    assert np.array_equal(imaging.read_volume(tmp_path / "q.nii").values, body)
    # Without any form the format's convention applies: the first axis runs to the left.
    image.set_qform(None, code=0)
    nibabel.save(image, tmp_path / "none.nii")
    assert np.array_equal(imaging.read_volume(tmp_path / "none.nii").values, body)


def test_the_scaling_of_the_header_is_applied(tmp_path: Path, body: np.ndarray) -> None:
    turned = _save_as(body, "RAS", tmp_path / "a.nii")
    for slope, inter, kind in ((1.0, -1024.0, np.int16), (0.5, 3.25, np.float32)):
        image = nibabel.Nifti1Image(np.asarray(turned.dataobj), turned.affine)
        content = bytearray(image.to_bytes())
        raw = nibabel.Nifti1Header(bytes(content[:348]))
        raw["scl_slope"], raw["scl_inter"] = slope, inter
        content[: raw.sizeof_hdr] = raw.binaryblock
        (tmp_path / "s.nii").write_bytes(content)
        values = imaging.read_volume(tmp_path / "s.nii").values
        assert values.dtype == kind
        assert np.array_equal(values, body * slope + inter)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32, ">i2"])
def test_sample_types(tmp_path: Path, body: np.ndarray, dtype: type) -> None:
    array = np.minimum(body, 250)
    image = _save_as(array, "RAS", tmp_path / "a.nii", dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).astype(dtype), image.affine), tmp_path / "b.nii")
    volume = imaging.read_volume(tmp_path / "b.nii")
    assert np.array_equal(volume.values, array)
    assert volume.values.dtype.isnative
    labels = imaging.read_label_volume(tmp_path / "b.nii").values
    assert labels.dtype.kind in "iu"
    assert np.array_equal(labels, array)


def test_labels_with_fractions_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), 0.5, np.float32), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ImageFileError, match="fractions"):
        imaging.read_label_volume(tmp_path / "a.nii")


def test_units_become_millimetres(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([700.0, 1100.0, 5000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    assert imaging.read_volume(tmp_path / "a.nii").spacing == pytest.approx((5.0, 1.1, 0.7), rel=1e-6)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_truncated_volumes_are_named(tmp_path: Path, kept: float, ending: str) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (30, 30, 30), dtype=np.int16)
    path = tmp_path / f"a{ending}"
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ImageFileError, match=r"a\.nii"):
        imaging.read_volume(path)


def test_a_damaged_byte_in_a_packed_volume_is_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), tmp_path / "a.nii")
    packed = bytearray(gzip.compress((tmp_path / "a.nii").read_bytes(), compresslevel=0))
    packed[len(packed) // 2] ^= 1
    (tmp_path / "b.nii.gz").write_bytes(packed)
    with pytest.raises(ImageFileError, match="CRC"):
        imaging.read_volume(tmp_path / "b.nii.gz")


def test_other_dimensions_and_types_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 3), np.uint8), np.eye(4)), tmp_path / "4d.nii")
    with pytest.raises(ImageFileError, match="4-D"):
        imaging.read_volume(tmp_path / "4d.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6, 1), np.uint8), np.eye(4)), tmp_path / "one.nii")
    assert imaging.read_volume(tmp_path / "one.nii").values.shape == (6, 5, 4)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.uint8), np.eye(4)), tmp_path / "2d.nii")
    assert imaging.read_volume(tmp_path / "2d.nii").values.shape == (1, 5, 4)
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.complex64), np.eye(4)), tmp_path / "complex.nii")
    with pytest.raises(ImageFileError, match="complex"):
        imaging.read_volume(tmp_path / "complex.nii")
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["srow_z"] = 0
    content[: header.sizeof_hdr] = header.binaryblock
    (tmp_path / "flat.nii").write_bytes(content)
    with pytest.raises(ImageFileError, match="degenerate"):
        imaging.read_volume(tmp_path / "flat.nii")


def test_a_huge_header_is_refused_before_reading(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((20_000, 20_000, 3))
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\0" * 100)
    with pytest.raises(ImageFileError, match="400 megapixels"):
        imaging.read_volume(tmp_path / "a.nii")
    header.set_data_shape((1000, 1000, 1600))
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\0" * 100)
    with pytest.raises(ImageFileError, match="million"):
        imaging.read_volume(tmp_path / "a.nii")


def test_what_is_no_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(ImageFileError, match="not a NIfTI file"):
        imaging.read_volume(tmp_path / "a.nii")
    imaging.write_mask(tmp_path / "b.png", np.ones((4, 4), bool))
    with pytest.raises(ImageFileError, match="not a NIfTI volume"):
        imaging.read_volume(tmp_path / "b.png")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(ImageFileError, match="read_volume"):
        imaging.read_image(tmp_path / "c.nii")


def test_the_radiological_view_writes_through_and_refuses_nonsense(body: np.ndarray) -> None:
    array = np.zeros((20, 14, 9), np.int16)
    imaging.radiological(array, "RAS")[...] = body
    assert array[19, 13, 0] == body[0, 0, 0]
    for axes in ("RAA", "RA", "XYZ", "RLS"):
        with pytest.raises(UsageError, match="three letters"):
            imaging.radiological(array, axes)


@pytest.mark.real
def test_a_real_liver_lies_on_the_left_of_the_picture_and_the_spleen_on_the_right(real_data: Path) -> None:
    for path in sorted((real_data / "FLARE").rglob("labels/*.nii.gz")):
        labels = imaging.read_label_volume(path).values
        liver, spleen = (np.argwhere(labels == label).mean(axis=0) for label in (1, 3))
        aorta = np.argwhere(labels == 5).mean(axis=0)
        assert liver[2] < labels.shape[2] / 2 < spleen[2]
        assert liver[1] < aorta[1]  # the aorta lies behind the liver, so further down in the image


def test_a_volume_says_where_its_voxels_lie(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    lps = np.diag([-2.0, -3.0, 5.0, 1.0])
    lps[:3, 3] = [10, 20, 30]
    nibabel.save(nibabel.Nifti1Image(values, lps), tmp_path / "lps.nii")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "eye.nii")
    volume = imaging.read_volume(tmp_path / "lps.nii")
    assert volume.stored_axes == "LPS" and volume.affine is not None
    stored = (1, 2, 3)
    index = np.argwhere(volume.values == values[stored])[0]
    world = np.diag([-1, -1, 1, 1]) @ lps @ [*stored, 1]  # RAS of NIfTI to LPS
    assert np.allclose(volume.affine @ [*index, 1], world)
    eye = imaging.read_volume(tmp_path / "eye.nii")
    assert eye.affine is None and eye.stored_axes == "RAS"
    assert not np.array_equal(eye.values, volume.values)
    assert np.array_equal(imaging.read_volume(tmp_path / "eye.nii", axes="LPS").values, volume.values)


def test_the_difference_of_two_grids_is_named(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 6), np.uint8)
    base = np.diag([-2.0, -2.0, 4.0, 1.0])
    turn = np.deg2rad(20)
    rotated = (
        np.array([[np.cos(turn), -np.sin(turn), 0, 0], [np.sin(turn), np.cos(turn), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        @ base
    )
    moved, finer, rounded = base.copy(), base @ np.diag([0.5, 0.5, 1, 1]), base.copy()
    moved[0, 3], rounded[0, 3] = 10, 0.01
    flipped = np.diag([2.0, 2.0, 4.0, 1.0])
    flipped[:2, 3] = -2 * 3, -2 * 4  # the same space with two axes stored the other way
    kinds = {"base": base, "moved": moved, "finer": finer, "rotated": rotated, "rounded": rounded, "flipped": flipped}
    volumes = {}
    for name, affine in (kinds | {"eye": np.eye(4)}).items():
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / f"{name}.nii")
        volumes[name] = imaging.read_volume(tmp_path / f"{name}.nii")
    said = {name: imaging.describe_difference(volumes["base"], other) for name, other in volumes.items()}
    assert said["base"] == said["rounded"] == said["flipped"] == ""
    assert "origin" in said["moved"] and "spacing" in said["finer"] and "elsewhere" in said["rotated"]
    assert "identity" in said["eye"]
    assert imaging.describe_difference(volumes["eye"], volumes["eye"]) == ""
