"""RefCOCO, RefCOCO+ and RefCOCOg: sentences of refs, their splits, and lists that are read without running anything."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg import datasets
from dmseg.build import build, open_benchmark
from dmseg.datasets import NOTE, LeftOut
from dmseg.datasets.readers.refcoco import RefCocoReader, read_refs
from dmseg.errors import ImageFileError
from dmseg.manifests import expand_expressions
from dmseg.phantoms import write_phantoms
from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.layouts_text import name_at_length, name_by_place, name_by_size
from dmseg.phantoms.scenes import draw_many
from dmseg.types import Sample

from .conftest import Files

IMAGE = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
SQUARE = [[5, 4, 20, 4, 20, 12, 5, 12]]


def _ref(annotation: int, image: int, part: str, *sentences: str) -> dict[str, Any]:
    said = [{"sent": text, "raw": text, "tokens": text.split(), "sent_id": k} for k, text in enumerate(sentences)]
    name = f"COCO_train2014_{image:012d}_{annotation}.jpg"  # with the annotation's number, as in the original
    return {"ref_id": annotation, "ann_id": annotation, "image_id": image, "split": part, "sentences": said} | {
        "file_name": name,
        "category_id": 1,
    }


def _write(files: Files, refs: list[dict[str, Any]], images: int = 3, name: str = "refcoco/refs(unc).p") -> None:
    size = {"height": 24, "width": 32}
    for number in range(1, images + 1):
        files.picture(f"images/mscoco/images/train2014/COCO_train2014_{number:012d}.jpg", IMAGE)
    document = {
        "images": [{"id": k, "file_name": f"COCO_train2014_{k:012d}.jpg", **size} for k in range(1, images + 1)],
        "annotations": [
            {"id": 10 * k + place, "image_id": k, "category_id": 1, "segmentation": SQUARE}
            for k in range(1, images + 1)
            for place in (0, 1)
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    place = files.root / name
    files.text(f"{place.parent.name}/instances.json", json.dumps(document))
    place.write_bytes(pickle.dumps(refs, protocol=2))


def _read(reader: RefCocoReader, root: Path) -> tuple[dict[str, Sample], list[LeftOut]]:
    assert reader.is_root(root)
    items = [item for source in reader.sources(root) for item in reader.read(root, source)]
    return {one.source_id: one for one in items if isinstance(one, Sample)}, list(reader.problems(root))


def test_the_objects_are_the_refs_of_the_lists_that_are_read(files: Files) -> None:
    _write(files, [
        _ref(10, 1, "val", "man on left", " left man "), _ref(20, 2, "testA", "she"), _ref(30, 3, "train", "boy"),
    ])  # fmt: skip
    samples, left_out = _read(datasets.reader("RefCOCO"), files.root)
    assert {name: one.case_id for name, one in samples.items()} == {
        f"COCO_train2014_{k:012d}": f"{part}.COCO_train2014_{k:012d}" for k, part in ((1, "val"), (2, "testA"))
    }
    (structure,) = samples["COCO_train2014_000000000001"].structures  # the other annotation has no ref
    assert (structure.name, structure.expressions) == ("person", ("man on left", "left man"))
    assert not left_out


def test_google_s_lists_share_images_and_no_image_is_in_two_of_them(files: Files) -> None:
    refs = [_ref(10, 1, "train", "a boy"), _ref(11, 1, "val", "a tall man"), _ref(20, 2, "train", "a girl")]
    _write(files, refs, 2, "refcocog/refs(google).p")
    parameters = {"dataset": "refcocog", "split_by": "google", "parts": ["val", "train"]}
    rules = dataclasses.replace(datasets.recipe("RefCOCOg"), parameters=parameters)
    samples, left_out = _read(RefCocoReader(rules), files.root)
    assert [one.structures[0].expressions for one in samples.values()] == [("a tall man",), ("a girl",)]
    assert [(item.reason, item.kind) for item in left_out] == [("1 refs of other parts than val are not taken", NOTE)]


def test_two_refs_of_one_annotation_are_one_object_with_all_sentences(files: Files) -> None:
    _write(files, [_ref(10, 1, "val", "man"), _ref(10, 1, "val", "him", "")], 1)
    samples, _ = _read(datasets.reader("RefCOCO"), files.root)
    assert next(iter(samples.values())).structures[0].expressions == ("man", "him")


def test_an_image_that_is_missing_is_named(files: Files) -> None:
    _write(files, [_ref(10, 1, "val", "man"), _ref(20, 2, "val", "her")], 2)
    (files.root / "images/mscoco/images/train2014/COCO_train2014_000000000002.jpg").unlink()
    samples, left_out = _read(datasets.reader("RefCOCO"), files.root)
    assert len(samples) == 1 and left_out[0].reason == "image missing"


def test_lists_that_python_2_wrote_are_read(tmp_path: Path) -> None:
    (tmp_path / "refs(unc).p").write_bytes(
        b"(lp1\n(dp2\nS'ann_id'\np3\nI10\nsS'image_id'\np4\nI1\nsS'split'\np5\nS'val'\np6\nsS'sentences'\np7\n"
        b"(lp8\n(dp9\nS'sent'\np10\nS'the man'\np11\nsasa."
    )
    (ref,) = read_refs(tmp_path / "refs(unc).p")
    assert (ref.annotation, ref.image, ref.part, ref.sentences) == (10, 1, "val", ("the man",))


class _Runs:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(("content", "message"), [
    (pickle.dumps([_Runs()], protocol=2), "names \"__builtin__.print\""),
    (pickle.dumps({"a": 1}), "holds a dict, not a list"),
    (pickle.dumps([{"ann_id": 1}]), "not a list of refs"),
    (pickle.dumps([_ref("x", 1, "val", "man")]), "has the ids"),  # type: ignore[arg-type]
    (pickle.dumps([_ref(1, 1, "val", "man")])[:-9], "not (readable as )?a list of refs"),
    (b"<!DOCTYPE html>", "not (readable as )?a list of refs"),
    (b"", "not a list of refs"),
])  # fmt: skip
def test_a_list_that_is_none_is_refused_and_runs_nothing(
    tmp_path: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(content)
    with pytest.raises(ImageFileError, match=message):
        read_refs(path)
    assert "executed" not in capsys.readouterr().out


def test_every_sentence_of_a_phantom_names_one_object_alone() -> None:
    words = ("left", "right", "photograph")
    for number in range(6):
        drawing: Drawing = draw_many(f"refcoco test {number}", ("ball", "crate", "star", "hose"))
        for rule in (name_by_place, name_by_size, name_at_length):
            said = [text for one in drawing.structures for text in rule(one, drawing)]
            assert len(said) == len(set(said)), said
        assert not [
            text for one in drawing.structures for text in name_by_size(one, drawing) if set(words) & {*text.split()}
        ]


def test_the_phantom_is_built_with_its_sentences(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "raw", per_dataset=2, datasets=["RefCOCO"])
    build(tmp_path / "raw", tmp_path / "bench", levels=["clear"], track="natural-text")
    bench = open_benchmark(tmp_path / "bench")
    assert bench.track == "natural-text" and len(bench.images) == 2 and set(bench.images["split"]) == {"seen"}
    rows = [one for row in bench.masks.to_dict("records") for one in expand_expressions(row)]
    assert len(rows) > len(bench.masks) and bench.mask(rows[0]["mask_id"]).any()
    assert {row["image_id"].split("_")[-1] for row in rows} == {"000000300001", "000000300002"}  # train's is not read
