"""PAXRay's tar and COCO files, LungRads' pickles, and archives that want to do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dmseg.datasets import archives, coco, rows
from dmseg.errors import DataError, ImageFileError
from dmseg.imaging import encode_rle


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DMSEG_CACHE", str(folder))
    return folder


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _counts(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed runs, column by column, beginning with background."""
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *edges, flat.size]).tolist()
    return lengths if flat[0] == 0 else [0, *lengths]


def _coco(names: list[str], annotations: list[dict[str, Any]]) -> str:
    return json.dumps(
        {
            "info": {"note": 'braces } ] and "quotes" in a text'},
            "images": [{"id": k, "file_name": name, "height": 12, "width": 16} for k, name in enumerate(names)],
            "categories": [{"id": 1, "name": "Lung Left"}, {"id": 2, "name": "heart {old}"}],
            "annotations": annotations,
        }
    )


def _annotation(image: int, category: int, segmentation: Any) -> dict[str, Any]:
    return {"id": 9, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}


def _paxray(files: Any, grey: Any, block: Any, packed: bool) -> None:
    mask, other = block() > 0, block(x=9) > 0
    names = ["c1_frontal.png", "c1_lateral.png", "c2_frontal.png", "gone_frontal.png"]
    annotations = [
        _annotation(0, 1, encode_rle(mask)),
        _annotation(1, 1, {"size": [12, 16], "counts": _counts(other)}),
        _annotation(0, 2, {"size": [12, 16], "counts": _counts(mask | other)}),
        _annotation(0, 1, encode_rle(other)),
        _annotation(3, 1, encode_rle(mask)),
    ]
    files.text("PAXRay/paxray_train_val.json", _coco(names, annotations))
    stored = [*names[:3], "unlisted_frontal.png"]
    if packed:
        with tarfile.open(files.path("PAXRay/paxray_images_unfiltered.tar.gz"), "w:") as tar:
            for name in stored:
                content = _png(grey())
                member = tarfile.TarInfo(f"images_patlas/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        for name in stored:
            files.picture(f"PAXRay/paxray_images_unfiltered/images_patlas/{name}", grey())


@pytest.mark.parametrize("packed", [False, True])
def test_paxray_categories_overlap_and_runs_are_text_or_list(
    files: Any, read_all: Any, grey: Any, block: Any, packed: bool, cache: Path
) -> None:
    _paxray(files, grey, block, packed)
    result = read_all("PAXRay")
    assert result.ids == ["c1_frontal", "c1_lateral"]
    assert {sample.case_id for sample in result.samples} == {"c1"}
    frontal = result.structures("c1_frontal")
    both = (block() > 0) | (block(x=9) > 0)
    assert set(frontal) == {"lung_left", "heart_-old-"}
    assert all(len(masks) == 1 and np.array_equal(masks[0], both) for masks in frontal.values())
    assert np.array_equal(result.structures("c1_lateral")["lung_left"][0], block(x=9) > 0)
    assert np.array_equal(result.samples[0].image, grey())
    assert sorted(result.reasons.values()) == ["image missing", "no annotation", "not in the annotation files"]
    assert not [path for path in cache.rglob("*") if path.is_file()], "nothing stays in the cache"
    if packed:
        assert result.samples[0].source == "paxray_images_unfiltered.tar.gz#images_patlas/c1_frontal.png"


def test_a_damaged_member_of_the_tar_is_named(files: Any, read_all: Any, grey: Any, block: Any, cache: Path) -> None:
    _paxray(files, grey, block, True)
    path = files.root / "PAXRay/paxray_images_unfiltered.tar.gz"
    content = bytearray(path.read_bytes())
    content[content.index(b"\x89PNG") + 40 : content.index(b"\x89PNG") + 90] = b"\0" * 50
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=r"tar\.gz, member images_patlas/c1_frontal\.png"):
        read_all("PAXRay")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [12, 16], "counts": [1, 2]}, "do not add up"),
        ({"size": [16, 12], "counts": [192]}, "runs of 12x16 for an image of 16x12"),
        ({"counts": "x"}, "c1_frontal"),
        ("text", "neither runs nor polygons"),
        ([[1, 2, 3, 4]], "three or more"),
        (None, "neither runs nor polygons"),
    ],
)
def test_bad_segmentations_are_errors_of_their_image(
    files: Any, read_all: Any, grey: Any, segmentation: Any, message: str
) -> None:
    files.picture("PAXRay/images_patlas/c1_frontal.png", grey())
    files.text("PAXRay/paxray_test.json", _coco(["c1_frontal.png"], [_annotation(0, 1, segmentation)]))
    with pytest.raises(ImageFileError, match=message):
        read_all("PAXRay")


def test_polygons_and_unknown_categories(files: Any, read_all: Any, grey: Any) -> None:
    files.picture("PAXRay/images_patlas/c1_frontal.png", grey())
    square = [[3, 2, 8, 2, 8, 6, 3, 6]]
    files.text("PAXRay/paxray_test.json", _coco(["c1_frontal.png"], [_annotation(0, 2, square)]))
    assert int(read_all("PAXRay").structures("c1_frontal")["heart_-old-"][0].sum()) == 30
    files.text("PAXRay/paxray_test.json", _coco(["c1_frontal.png"], [_annotation(0, 77, square)]))
    with pytest.raises(ImageFileError, match="unknown category 77"):
        read_all("PAXRay")


