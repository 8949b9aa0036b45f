"""DDTI: polygons in XML from strangers, and the pre-processed bundle."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from dmseg.datasets import shapes
from dmseg.errors import ImageFileError

SQUARE = [{"x": 3, "y": 2}, {"x": 8, "y": 2}, {"x": 8, "y": 6}, {"x": 3, "y": 6}]
TRIANGLE = [{"x": 10, "y": 8}, {"x": 14, "y": 8}, {"x": 12, "y": 11}]


def _case(files: Any, grey: Any, case: str, marks: dict[str, str], prefix: str = "") -> None:
    body = "".join(f"<mark><image>{k}</image><svg>{svg}</svg></mark>" for k, svg in marks.items())
    files.text(f"DDTI/{case}.xml", f"{prefix}<case><number>{case}</number><age>5</age>{body}</case>")
    for k in marks:
        files.picture(f"DDTI/{case}_{k}.jpg", grey())


def _svg(*polygons: Any) -> str:
    return json.dumps([{"points": points, "annotation": {}, "regionType": "freehand"} for points in polygons])


def test_each_polygon_is_a_nodule_and_each_mark_its_image(files: Any, read_all: Any, grey: Any) -> None:
    _case(files, grey, "7", {"1": _svg(SQUARE, TRIANGLE), "2": _svg(TRIANGLE)})
    _case(files, grey, "12", {"1": _svg(SQUARE)})
    result = read_all("DDTI")
    assert result.ids == ["12_1", "7_1", "7_2"]
    assert [sample.case_id for sample in result.samples] == ["12", "7", "7"]
    square, triangle = result.structures("7_1")["nodule"]
    expected = np.zeros((12, 16), bool)
    expected[2:7, 3:9] = True
    assert np.array_equal(square, expected)
    assert triangle[8, 10:15].all() and triangle[11].sum() == 1
    assert len(result.structures("7_2")["nodule"]) == 1


@pytest.mark.parametrize("svg", ["[{'points': ", "[{}]", "7", '[{"points": [{"x": "a", "y": 1}]}]', "[" * 100_000])
def test_broken_json_leaves_out_that_image_alone(files: Any, read_all: Any, grey: Any, svg: str) -> None:
    _case(files, grey, "7", {"1": svg, "2": _svg(SQUARE)})
    result = read_all("DDTI")
    assert result.ids == ["7_2"]
    assert result.reasons == {"7_1.jpg": "the polygons in 7.xml are not readable JSON"}


def test_empty_annotations_and_missing_files_are_left_out(files: Any, read_all: Any, grey: Any) -> None:
    _case(files, grey, "7", {"1": "", "2": _svg(SQUARE[:2]), "3": _svg(SQUARE)})
    files.picture("DDTI/8_1.jpg", grey())
    result = read_all("DDTI")
    assert result.ids == ["7_3"]
    assert result.reasons["8_1.jpg"] == "annotation file missing"
    assert result.reasons["7_1.jpg"] == result.reasons["7_2.jpg"]
    assert "no polygon" in result.reasons["7_1.jpg"]


def test_entity_bombs_and_external_entities_are_refused_at_once(files: Any, read_all: Any, grey: Any) -> None:
    bomb = '<!DOCTYPE c [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 10}">' for k in range(20)
    )
    for prefix in (bomb + "]>", '<!DOCTYPE c [<!ENTITY x SYSTEM "file:///etc/passwd">]>'):
        _case(files, grey, "7", {"1": "&x;"}, prefix)
        start = time.monotonic()
        with pytest.raises(ImageFileError, match=r"7\.xml: declares a document type"):
            read_all("DDTI")
        assert time.monotonic() - start < 1


@pytest.mark.parametrize("content", ["<case><mark>", "", "\x00\x01", "<case>" + "\ud7ff" + "&undefined;</case>"])
def test_damaged_xml_names_its_file(files: Any, read_all: Any, grey: Any, content: str) -> None:
    files.text("DDTI/7.xml", content)
    files.picture("DDTI/7_1.jpg", grey())
    with pytest.raises(ImageFileError, match=r"7\.xml: not a readable XML"):
        read_all("DDTI")


def test_the_preprocessed_bundle(files: Any, read_all: Any, grey: Any, block: Any) -> None:
    base = "DDTI/Thyroid Dataset/DDTI dataset/DDTI/2_preprocessed_data/stage1"
    for name in ("7_1", "7_2", "9"):
        files.picture(f"{base}/p_image/{name}.PNG", grey(), format="PNG")
        files.picture(f"{base}/p_mask/{name}.PNG", block(), format="PNG")
    result = read_all("DDTI")
    assert {sample.source_id: sample.case_id for sample in result.samples} == {"7_1": "7", "7_2": "7", "9": "9"}


def test_polygons_reach_to_the_border_and_beyond_and_never_fail_on_size() -> None:
    mask = shapes.polygon_mask([(-5, -5), (100, -5), (100, 100), (-5, 100)], (4, 6))
    assert mask.all()
    far = shapes.polygon_mask([(-1e30, -1e30), (1e30, -1e30), (1e30, 1e30), (-1e30, 1e30)], (4, 6))
    assert far.all()
    for points in ([(0, 0), (1, 1)], [(0, 0), (1, float("nan")), (2, 2)]):
        with pytest.raises(ValueError, match="three or more finite points"):
            shapes.polygon_mask(points, (4, 6))
