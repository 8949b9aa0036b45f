"""Run-length masks: the text is COCO's, and damaged text is refused instead of read as noise."""

from __future__ import annotations

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmseg import imaging
from dmseg.errors import DataError


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_mask_comes_back_and_coco_agrees(height: int, width: int, seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    rle = imaging.encode_rle(mask)
    assert rle["size"] == [height, width]
    assert np.array_equal(imaging.decode_rle(rle), mask)
    coco = pycocotools.mask.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    assert np.array_equal(coco.astype(bool), mask)


def test_long_runs_and_big_differences() -> None:
    mask = np.zeros((3000, 2000), bool)
    mask[:, 700:1900] = True
    mask[5, 3] = True
    assert np.array_equal(imaging.decode_rle(imaging.encode_rle(mask)), mask)


def test_uncompressed_counts_and_bytes_are_accepted() -> None:
    expected = np.array([[0, 1, 1], [1, 1, 0]], bool)
    assert np.array_equal(imaging.decode_rle({"size": [2, 3], "counts": [1, 4, 1]}), expected)
    text = imaging.encode_rle(expected)["counts"].encode()
    assert np.array_equal(imaging.decode_rle({"size": [2, 3], "counts": text}), expected)


@pytest.mark.parametrize(
    "record",
    [
        {"size": [10, 12], "counts": "zzzzzzzz"},
        {"size": [10, 12], "counts": ""},
        {"size": [10, 12], "counts": "P13700000000"},
        {"size": [10, 12], "counts": "\x01\x02"},
        {"size": [10, 12], "counts": "ooooooooooooooo1"},
        {"size": [10, 12], "counts": [100, 30]},
        {"size": [10, 12], "counts": [-20, 140]},
        {"size": [100_000, 100_000], "counts": [10_000_000_000]},
        {"size": [10], "counts": [10]},
        {"counts": [10]},
        {"size": [2, 5], "counts": 3.5},
        {"size": [2, 5], "counts": "é"},
    ],
)
def test_damaged_records_are_refused(record: dict[str, object]) -> None:
    with pytest.raises(DataError):
        imaging.decode_rle(record)
