"""Digests: what changes them and what must not; the thumbprint."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from dmseg.manifests import TABLES, mask_sha256, pixel_sha256, sort_table, thumbprint

# A level is a key of the table; the set of levels is changed below.
COLUMNS = [(table, column) for table in TABLES for column in TABLES[table] if column.name != "level"]


def _other(value):
    if value is None:
        return 2.5
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        return bytes(255) + b"\x07"
    return "changed" if isinstance(value, str) else value + 1


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_changed_value_changes_the_manifest_digest_exactly_where_the_column_is_identity(make, rows, table, column):
    before = make().digest
    changed = copy.deepcopy(rows)
    value = "" if column.sparse else changed[table][0][column.name]
    changed[table][0][column.name] = "{}x" if column.name == "window" else _other(value)
    assert (make(changed).digest != before) == column.identity


def test_the_order_of_rows_does_not_matter(make, rows):
    shuffled = {name: content[::-1] for name, content in rows.items()}
    assert make(shuffled).info["manifest_digest"] == make().info["manifest_digest"]
    assert make(shuffled).info["plan_digest"] == make().info["plan_digest"]


@pytest.mark.parametrize(
    "info",
    [{"seed": 1}, {"levels": ["clear"]}, {"recipes": {"BUSI": "e" * 64}}, {"degradation_tables": {"version": "2"}}],
)
def test_seed_levels_recipes_and_tables_are_identity(make, info):
    assert make(**info).info["manifest_digest"] != make().info["manifest_digest"]
    assert make(**info).info["plan_digest"] != make().info["plan_digest"]


def test_edition_and_library_versions_are_not_identity(make):
    assert make(edition="x", version="9", created_with={"numpy": "3"}).digest == make().digest


def test_the_plan_digest_ignores_masks(make, rows):
    changed = copy.deepcopy(rows)
    changed["masks"][0]["mask_sha256"] = "f" * 64
    assert make(changed).info["plan_digest"] == make().info["plan_digest"]
    changed["images"][0]["source_sha256"] = "f" * 64
    assert make(changed).info["plan_digest"] != make().info["plan_digest"]


def test_real_numbers_count_to_six_digits(make, rows):
    changed = copy.deepcopy(rows)
    changed["images"][0]["spacing_y"] *= 1 + 1e-12
    assert make(changed).digest == make().digest
    changed["images"][0]["spacing_y"] *= 1 + 1e-4
    assert make(changed).digest != make().digest


def test_levels_of_an_image_stand_in_benchmark_order(make):
    table = sort_table("degradations", make().degradations)
    assert table["level"].to_pylist() == ["clear", "lq1", "lq3plus"] * 3


def test_pixel_hash_sees_shape_and_values():
    image = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert pixel_sha256(image) != pixel_sha256(image.reshape(6, 4))
    assert pixel_sha256(image) == pixel_sha256(np.asfortranarray(image))
    assert mask_sha256(image > 5) != mask_sha256((image > 5).reshape(6, 4))


@pytest.mark.parametrize("shape", [(16, 16), (33, 47), (5, 300), (64, 40, 3)])
def test_the_thumbprint_is_the_mean_of_each_block(shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    found = thumbprint(image)
    for i in range(16):
        for j in range(16):
            rows = slice(i * shape[0] // 16, max((i + 1) * shape[0] // 16, i * shape[0] // 16 + 1))
            columns = slice(j * shape[1] // 16, max((j + 1) * shape[1] // 16, j * shape[1] // 16 + 1))
            assert found[i, j] == np.floor(image[rows, columns].astype(float).mean() + 0.5)


def test_pixels_that_differ_by_one_give_thumbprints_that_differ_by_at_most_one():
    generator = np.random.default_rng(2)
    image = generator.integers(1, 255, (60, 70), dtype=np.uint8)
    near = image + generator.integers(-1, 2, image.shape)
    assert np.abs(thumbprint(near.astype(np.uint8)).astype(int) - thumbprint(image)).max() <= 1