@pytest.mark.parametrize("content", ["", "{}", '{"images": [{"id": 1', "[]", '{"images": [{"id": "x"}]}', "not json"])
def test_damaged_annotation_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "paxray_test.json"
    path.write_text(content)
    with pytest.raises(ImageFileError, match=r"paxray_test\.json: not a COCO annotation file"):
        coco.read_index(path)


def _table(n: int = 3) -> pd.DataFrame:
    """A table as the published ones are: object columns of arrays."""
    grey = [np.full((6, 8), -600.0 + 100 * k, np.float32) for k in range(n)]
    masks = [np.zeros((6, 8), np.int8) for _ in range(n)]
    for k, mask in enumerate(masks):
        mask[1:4, 2 : 4 + k] = 1
    grey[0][0, 0] = -2048
    table = {
        "label1": ["LR2", "LR3", "LR4A"][:n],
        "mask": masks,
        "hu_array": [g * 0 for g in grey],
        "hu_array_old": grey,
    }
    columns = {name: pd.Series(values, dtype=object) for name, values in table.items()}
    frame = pd.DataFrame(columns)
    frame.columns = pd.Index(list(columns), dtype=object)
    return frame


@pytest.mark.parametrize(("protocol", "reason"), [(0, "protocol 0 or 1"), (1, "protocol 0 or 1"), (2, "protocol 2")])
def test_tables_of_old_protocols_say_how_to_save_them_again(files: Any, protocol: int, reason: str) -> None:
    path = files.path("LungRads/lung_cancer_train.pkl")
    _table().to_pickle(path, protocol=protocol)
    with pytest.raises(ImageFileError, match=f"{reason}.*save it again.*protocol=4"):
        rows.read_columns(path)


def test_tables_of_arrow_texts_say_how_to_save_them_again_and_that_helps(files: Any) -> None:
    path = files.path("LungRads/lung_cancer_train.pkl")
    table = _table()
    table["label1"] = pd.array([f"LR{k}" for k in range(len(table))], dtype="string[pyarrow]")
    table.to_pickle(path, protocol=4)
    with pytest.raises(ImageFileError, match=r"Arrow arrays, as pandas 3 stores them; .*save it again"):
        rows.read_columns(path)
    table.columns = table.columns.astype(object)
    table.astype(object).to_pickle(path, protocol=4)
    assert {"label1", "mask", "hu_array_old"} <= set(rows.read_columns(path))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_lung_tables_are_read_without_pandas(files: Any, read_all: Any, protocol: int) -> None:
    _table().to_pickle(files.path("LungRads/lung_cancer_train.pkl"), protocol=protocol)
    _table(2).to_pickle(files.path("LungRads/lung_cancer_test.pkl"), protocol=protocol)
    result = read_all("LungRads")
    assert result.ids == [f"lung_cancer_test_r{k:04d}" for k in range(2)] + [
        f"lung_cancer_train_r{k:04d}" for k in range(3)
    ]
    for k, sample in enumerate(result.samples[2:]):
        assert sample.image[5, 7] == int((100 * k - 600 + 1350) * 255 / 1500 + 0.5)
        assert int(sample.structures[0].mask.sum()) == 3 * (2 + k)
        assert sample.source == f"lung_cancer_train.pkl#r{k:04d}"
    assert result.samples[2].image[0, 0] == 0  # padding of -2048 is black, not wrapped
    assert (result.samples[0].modality, result.samples[0].case_id) == ("ct", result.samples[0].source_id)


def test_arrays_in_column_order_and_of_other_types(tmp_path: Path) -> None:
    values = np.arange(48, dtype=">i2").reshape(6, 8)
    frame = _table(2)
    frame["hu_array_old"] = pd.Series([np.asfortranarray(values), values.astype(np.float64)], dtype=object)
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    frame.to_pickle(tmp_path / "t.pkl")
    first, second = rows.read_columns(tmp_path / "t.pkl")["hu_array_old"]
    assert np.array_equal(first.load(tmp_path / "t.pkl"), values)
    assert np.array_equal(second.load(tmp_path / "t.pkl"), values)
    assert rows.StoredArray.from_text(first.to_text()) == first


