"""``verify`` finds each kind of damage, names it, and finds nothing in a whole benchmark."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmseg.build import build, open_benchmark, verify
from dmseg.errors import DataError

PICTURE = "images/Toy/lq2/Toy__case1_z000.png"


@pytest.fixture
def bench(raw, tmp_path):
    build(raw, tmp_path / "b")
    return tmp_path / "b"


def find_problems(folder, **options):
    return [(problem.where, problem.what) for problem in verify(open_benchmark(folder), **options)]


def change(folder, table, column, value, row=0):
    path = folder / f"{table}.parquet"
    content = pq.read_table(path)
    values = content[column].to_pylist()
    values[row] = value
    position = content.column_names.index(column)
    field = content.schema.field(column)
    pq.write_table(content.set_column(position, field, pa.array(values, field.type)), path)


def test_a_whole_benchmark_has_no_problem(bench):
    assert find_problems(bench) == []
    assert find_problems(bench, jobs=2) == []


def test_a_missing_file(bench):
    (bench / PICTURE).unlink()
    assert (PICTURE, "file is missing") in find_problems(bench)


def test_a_file_of_no_image(bench):
    (bench / "images" / "Toy" / "clear" / "holiday.png").touch()
    assert find_problems(bench) == [("images/Toy/clear/holiday.png", "file is of no image of this benchmark")]


def test_a_truncated_file(bench):
    (bench / PICTURE).write_bytes((bench / PICTURE).read_bytes()[:500])
    where, what = find_problems(bench)[0]
    assert where == "Toy__case1_z000 lq2"
    assert PICTURE in what


def test_one_pixel_that_differs_by_one(bench):
    image = cv2.imread(str(bench / PICTURE), cv2.IMREAD_UNCHANGED)
    image[3, 4] ^= 1
    cv2.imwrite(str(bench / PICTURE), image)
    assert find_problems(bench) == [
        ("Toy__case1_z000 lq2", "pixel_sha256 differs: the file is not the one that was built")
    ]


def test_another_picture_in_place_of_one(bench):
    cv2.imwrite(str(bench / PICTURE), np.zeros((40, 48), np.uint8))
    problems = find_problems(bench)
    assert any("thumbprint differs" in what for _, what in problems)
    assert any("the plan gives pixels that differ" in what for _, what in problems)


def test_a_picture_of_another_size(bench):
    cv2.imwrite(str(bench / PICTURE), np.zeros((40, 40), np.uint8))
    assert find_problems(bench) == [("Toy__case1_z000 lq2", "is 40 x 40, not as images.parquet says")]


def test_a_plan_that_was_exchanged(bench):
    plans = pq.read_table(bench / "degradations.parquet")["plan"].to_pylist()
    change(bench, "degradations", "plan", plans[9], row=4)
    problems = find_problems(bench)
    assert ("Toy__case0_z000 lq3plus", "plan_digest is not that of the plan") in problems


def test_a_plan_that_is_no_plan(bench):
    change(bench, "degradations", "plan", "{}", row=1)
    assert any("the plan does not replay" in what for _, what in find_problems(bench))


def test_a_mask_that_was_moved(bench):
    bench_open = open_benchmark(bench)
    mask = bench_open.mask("Toy__case0_z000__disc__0")
    from dmseg.imaging import encode_rle

    change(bench, "masks", "rle", json.dumps(encode_rle(np.roll(mask, 3, axis=1))))
    problems = find_problems(bench)
    assert ("Toy__case0_z000__disc__0", "mask_sha256 differs: this is another mask") in problems
    assert ("Toy__case0_z000__disc__0", "masks.parquet is wrong: x0 13 is 16, x1 27 is 30") in problems


def test_a_mask_of_another_size_and_one_that_cannot_be_decoded(bench):
    from dmseg.imaging import encode_rle

    change(bench, "masks", "rle", json.dumps(encode_rle(np.ones((4, 5), bool))))
    change(bench, "masks", "rle", '{"size": [40, 48], "counts": "\\u0001"}', row=1)
    problems = dict(find_problems(bench))
    assert problems["Toy__case0_z000__disc__0"] == "is 5 x 4, its image 48 x 40"
    assert "run-length" in problems["Toy__case0_z001__disc__0"]


def test_a_changed_table_no_longer_gives_the_digest(bench):
    change(bench, "masks", "evaluate", False)
    assert [where for where, what in find_problems(bench) if "manifest_digest" in what] == ["benchmark.json"]


@pytest.mark.parametrize("table", ["images", "masks", "degradations"])
def test_rows_that_are_missing_or_doubled(bench, table):
    path = bench / f"{table}.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.slice(1), path)
    assert find_problems(bench)
    pq.write_table(pa.concat_tables([rows, rows.slice(0, 1)]), path)
    assert find_problems(bench)


def test_an_unknown_split(bench):
    change(bench, "images", "split", "test")
    with pytest.raises(DataError, match="split is 'test'; allowed: train, seen, unseen"):
        find_problems(bench)


def test_a_sample_checks_the_pixels_of_a_share_and_the_structure_of_all(bench):
    for picture in (bench / "images").rglob("*.png"):
        picture.write_bytes(b"")
    images = {where.split()[0] for where, _ in find_problems(bench, sample=0.5)}
    assert 0 < len(images) < 10
    assert len({where.split()[0] for where, _ in find_problems(bench)}) == 10
    (bench / PICTURE).unlink()
    assert (PICTURE, "file is missing") in find_problems(bench, sample=1e-9)