class _Harm:
    """What a malicious pickle says: call os.system on loading."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("inside", [False, True])
def test_a_malicious_pickle_runs_nothing(files: Any, read_all: Any, tmp_path: Path, inside: bool) -> None:
    mark = tmp_path / "harm"
    harm: Any = _Harm(f"touch {mark}")
    if inside:
        frame = _table()
        frame["label1"] = pd.Series([harm, "a", "b"], dtype=object)
        frame.columns = pd.Index(list(frame.columns), dtype=object)
        harm = frame
    files.path("LungRads/lung_cancer_train.pkl").write_bytes(pickle.dumps(harm))
    result = read_all("LungRads")
    assert not result.samples and not mark.exists()
    assert "which a table of images has no use for; refused" in result.reasons["lung_cancer_train.pkl"]


def test_even_an_allowed_name_is_only_a_record(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(b"cnumpy.testing\nruntests\n(S'x'\ntR.")
    with pytest.raises(ImageFileError, match="not the pickled DataFrame that was expected"):
        rows.read_columns(path)


def test_damaged_tables_are_named_and_never_crash(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    _table().to_pickle(path)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 37):
        path.write_bytes(whole[:end])
        with pytest.raises(ImageFileError, match=r"t\.pkl"):
            rows.read_columns(path)
    for k in range(0, len(whole), 53):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 0x15]) + whole[k + 1 :])
        try:
            for cell in rows.read_columns(path).get("mask", []):
                if isinstance(cell, rows.StoredArray):
                    cell.load(path)
        except ImageFileError:
            pass  # damage is either harmless or an error that names the file


def test_a_table_without_the_column_names_those_it_has(files: Any, read_all: Any) -> None:
    frame = _table().drop(columns="hu_array_old")
    frame.to_pickle(files.path("LungRads/lung_cancer_train.pkl"))
    reason = read_all("LungRads").reasons["lung_cancer_train.pkl"]
    assert 'no column "hu_array_old" of arrays; its columns are label1, mask, hu_array' in reason


def test_arrays_that_lie_about_their_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.pkl"
    path.write_bytes(b"\0" * 100)
    for stored, message in (
        (rows.StoredArray(0, 100, "|i1", (10, 11), False), "does not match its shape"),
        (rows.StoredArray(0, 800, "<f8", (10, 10), False), "truncated"),
        (rows.StoredArray(0, 100, "|i1", (100,), False), "expected height x width"),
        (rows.StoredArray(0, 100, "|O", (10, 10), False), "does not match its shape"),
        (rows.StoredArray(0, 10**12, "|i1", (10**6, 10**6), False), "200"),
    ):
        with pytest.raises(ImageFileError, match=message):
            stored.load(path)


def _zip(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            if name == link:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, content)
    return path


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str, cache: Path) -> None:
    target = tmp_path / "deep" / "target"
    with pytest.raises(DataError, match="leads outside"):
        archives.unpack(_zip(tmp_path / "a.zip", {name: b"x"}), target)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(DataError, match="leads outside"):
        archives.unpack(tmp_path / "a.tar", target)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("evil")]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a link"):
        archives.unpack(_zip(tmp_path / "a.zip", {"in": b"/etc/passwd"}, link="in"), tmp_path / "t")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            member = tarfile.TarInfo("x")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        with pytest.raises(DataError, match="link or device"):
            archives.unpack(tmp_path / "a.tar", tmp_path / "t")


def test_a_tar_for_paxray_with_links_is_refused(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    _paxray(files, grey, block, True)
    with tarfile.open(files.root / "PAXRay/paxray_images_unfiltered.tar.gz", "w:") as tar:
        member = tarfile.TarInfo("images_patlas/c1_frontal.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(DataError, match="is a link"):
        read_all("PAXRay")


def test_an_archive_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match="set DMSEG_CACHE to a larger disk"):
        archives.unpack(_zip(tmp_path / "a.zip", {"zeros": b"\0" * 10_000}), tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_damaged_archives_leave_nothing_in_the_cache(tmp_path: Path, cache: Path) -> None:
    path = _zip(tmp_path / "a.zip", {f"f{k}": os.urandom(500) for k in range(5)})
    content = bytearray(path.read_bytes())
    content[700:760] = b"\0" * 60
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: damaged"):
        archives.mirror(path)
    (tmp_path / "b.tar").write_bytes(b"no archive")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        archives.mirror(tmp_path / "b.tar")
    assert not list((cache / "unpacked").iterdir())


def test_a_mirror_links_what_is_not_packed_and_is_made_anew_when_the_archive_changes(
    tmp_path: Path, cache: Path
) -> None:
    place = tmp_path / "set"
    (place / "inner").mkdir(parents=True)
    (place / "table.json").write_text("{}")
    (place / "inner" / "note.txt").write_text("n")
    _zip(place / "inner" / "a.zip", {"x/y.txt": b"one"})
    first = archives.mirror(place)
    assert (first / "inner/a/x/y.txt").read_text() == "one"
    assert (first / "table.json").resolve() == place / "table.json"
    assert (first / "inner/note.txt").read_text() == "n"
    assert archives.mirror(place) == first
    _zip(place / "inner" / "a.zip", {"x/y.txt": b"other"})
    assert (archives.mirror(place) / "inner/a/x/y.txt").read_text() == "other"


def test_compressed_and_plain_tars_are_told_apart_by_content(tmp_path: Path) -> None:
    for name, mode in (("plain.tar.gz", "w:"), ("packed.tar.gz", "w:gz"), ("packed.tar", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:
            member = tarfile.TarInfo("a/b.txt")
            member.size = 2
            tar.addfile(member, io.BytesIO(b"hi"))
        archives.unpack(tmp_path / name, tmp_path / f"out-{name}")
        assert (tmp_path / f"out-{name}" / "a/b.txt").read_bytes() == b"hi"
